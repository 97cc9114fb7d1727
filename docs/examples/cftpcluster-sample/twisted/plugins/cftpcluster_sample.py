"""What Twisted's plug-in system finds. Names only: this is imported by every program that looks for plug-ins."""

from cftpcluster_sample.archive import archiveBackendFactory
from cftpcluster_sample.htpasswd import htpasswdCheckerFactory
from cftpcluster_sample.uploadlog import uploadLogFactory

__all__ = ["archiveBackendFactory", "htpasswdCheckerFactory", "uploadLogFactory"]
