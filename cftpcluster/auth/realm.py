"""Gives out accounts, and the avatars that protocols make from them.

Rights come from the document as it is now, never from what a checker or a session said: whoever proves to be a user
still has to exist, be enabled, and be allowed to come this way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakSet

from attrs import define, field
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm
from twisted.logger import Logger
from zope.interface import Interface, implementer

from ..config.document import Document, User
from ..interfaces import IAccount, IFileSystem
from ..networks import Networks
from ..vocabulary import Origin
from .account import Account


@implementer(IRealm)
@define(eq=False)
class Realm:
    """The realm of every protocol.

    :ivar document: the document that is live on this node.
    :ivar fileSystems: makes the file system of one session.
    :ivar avatars: what makes other avatars from an account, by their interface.
    :ivar now: the cluster's time, seconds since the epoch.
    """

    _document: Callable[[], Document]
    _fileSystems: Callable[[User, Origin], IFileSystem]
    _avatars: Mapping[type[Interface], Callable[[IAccount], Any]]
    _now: Callable[[], float]
    _accounts: WeakSet[Account] = field(factory=WeakSet, init=False)
    _log = Logger()

    def admit(self, name: str, origin: Origin) -> User:
        """The user, if it may come in from there now; else ``UnauthorizedLogin``, whose text is for the log only."""
        user: User | None = self._document().users.get(name)
        reason = "unknown user" if user is None else self._objection(user, origin)
        if user is None or reason:
            raise UnauthorizedLogin(reason)
        return user

    def _objection(self, user: User, origin: Origin) -> str:
        if not user.enabled:
            return "disabled"
        if user.expires is not None and user.expires.timestamp() <= self._now():
            return "expired"
        if origin.protocol not in {protocol.value for protocol in user.protocols}:
            return f"protocol {origin.protocol} is not allowed"
        if user.allow and origin.address not in Networks.parse(user.allow):
            return "client network is not allowed"
        return ""

    def requestAvatar(
        self, avatarId: Any, mind: Any, *interfaces: type[Interface]
    ) -> tuple[type[Interface], Any, Callable[[], Any]]:
        user = self.admit(avatarId, mind)
        for interface in interfaces:
            if interface is IAccount or interface in self._avatars:
                files = self._fileSystems(user, mind)
                account = Account(user.name, mind, files, self._document().revision)
                self._accounts.add(account)
                avatar = account if interface is IAccount else self._avatars[interface](account)
                return interface, avatar, account.logout
        raise NotImplementedError("no such avatar: " + ", ".join(each.__name__ for each in interfaces))

    def endStale(self) -> None:
        """The document has changed: end the sessions that could not begin any more.

        What they have open is aborted, and nothing more is done for them; their connections stand until the client or
        its server ends them.
        """
        users = self._document().users
        for account in list(self._accounts):
            user = users.get(account.name)
            if user is None or self._objection(user, account.origin) or account.revision < user.credentialsRevision:
                self._accounts.discard(account)
                self._log.info("ended a session of {user!r}: it could not log in now", user=account.name)
                _ = account.logout().addErrback(
                    lambda failure: self._log.failure("a session did not end in order", failure)
                )
