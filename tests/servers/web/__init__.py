"""Tests of :mod:`cftpcluster.servers.web`."""
