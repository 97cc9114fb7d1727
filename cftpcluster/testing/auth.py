"""Log-ins for the tests of servers and of checkers: users without a document, and the contract of a checker."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import Factory, define, evolve, field
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from zope.interface import Interface, implementer
from zope.interface.verify import verifyObject

from ..auth.chain import ChainingChecker
from ..auth.credentials import PasswordLogin
from ..auth.delay import FailureDelay
from ..auth.own import OwnCredentials, requireOwn
from ..auth.passwords import Argon2Cost, Passwords, matches
from ..auth.portal import AccountPortal
from ..auth.realm import Realm
from ..auth.rules import Rules
from ..config.changes import Change, Target, apply, moved
from ..config.document import Document, Named, User
from ..errors import Conflict
from ..events import Event
from ..interfaces import IAccount, IFileSystem, IPasswordLogin, IPublicKeyLogin, ISessionLogin
from ..vocabulary import Author, Origin
from .rows import MemoryRows
from .threads import InlinePool, InlineReactor

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase

    _Base = SynchronousTestCase
else:
    _Base = object


CHEAP = Argon2Cost(memoryKibibytes=32, passes=1)
"""Hashes that take next to no time."""


def numberedBytes() -> Callable[[int], bytes]:
    """As :func:`os.urandom`, but always the same from the start."""
    numbers = itertools.count(1)
    return lambda length: (next(numbers).to_bytes(4, "big") * length)[:length]


def counted(encoded: str) -> str:
    """What verifying against a hash costs, as text: its form and the cost it names, without salt and digest."""
    return encoded.rsplit("$", 2)[0]


@define(eq=False)
class CountingPool(InlinePool):
    """A pool without threads that notes what was worked on.

    :ivar work: for each verification, what it cost (see :func:`counted`); for anything else, ``hash``.
    """

    work: list[str] = Factory(list)

    def callInThreadWithCallback(
        self, onResult: Callable[[bool, Any], object] | None, function: Callable[..., object], *args: Any, **kwargs: Any
    ) -> None:
        self.work.append(counted(args[0]) if function is matches else "hash")
        super().callInThreadWithCallback(onResult, function, *args, **kwargs)


def originOf(protocol: str = "sftp", address: str = "192.0.2.7", listener: str = "", session: str = "s1") -> Origin:
    """Where a log-in comes from, when a test does not care."""
    return Origin(protocol=protocol, address=address, listener=listener or protocol, session=session)


def documentWith(*users: User, **sections: Iterable[Named]) -> Document:
    """A document that has these users, and these objects of other sections."""
    document = Document()
    tables = dict(document.sections)
    for name, values in {"users": users, **sections}.items():
        for value in values:
            tables[name] = tables[name].insert(value.name, value)
    return evolve(document, sections=tables)


def rulesFor(document: Callable[[], Document], rows: MemoryRows, clock: IReactorTime) -> Rules:
    """The rules on the node that the rows are of. They hear of nothing until they are started."""
    numbers = itertools.count(1)
    return Rules.of(rows, rows.node, clock, document, clock.seconds, lambda: f"{rows.node} {next(numbers)}")


def ownCredentials(document: Callable[[], Document], take: Callable[[Document], None]) -> OwnCredentials:
    """Users' own changes, made at once of a document that ``take`` puts in the place of the one before."""

    def propose(change: Change, expected: Mapping[Target, int], author: Author) -> Deferred[int]:
        if outdated := moved(document(), expected):
            return fail(Conflict(outdated))
        requireOwn(author, document(), change)
        take(apply(document(), change))
        return succeed(document().revision)

    passwords = Passwords(InlineReactor(), InlinePool(), numberedBytes(), 1, CHEAP)
    return OwnCredentials(
        document=document, passwords=passwords, propose=propose, isLive=lambda revision, seconds: succeed(True)
    )


