"""Gives out accounts, and the avatars that protocols make from them.

Rights come from the document as it is now, never from what a checker or a session said: whoever proves to be a user
still has to exist, be enabled, and be allowed to come this way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from attrs import define, evolve, field
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import Interface, implementer

from ..config.document import Document, User
from ..interfaces import IAccount, IFileSystem
from ..vocabulary import Origin
from .account import Account
from .rights import Rights, isLess, rightsOf, rulesOf
from .sessions import LiveSessions
from .steps import Proof, mayFollow, suffice, wanted

LONGEST_NAP_SECONDS = 60.0
"""Between looks whether a user has expired: the time of day may be set meanwhile."""


@define(eq=False)
class _Granted:
    """:ivar document: the document that the session agreed with when it was last looked at.
    :ivar rights: what it was given.
    :ivar methods: what it proved.
    """

    document: Document
    rights: Rights
    methods: tuple[str, ...]


@implementer(IRealm)
@define(eq=False)
class Realm:
    """The realm of every protocol.

    :ivar document: the document that is live on this node.
    :ivar fileSystems: makes the file system of one session.
    :ivar avatars: what makes other avatars from an account, by their interface.
    :ivar now: the cluster's time, seconds since the epoch.
    :ivar sessions: is told of each account, and has those that are in.
    """

    _document: Callable[[], Document]
    _fileSystems: Callable[[User, Origin], IFileSystem]
    _avatars: Mapping[type[Interface], Callable[[IAccount], Any]]
    _now: Callable[[], float]
    _sessions: LiveSessions
    _clock: IReactorTime
    _granted: WeakKeyDictionary[Account, _Granted] = field(factory=WeakKeyDictionary, init=False)
    _expiry: IDelayedCall | None = field(default=None, init=False)

    def admit(self, name: str, origin: Origin) -> User:
        """The user, if it may come in from there now; else ``UnauthorizedLogin``, whose text is for the log only."""
        document = self._document()
        user: User | None = document.users.get(name)
        reason = "unknown user" if user is None else self._objection(document, user, origin)
        if user is None or reason:
            raise UnauthorizedLogin(reason)
        return user

    def _objection(self, document: Document, user: User, origin: Origin) -> str:
        if not user.enabled:
            return "disabled"
        if user.expires is not None and user.expires.timestamp() <= self._now():
            return "expired"
        if origin.protocol not in {protocol.value for protocol in user.protocols}:
            return f"protocol {origin.protocol} is not allowed"
        for whose, rule in rulesOf(document, user):
            if not rule.admits(origin.address):
                return f"client network is not allowed by the {whose}"
        return ""

    def proven(self, name: str, before: Proof | None, method: str) -> Proof:
        """What is proven of ``name`` with one method more. What was proven of somebody else, or before password or keys
        were changed, is void; ``UnauthorizedLogin`` where something else has to come first, or instead."""
        document = self._document()
        user: User | None = document.users.get(name)
        if before is None or before.name != name or (user and user.credentialsRevision > before.revision):
            before = Proof(name, (), document.revision)
        lists = wanted(document, user) if user else ()
        if lists and method not in mayFollow(lists, before.methods):
            raise UnauthorizedLogin(f"{method} is not what has to be proven next")
        return evolve(before, methods=(*before.methods, method))

    def following(self, proof: Proof) -> Sequence[str]:
        """What has to be proven next; nothing where it is enough."""
        document = self._document()
        user: User | None = document.users.get(proof.name)
        lists = wanted(document, user) if user else ()
        return () if suffice(lists, proof.methods) else mayFollow(lists, proof.methods)

    def requestAvatar(
        self, avatarId: Any, mind: Any, *interfaces: type[Interface]
    ) -> tuple[type[Interface], Any, Callable[[], Any]]:
        """:param avatarId: a :class:`~.steps.Proof` that is enough; else ``UnauthorizedLogin``."""
        user = self.admit(avatarId.name, mind)
        if not suffice(wanted(self._document(), user), avatarId.methods):
            raise UnauthorizedLogin("more has to be proven")
        for interface in interfaces:
            if interface is IAccount or interface in self._avatars:
                self._sessions.admit(user, mind)
                account = self._begin(user, mind, avatarId.methods)
                avatar = account if interface is IAccount else self._avatars[interface](account)
                return interface, avatar, account.logout
        raise NotImplementedError("no such avatar: " + ", ".join(each.__name__ for each in interfaces))

    def _begin(self, user: User, origin: Origin, methods: tuple[str, ...]) -> Account:
        document = self._document()
        account = Account(user.name, origin, self._fileSystems(user, origin), document.revision)
        self._granted[account] = _Granted(document, rightsOf(document, user), methods)
        self._sessions.begin(account)
        self._expect(user)
        return account

    # --- ending

    def endStale(self) -> None:
        """The document has changed: end the sessions that could not begin any more, or would reach less."""
        document = self._document()
        for account in self._sessions.accounts():
            granted = self._granted[account]
            before, granted.document = granted.document, document
            if not _concerns(before, document, account.name):
                continue
            reason = self._staleness(document, account, granted)
            if reason:
                account.end(reason)
            else:
                self._expect(document.users[account.name])

    def _staleness(self, document: Document, account: Account, granted: _Granted) -> str:
        user: User | None = document.users.get(account.name)
        if user is None:
            return "there is no such user any more"
        objection = self._objection(document, user, account.origin)
        if objection:
            return objection
        if account.revision < user.credentialsRevision:
            return "password or keys were changed"
        if not suffice(wanted(document, user), granted.methods):
            return "more has to be proven now"
        return "rights were withdrawn" if isLess(rightsOf(document, user), granted.rights) else ""

    def _expect(self, user: User) -> None:
        """Look again when the user expires."""
        if user.expires is None:
            return
        seconds = min(max(user.expires.timestamp() - self._now(), 0.0), LONGEST_NAP_SECONDS)
        if self._expiry is not None and self._expiry.active():
            if self._expiry.getTime() <= self._clock.seconds() + seconds:
                return
            self._expiry.cancel()
        self._expiry = self._clock.callLater(seconds, self._endExpired)

    def _endExpired(self) -> None:
        users = self._document().users
        for account in self._sessions.accounts():
            user = users.get(account.name)
            if user is None or user.expires is None:
                continue
            if user.expires.timestamp() <= self._now():
                account.end("expired")
            else:
                self._expect(user)


def _concerns(before: Document, after: Document, name: str) -> bool:
    """Whether what a user may do can differ between two documents; quickly, for the case that it cannot."""
    if before.users.get(name) is not after.users.get(name) or before.groups is not after.groups:
        return True
    return before.backends is not after.backends or before.settings is not after.settings
