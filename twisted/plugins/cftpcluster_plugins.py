"""The service that twistd runs, and every component that comes with it. Names only: no logic."""

from twisted.application.service import ServiceMaker

serviceMaker = ServiceMaker(
    "cftpcluster",
    "cftpcluster.tap",
    "A node of a managed file transfer cluster (FTP, FTPS, SFTP, HTTPS).",
    "cftpcluster",
)
