"""The tests of cftpcluster; the folders mirror the package, and ``integration`` starts real processes."""
