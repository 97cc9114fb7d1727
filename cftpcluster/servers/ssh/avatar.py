"""An account as SSH sees it: who may open session channels, and ask for SFTP or a command on them. Knows no log-in."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.conch.avatar import ConchUser
from twisted.conch.interfaces import IConchUser

from ...interfaces import IAccount
from . import commands
from ._quiet import quietLogger
from .channel import Program, SessionChannel
from .operations import namesLinksFirst
from .sftp import SFTPServer
from .standard import StandardProgram


class SSHAvatar(ConchUser):
    """Session channels and nothing else: no forwarding, no global requests.

    :ivar account: what it was made from.
    """

    _log = quietLogger()

    def __init__(self, account: IAccount) -> None:
        super().__init__()
        self.conn = None
        self.account = account
        self.channelLookup[b"session"] = partial(SessionChannel, makeProgram=self._makeProgram)

    def gotGlobalRequest(self, requestType: bytes, data: bytes) -> bool:
        return False

    def _makeProgram(self, requestType: bytes, argument: bytes, channel: SessionChannel) -> Program | None:
        transport = channel.conn.transport
        if requestType == b"shell":
            return StandardProgram(channel, transport.reactor, commands.refuseShell)
        if requestType == b"exec":
            run = partial(commands.run, self.account.files, command=argument)
            return StandardProgram(channel, transport.reactor, run)
        if argument != b"sftp":
            return None
        draftLinks = namesLinksFirst(transport.otherVersionString)
        return SFTPServer(channel, self.account.files, transport.reactor, transport.owner.randomBytes, draftLinks)


def sshAvatar(account: IAccount) -> Any:
    """The :class:`~twisted.conch.interfaces.IConchUser` of an account, for the realm."""
    avatar: Any = SSHAvatar(account)
    assert IConchUser.providedBy(avatar)
    return avatar
