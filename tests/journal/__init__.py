"""Tests of :mod:`cftpcluster.journal`."""
