"""Tests of cftpcluster.servers."""
