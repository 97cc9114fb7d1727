"""Tests of cftpcluster.manager."""
