"""The service that twistd runs, and every component that comes with it. Names only: no logic."""

from twisted.application.service import ServiceMaker

from cftpcluster.auth.checkers import usersChecker
from cftpcluster.files.local import localBackendFactory
from cftpcluster.files.memory import memoryBackendFactory
from cftpcluster.observers import logObserver
from cftpcluster.servers.ftp import ftpServerFactory
from cftpcluster.servers.ssh import sftpServerFactory
from cftpcluster.servers.web import webServerFactory

serviceMaker = ServiceMaker(
    "cftpcluster",
    "cftpcluster.tap",
    "A node of a managed file transfer cluster (FTP, FTPS, SFTP, HTTPS).",
    "cftpcluster",
)

__all__ = [
    "ftpServerFactory",
    "localBackendFactory",
    "logObserver",
    "memoryBackendFactory",
    "serviceMaker",
    "sftpServerFactory",
    "usersChecker",
    "webServerFactory",
]
