"""Checks log-ins against the users of the document.

Whether a user may come in (enabled, expiry, networks) is not decided here: that is the realm's, for all checkers alike.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from attrs import define, field
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.plugin import IPlugin
from zope.interface import implementer

from ..config.document import Document, User
from ..config.publickeys import PublicKey
from ..interfaces import (
    ICertificateLogin,
    ICheckerFactory,
    IPasswordLogin,
    IPublicKeyLogin,
    IReconfigurable,
    ISessionLogin,
)
from ..networks import countedAs
from .credentials import LoginBusy
from .passwords import Argon2Cost, Passwords
from .verified import VerifiedPasswords


def keysOf(lines: Iterable[str]) -> Iterator[PublicKey]:
    """The keys that are written as in ``authorized_keys``; what is none is left out."""
    for line in lines:
        try:
            yield PublicKey.parse(line)
        except ValueError:
            continue


@implementer(ICredentialsChecker, IReconfigurable)
@define(eq=False)
class UsersChecker:
    """The checker of the document's own users: passwords, public keys, certificates, and sessions that go on.

    :ivar now: the time of day, seconds since the epoch.
    :ivar upgrade: called with a name and a better hash of the password that this user has now.
    """

    _document: Callable[[], Document]
    _passwords: Passwords
    _verified: VerifiedPasswords
    _upgrade: Callable[[str, str, str], None]
    _now: Callable[[], float]
    _upgrading: set[str] = field(factory=set, init=False)
    _log = Logger()

    credentialInterfaces = (IPasswordLogin, ICertificateLogin, IPublicKeyLogin, ISessionLogin)

    def reconfigure(self, config: Argon2Cost) -> Deferred[None]:
        self._passwords.cost = config
        return succeed(None)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        if IPasswordLogin.providedBy(credentials):
            return Deferred.fromCoroutine(self._checkPassword(credentials))
        if IPublicKeyLogin.providedBy(credentials):
            return Deferred.fromCoroutine(self._checkKey(credentials))
        if ICertificateLogin.providedBy(credentials):
            return Deferred.fromCoroutine(self._checkCertificate(credentials))
        return Deferred.fromCoroutine(self._checkSession(credentials))

    def _user(self, name: str) -> User | None:
        return self._document().users.get(name)

    async def _checkPassword(self, login: IPasswordLogin) -> str:
        user = self._user(login.name)
        encoded = user.passwordHash if user else ""
        source = countedAs(login.origin.address)
        if not self._verified.knows(login.name, encoded, login.password):
            if not await self._passwords.verify(encoded, login.password, source):
                reason = "wrong password" if encoded else "no password is set" if user else "unknown user"
                raise UnauthorizedLogin(reason)
            if not self._isHashOf(login.name, encoded):
                raise UnauthorizedLogin("the password was changed meanwhile")
            self._verified.add(login.name, encoded, login.password)
        if self._passwords.needsRehash(encoded) and login.name not in self._upgrading:
            self._startUpgrade(login, encoded, source)
        return login.name

    def _isHashOf(self, name: str, encoded: str) -> bool:
        user = self._user(name)
        return user is not None and user.passwordHash == encoded

    def _startUpgrade(self, login: IPasswordLogin, encoded: str, source: str) -> None:
        self._upgrading.add(login.name)

        async def upgrade() -> None:
            try:
                better = await self._passwords.hash(login.password, source)
            except LoginBusy:
                return  # The next log-in tries again.
            finally:
                self._upgrading.discard(login.name)
            # A password set meanwhile must not be undone by a hash of the old one.
            if self._isHashOf(login.name, encoded):
                self._upgrade(login.name, encoded, better)

        _ = Deferred.fromCoroutine(upgrade()).addErrback(
            lambda failure: self._log.failure("could not upgrade a password hash", failure)
        )

    async def _checkKey(self, login: IPublicKeyLogin) -> str:
        user = self._user(login.name)
        if user is None:
            raise UnauthorizedLogin("unknown user")
        objections = [
            key.objection(login.origin.address, self._now())
            for key in keysOf(user.publicKeys)
            if key.blob == login.blob
        ]
        if "" not in objections:
            raise UnauthorizedLogin(", ".join(objections) or "unknown key")
        return login.name

    async def _checkCertificate(self, login: ICertificateLogin) -> str:
        if self._user(login.name) is None:
            raise UnauthorizedLogin("unknown user")
        if login.name not in login.names:
            raise UnauthorizedLogin("the certificate is for somebody else")
        return login.name

    async def _checkSession(self, login: ISessionLogin) -> str:
        user = self._user(login.name)
        if user is None:
            raise UnauthorizedLogin("unknown user")
        if login.credentialsRevision < user.credentialsRevision:
            raise UnauthorizedLogin("the session has ended")
        return login.name


@implementer(IPlugin, ICheckerFactory)
@define(eq=False)
class UsersCheckerFactory:
    """The checker of kind ``users``; its options say what hashing costs."""

    kind: str = "users"
    summary: str = "the users of the document: passwords, public keys, client certificates, web sessions"
    configClass: type = Argon2Cost

    def build(
        self,
        config: Argon2Cost,
        *,
        reactor: Any,
        pool: Any,
        document: Callable[[], Document],
        upgrade: Callable[[str, str, str], None],
    ) -> UsersChecker:
        passwords = Passwords(reactor, pool, os.urandom, pool.max, config)
        verified = VerifiedPasswords(os.urandom(32), reactor.seconds)
        return UsersChecker(document, passwords, verified, upgrade, time.time)


usersChecker = UsersCheckerFactory()
