"""Tests of cftpcluster.testing."""
