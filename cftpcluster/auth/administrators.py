"""Logs administrators in, who are no users and reach no files. It knows nothing of sessions."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred

from ..config.document import Admin, Document
from ..events import LoggedIn, LoginFailed, Notify
from ..networks import countedAs
from ..vocabulary import Author, Origin
from .credentials import LONGEST_NAME_TOLD
from .delay import FailureDelay
from .guard import ADMINISTRATORS, ADMINISTRATORS_PROTOCOL, Guard
from .passwords import Passwords

PROTOCOL = ADMINISTRATORS_PROTOCOL
"""As protocol and listener of the events' origin."""


@define(eq=False)
class AdminPasswords:
    _document: Callable[[], Document]
    _passwords: Passwords
    _notify: Notify
    _delay: FailureDelay
    _guard: Guard

    def authenticate(self, name: str, password: bytes, address: str) -> Deferred[Author]:
        """Who may now ask for changes. Fails as :meth:`cftpcluster.auth.portal.AccountPortal.login` does: with
        ``UnauthorizedLogin``, always the same and after the same time, or with ``LoginBusy``, at once."""
        return Deferred.fromCoroutine(self._authenticate(name, password, address))

    async def _authenticate(self, name: str, password: bytes, address: str) -> Author:
        self._guard.turnAway(address)
        await self._guard.hold(ADMINISTRATORS, name, address)
        started = self._delay.started()
        origin = Origin(protocol=PROTOCOL, address=address, listener=PROTOCOL, session="")
        known = self._admin(name)
        encoded = known.passwordHash if known else ""
        fits = await self._passwords.verify(encoded, password, countedAs(address))
        # It may have been removed, disabled or given another password while the thread was at work.
        admin = self._admin(name)
        if admin and admin.enabled and fits and admin.passwordHash == encoded:
            self._notify(LoggedIn(user=name, origin=origin, method="password"))
            return Author(name=admin.name, role=admin.role.value, address=address)
        reason = "unknown administrator" if not admin else "wrong password" if not fits else "disabled or changed"
        self._notify(LoginFailed(user=name[:LONGEST_NAME_TOLD], origin=origin, method="password", reason=reason))
        await self._delay.since(started)
        raise UnauthorizedLogin

    def _admin(self, name: str) -> Admin | None:
        return self._document().admins.get(name)
