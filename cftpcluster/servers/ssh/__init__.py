"""File transfer over SSH: SFTP.

Twisted's Conch does the key exchanges and verifies signatures; packets, their limits, channels and SFTP are ours. The
node gives its realm ``{IConchUser: sshAvatar}``, and finds :data:`sftpServerFactory` as a plug-in.
"""

from .avatar import sshAvatar
from .factory import SFTPOptions, sftpServerFactory

__all__ = ["SFTPOptions", "sftpServerFactory", "sshAvatar"]
