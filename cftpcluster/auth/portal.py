"""The one way in: whoever serves clients logs them in here, whatever the protocol.

It says to the observers who came, who went and who was refused why; to the client, never why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.conch.error import ValidPublicKey
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import Interface

from ..events import LoggedIn, LoggedOut, LoginFailed, LoginTurnedAway, Measure, Notify, unmeasured
from ..interfaces import ICertificateLogin, IPasswordLogin, IPublicKeyLogin, ISessionLogin
from .chain import ChainingChecker
from .credentials import LONGEST_NAME_TOLD, LoginBusy, MoreNeeded, TurnedAway
from .delay import FailureDelay
from .guard import USERS
from .own import OwnCredentials
from .realm import Realm
from .rules import Rules
from .steps import CERTIFICATE, INTERACTIVE, PASSWORD, PUBLIC_KEY, Proof

_SESSION = "session"


def _methodOf(credentials: Any) -> str:
    if IPasswordLogin.providedBy(credentials):
        return INTERACTIVE if credentials.interactive else PASSWORD
    if IPublicKeyLogin.providedBy(credentials):
        return PUBLIC_KEY
    if ICertificateLogin.providedBy(credentials):
        return CERTIFICATE
    return _SESSION if ISessionLogin.providedBy(credentials) else "other"


class AccountPortal(Portal):
    """A portal that tells what happens, and tells a client nothing more than yes or no.

    Besides what :class:`~twisted.cred.portal.Portal` promises, :meth:`login`

    - fails with ``UnauthorizedLogin``, always the same and after the same time, or with
      :class:`~cftpcluster.auth.credentials.LoginBusy`, at once, when nothing was decided, or its kind
      :class:`~cftpcluster.auth.credentials.TurnedAway` where a rule of the cluster keeps the client out for now;
    - answers a mere question about a public key (``signed`` is false) by failing with
      :class:`~twisted.conch.error.ValidPublicKey` where the key would do, and never with an avatar;
    - fails with :class:`~cftpcluster.auth.credentials.MoreNeeded`, at once, when what is proven is right and the user
      has to prove more, if the login says that its client can (``before`` is not ``None``). That is no event;
    - makes one ``LoggedIn`` of each success, one ``LoggedOut`` when its ``logout`` is first called, and one
      ``LoginFailed`` of each refusal. Questions, sessions that go on (``ISessionLogin``), and certificates that are not
      what their user logs in by, make no events.

    :ivar rules: what holds for log-ins and sessions on all nodes.
    :ivar own: what users change of themselves.
    """

    realm: Realm

    def __init__(
        self,
        realm: Realm,
        chain: ChainingChecker,
        notify: Notify,
        delay: FailureDelay,
        rules: Rules,
        own: OwnCredentials,
        measure: Measure = unmeasured,
    ) -> None:
        super().__init__(realm)
        self.rules = rules
        self.own = own
        self._chain = chain
        self._notify = notify
        self._delay = delay
        self._measure = measure

    _log = Logger()

    def listCredentialsInterfaces(self) -> list[type[Interface]]:
        return self._chain.credentialInterfaces

    def login(self, credentials: Any, mind: Any, *interfaces: type[Interface]) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._login(credentials, mind, interfaces))

    async def _login(self, credentials: Any, mind: Any, interfaces: tuple[type[Interface], ...]) -> Any:
        method = _methodOf(credentials)
        question = method == PUBLIC_KEY and not credentials.signed
        silent = question or method == _SESSION or self._isMerelyShown(credentials, method)
        if not silent:
            self.rules.guard.turnAway(mind.address)
        if method in {PASSWORD, INTERACTIVE}:
            await self.rules.guard.hold(USERS, credentials.name, mind.address)
        started = self._delay.started()
        name = ""
        try:
            # What would not do is not looked at: it might be somebody who guesses passwords without having the key.
            self._proven(credentials.name, credentials, method)
            name = await self._chain.requestAvatarId(credentials)
            proof = self._proven(name, credentials, method)
            if question:
                self.realm.admit(name, mind)
                raise ValidPublicKey
            self._askForMore(proof, credentials, mind)
            interface, avatar, logout = self.realm.requestAvatar(proof, mind, *interfaces)
        except TurnedAway as refusal:
            self._notify(LoginTurnedAway(user=name, origin=mind, method=method, reason=str(refusal)))
            raise
        except (ValidPublicKey, LoginBusy, MoreNeeded):
            raise
        except UnauthorizedLogin as refusal:
            if not silent:
                # Before the delay: who hangs up meanwhile has tried all the same.
                user = credentials.name[:LONGEST_NAME_TOLD]
                self._notify(LoginFailed(user=user, origin=mind, method=method, reason=str(refusal)))
                await self._delay.since(started)
            raise UnauthorizedLogin from None
        if silent:
            return interface, avatar, logout
        self._measure("login", self._delay.started() - started)
        self._notify(LoggedIn(user=name, origin=mind, method=",".join(proof.methods)))
        return interface, avatar, self._farewell(LoggedOut(user=name, origin=mind), logout)

    def _isMerelyShown(self, credentials: Any, method: str) -> bool:
        """Whether it is a certificate that logs this user in nowhere. Clients show theirs in the handshake to whoever
        asks, and mean to log in by what follows."""
        if method != CERTIFICATE:
            return False
        try:
            self._proven(credentials.name, credentials, method)
        except UnauthorizedLogin:
            return True
        return False

    def _proven(self, name: str, credentials: Any, method: str) -> Proof:
        # A web session began with a password.
        before = getattr(credentials, "before", None)
        return self.realm.proven(name, before, PASSWORD if method == _SESSION else method)

    def _askForMore(self, proof: Proof, credentials: Any, origin: Any) -> None:
        """:raises MoreNeeded: where ``proof`` is not enough; ``UnauthorizedLogin`` where the client has no more."""
        following = self.realm.following(proof)
        if following:
            self.realm.admit(proof.name, origin)
            if getattr(credentials, "before", None) is None:
                raise UnauthorizedLogin("more than this has to be proven")
            raise MoreNeeded(proof, following)

    def _farewell(self, event: LoggedOut, logout: Callable[[], Any]) -> Callable[[], Any]:
        told = False

        def tellAndLogout() -> Any:
            nonlocal told
            if not told:
                told = True
                self._notify(event)
            return logout()

        return tellAndLogout
