"""Tests of cftpcluster.cluster."""
