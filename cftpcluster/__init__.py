"""A managed file transfer cluster: FTP, FTPS, SFTP and HTTPS served alike by every node."""

from cftpcluster._version import __version__

__all__ = ["__version__"]
