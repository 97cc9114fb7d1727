"""Tests of cftpcluster.auth."""
