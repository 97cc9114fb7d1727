"""Tests of :mod:`cftpcluster.config`."""
