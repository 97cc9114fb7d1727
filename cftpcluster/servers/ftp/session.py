"""What one client has said so far, and what its commands work with.

Knows neither lines nor sockets: :mod:`.control` runs the commands and sends their answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Any, Protocol

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, maybeDeferred

from ...auth.steps import Proof
from ...files import paths
from ...interfaces import IAccount, IFileSystem, ISiteCommand
from ...vocabulary import VirtualPath
from . import listings, sums
from .channel import DataChannel
from .options import FTPOptions
from .replies import Refusal, Reply
from .underway import Transfer


class Control(Protocol):
    """The control connection, as commands see it."""

    secured: bool

    @property
    def isLost(self) -> bool:
        """Whether nobody is there any more to be answered."""

    @property
    def isLeaving(self) -> bool:
        """The same, and whether the client has ended the connection and only this side has yet to take notice."""

    def reply(self, reply: Reply) -> None:
        """Send an answer ahead of the one that the command ends with."""

    def endAfterReply(self) -> None:
        """Hang up once the command's answer is sent."""

    def secureAfterReply(self) -> None:
        """Start TLS once the command's answer is sent; what came in the clear by then is thrown away."""

    def clientNames(self) -> Sequence[str]:
        """Whom the TLS certificate is for that the client has shown; nobody without one."""

    def loggedIn(self) -> None:
        """The time-out of log-ins is over."""

    def loggedOut(self) -> None:
        """The time-out of log-ins begins."""

    def sessionEnded(self, reason: str) -> None:
        """The cluster has ended the session: hang up, and say why."""


@frozen
class Command:
    """A word that clients say.

    :ivar verb: in capitals.
    :ivar run: answers it; fails with :class:`~.replies.Refusal` or a
        :class:`~cftpcluster.errors.FileSystemError`.
    :ivar usage: its argument for HELP: "" for none, in brackets where it may be missing.
    :ivar beforeLogin: whether it is answered before a log-in.
    :ivar aside: whether it is answered while a transfer runs. Any other has to wait for the transfer's end.
    """

    verb: str
    run: Callable[[Session, str], Awaitable[Reply]]
    usage: str = ""
    beforeLogin: bool = False
    aside: bool = False

    @property
    def needsArgument(self) -> bool:
        return bool(self.usage) and not self.usage.startswith("[")


@define(eq=False)
class Session:
    """A client's session.

    :ivar id: unguessable, unique in the cluster.
    :ivar client: the client's address.
    :ivar listener: the listener's name.
    :ivar now: the time of day, seconds since the epoch.
    :ivar commands: every command, by verb.
    :ivar siteCommands: what follows SITE, by verb, of plug-ins.
    :ivar random: names files for STOU.
    :ivar name: the name that USER gave, and nobody has proved yet.
    :ivar proof: what a certificate has proved of that name, where a password has to follow.
    :ivar failures: log-ins that failed.
    :ivar sized: whether PBSZ was said; an implicit connection needs none.
    :ivar private: whether data connections speak TLS (PROT P).
    :ivar extendedOnly: whether EPSV ALL was said.
    :ivar folder: the current folder.
    :ivar ascii: whether TYPE A is set.
    :ivar restart: what REST said, for the next transfer.
    :ivar allocation: what ALLO said, for the next upload.
    :ivar renaming: what RNFR named.
    :ivar facts: what MLSD and MLST say.
    :ivar hash: what HASH tells, by its name in :data:`.sums.HASHES`.
    :ivar transfer: the transfer under way.
    """

    id: str
    client: str
    listener: str
    options: FTPOptions
    control: Control
    reactor: Any
    now: Callable[[], float]
    portal: Any
    commands: Mapping[str, Command]
    siteCommands: Mapping[str, ISiteCommand]
    random: Random
    sized: bool
    private: bool
    data: DataChannel = field(init=False)
    name: str | None = field(default=None, init=False)
    proof: Proof | None = field(default=None, init=False)
    failures: int = field(default=0, init=False)
    account: IAccount | None = field(default=None, init=False)
    extendedOnly: bool = field(default=False, init=False)
    folder: VirtualPath = field(default=(), init=False)
    ascii: bool = field(default=True, init=False)
    restart: int = field(default=0, init=False)
    allocation: int = field(default=0, init=False)
    renaming: VirtualPath | None = field(default=None, init=False)
    facts: Sequence[str] = field(default=listings.FACTS, init=False)
    hash: str = field(default=sums.DEFAULT, init=False)
    transfer: Transfer | None = field(default=None, init=False)
    _logout: Callable[[], Deferred[None]] | None = field(default=None, init=False)

    @property
    def files(self) -> IFileSystem:
        """The user's tree; commands that reach it are refused before a log-in."""
        if self.account is None:
            raise Refusal(530, "Log in with USER and PASS first")
        return self.account.files

    def path(self, argument: str) -> VirtualPath:
        """What a client means by ``argument``; the current folder where it says nothing."""
        return paths.parse(argument, self.folder)

    def takeRestart(self) -> int:
        """What REST said, once."""
        restart, self.restart = self.restart, 0
        return restart

    def takeAllocation(self) -> int:
        """What ALLO said, once."""
        allocation, self.allocation = self.allocation, 0
        return allocation

    def login(self, account: IAccount, logout: Callable[[], Deferred[None]]) -> None:
        self.account, self._logout, self.name, self.proof = account, logout, None, None
        self.control.loggedIn()

    async def leave(self) -> None:
        """Nobody is logged in any more, and somebody may log in anew. What can be set stays as it is."""
        self.name = self.renaming = None
        self.folder, self.restart, self.allocation = (), 0, 0
        self.data.close()
        if self.account is not None:
            self.control.loggedOut()
        await self.logout()

    def reset(self) -> None:
        """Everything that can be set is as it was at first."""
        self.sized = self.private = self.options.implicit
        self.extendedOnly, self.ascii, self.facts, self.hash = False, True, listings.FACTS, sums.DEFAULT

    def logout(self) -> Deferred[None]:
        """The session is over."""
        logout, self._logout, self.account = self._logout, None, None
        return maybeDeferred(logout) if logout is not None else maybeDeferred(lambda: None)