@implementer(ICredentialsChecker)
@define(eq=False)
class SimpleChecker:
    """Users by name with their passwords in the clear and the wire form of their public keys. Sessions made at
    ``sessionsSince`` or later go on."""

    passwords: Mapping[str, bytes] = Factory(dict)
    keys: Mapping[str, bytes] = Factory(dict)
    sessionsSince: int = 0
    asked: list[Any] = field(factory=list)

    credentialInterfaces = (IPasswordLogin, IPublicKeyLogin, ISessionLogin)

    def requestAvatarId(self, credentials: Any) -> Any:
        self.asked.append(credentials)
        name = credentials.name
        if IPasswordLogin.providedBy(credentials):
            known = self.passwords.get(name) == credentials.password
        elif IPublicKeyLogin.providedBy(credentials):
            known = self.keys.get(name) == credentials.blob
        else:
            known = credentials.credentialsRevision >= self.sessionsSince
        if not known:
            raise UnauthorizedLogin("no such user, or the wrong secret")
        return name


@define(eq=False)
class Logins:
    """A portal for the tests of one server, and what it was told.

    :ivar document: replace it to change the users' rights under a running server.
    :ivar events: what was notified so far, by the portal; give :meth:`notify` to what else makes events.
    :ivar rules: those of the portal, on rows in memory; they hear of nothing until a test starts them, and no events
        are handed to their guard.
    :ivar own: those of the portal; a user's change is there at once.
    """

    files: Callable[[User, Origin], IFileSystem]
    checker: SimpleChecker
    document: Document
    avatars: Mapping[type[Interface], Callable[[IAccount], Any]] = Factory(dict)
    clock: Clock = Factory(Clock)
    failureSeconds: float = 0.0
    events: list[Event] = field(factory=list)
    rules: Rules = field(init=False)
    own: OwnCredentials = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.own = ownCredentials(lambda: self.document, self._take)
        self.rules = rulesFor(lambda: self.document, MemoryRows(self.clock), self.clock)

    @classmethod
    def of(
        cls, files: IFileSystem, passwords: Mapping[str, bytes], keys: Mapping[str, bytes] | None = None, **options: Any
    ) -> Logins:
        """Users that all see the same files."""
        keys = keys or {}
        users = [User(name=name) for name in {**passwords, **keys}]
        return cls(lambda user, origin: files, SimpleChecker(passwords, keys), documentWith(*users), **options)

    def notify(self, event: Event) -> None:
        self.events.append(event)

    def _take(self, document: Document) -> None:
        self.document = document

    def realm(self) -> Realm:
        sessions = self.rules.sessions
        return Realm(lambda: self.document, self.files, self.avatars, self.clock.seconds, sessions, self.clock)

    def portal(self) -> AccountPortal:
        delay = FailureDelay(self.clock, lambda: 0.0, self.failureSeconds, 0.0)
        return AccountPortal(self.realm(), ChainingChecker([self.checker]), self.notify, delay, self.rules, self.own)


class PasswordCheckerContract(_Base):
    """What every checker that takes passwords promises. Mix it into a ``SynchronousTestCase``; the checker must need no
    thread and no wait (see :mod:`cftpcluster.testing.threads`)."""

    def makeChecker(self, name: str, password: bytes) -> ICredentialsChecker:
        """A checker that knows this one user."""
        raise NotImplementedError

    def askChecker(self, name: str, password: bytes) -> Deferred[Any]:
        """Ask a checker that knows alice, whose password is ``right``."""
        checker = self.makeChecker("alice", b"right")
        login: Any = PasswordLogin(name, password, originOf())
        return maybeDeferred(checker.requestAvatarId, login)

    def test_isAChecker(self) -> None:
        verifyObject(ICredentialsChecker, self.makeChecker("alice", b"right"))

    def test_rightPasswordGivesTheName(self) -> None:
        self.assertEqual(self.successResultOf(self.askChecker("alice", b"right")), "alice")

    def test_otherPasswordsAreRefused(self) -> None:
        for password in (b"", b"wrong", b"right\0", b"right\0right", b"right ", b"right\n", b"Right", b"r" * 100_000):
            self.failureResultOf(self.askChecker("alice", password), UnauthorizedLogin)

    def test_namesAreComparedExactly(self) -> None:
        for name in (
            "",
            "Alice",
            "alice\0",
            "alice\0x",
            "alice\n",
            " alice",
            "alice/",
            "../alice",
            "\udcff",
            "a" * 100_000,
        ):
            self.failureResultOf(self.askChecker(name, b"right"), UnauthorizedLogin)
