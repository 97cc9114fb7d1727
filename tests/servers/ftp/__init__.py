"""Tests of :mod:`cftpcluster.servers.ftp`."""
