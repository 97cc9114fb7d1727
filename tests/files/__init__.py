"""Tests of :mod:`cftpcluster.files`."""
