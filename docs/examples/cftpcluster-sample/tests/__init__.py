"""Tests of the sample: ``python -m twisted.trial tests`` in this folder, where cftpcluster is installed."""
