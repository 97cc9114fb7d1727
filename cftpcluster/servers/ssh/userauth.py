"""SSH's authentication protocol (RFC 4252; RFC 4256 for keyboard-interactive; RFC 8332; OpenSSH's PROTOCOL.u2f).

    USERAUTH_REQUEST none                  FAILURE with what may be tried
    USERAUTH_REQUEST publickey, unsigned   PK_OK or FAILURE: a mere question
    USERAUTH_REQUEST publickey, signed     SUCCESS or FAILURE
    USERAUTH_REQUEST password              SUCCESS or FAILURE
    USERAUTH_REQUEST keyboard-interactive  INFO_REQUEST, INFO_RESPONSE, SUCCESS or FAILURE

Where a user has to prove more than one thing, the FAILURE after each but the last says "partial success", and what
comes next; with another name everything starts anew.

Signatures are verified here; whether a key or password is the user's is for the portal to say. One request is looked at
at a time, and what is known about a client lives and dies with its connection.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twisted.conch.error import ValidPublicKey
from twisted.conch.interfaces import IConchUser
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.service import SSHService
from twisted.conch.ssh.transport import (
    DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE,
    DISCONNECT_SERVICE_NOT_AVAILABLE,
    DISCONNECT_TOO_MANY_CONNECTIONS,
)
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred

from ...auth.credentials import LoginBusy, MoreNeeded, PasswordLogin, PublicKeyLogin, TurnedAway
from ...auth.steps import Proof
from ...events import LoginFailed, Notify
from ...interfaces import IPasswordLogin, IPublicKeyLogin
from ._quiet import quietLogger
from .hostkeys import MINIMUM_RSA_BITS
from .negotiation import USER_KEY_ALGORITHMS
from .wire import Reader, boolean, names, string, uint32

if TYPE_CHECKING:
    from .transport import SSHTransport

MSG_USERAUTH_REQUEST = 50
MSG_USERAUTH_FAILURE = 51
MSG_USERAUTH_SUCCESS = 52
MSG_USERAUTH_PK_OK = 60
MSG_USERAUTH_INFO_REQUEST = 60
MSG_USERAUTH_INFO_RESPONSE = 61

MAXIMUM_RSA_BITS = 16384
LONGEST_NAME = 256
"""Characters of a refused name that are told to the observers."""

REQUEST_LIMIT = 64
"""Requests of all kinds on one connection; a client with a full key agent needs about twenty."""

_USER_PRESENT = 0x01


class _Refused(Exception):
    """A request that cannot succeed, whoever the user is; the text says why."""


def parseUserKey(algorithm: bytes, blob: bytes) -> Key:
    """The public key of a log-in, when ``algorithm`` may be used with it."""
    if algorithm not in USER_KEY_ALGORITHMS:
        raise _Refused("key algorithm is not accepted")
    typeName = b"ssh-rsa" if algorithm.startswith(b"rsa-") else algorithm
    try:
        key: Key = Key.fromString(blob, type="BLOB")
    except Exception:  # noqa: BLE001 - Conch and the library beneath fail in many ways on malformed keys
        raise _Refused("key cannot be read") from None
    if key.sshType() != typeName:
        raise _Refused("key is not of the algorithm's type")
    if typeName == b"ssh-rsa" and not MINIMUM_RSA_BITS <= key.size() <= MAXIMUM_RSA_BITS:
        raise _Refused("key is too short or too long")
    return key


def isSignedBy(key: Key, algorithm: bytes, signature: bytes, message: bytes) -> bool:
    """Whether ``signature``, made with ``algorithm`` and no other, proves that the key's owner signed ``message``."""
    try:
        reader = Reader(signature)
        if reader.string() != algorithm:
            return False
        reader.string()
        if algorithm.startswith(b"sk-"):
            flags, counter = reader.take(1).tobytes(), reader.take(4).tobytes()
            if not flags[0] & _USER_PRESENT:
                return False
            application = hashlib.sha256(key.application).digest()
            message = application + flags + counter + hashlib.sha256(message).digest()
        return bool(key.verify(signature, message))
    except Exception:  # noqa: BLE001 - as above; a signature that cannot be read proves nothing
        return False


class UserAuthentication(SSHService):
    """The ``ssh-userauth`` service of one connection.

    :ivar portal: logs in and answers with an ``IConchUser``.
    :ivar makeConnection: makes the service that follows.
    :ivar attemptLimit: so many refusals end the connection.
    :ivar passwords: whether passwords are taken at all.
    :ivar notify: is told of refusals that the portal does not hear of.
    """

    name = b"ssh-userauth"
    transport: SSHTransport
    _log = quietLogger()

    def __init__(
        self,
        portal: Portal,
        makeConnection: Callable[[], SSHService],
        attemptLimit: int,
        passwords: bool,
        notify: Notify,
    ) -> None:
        self._portal = portal
        self._notify = notify
        self._makeConnection = makeConnection
        self._attemptLimit = attemptLimit
        self._refusals = 0
        self._requests = 0
        self._user = b""
        self._proof = Proof()
        self._asked: bytes | None = None  # whose password was asked for, keyboard-interactive
        self._stopped = False
        offered = portal.listCredentialsInterfaces()
        self._methods: Mapping[bytes, Callable[[bytes, Reader], None]] = {}
        if IPublicKeyLogin in offered:
            self._methods[b"publickey"] = self._publicKey
        if IPasswordLogin in offered and passwords:
            self._methods[b"password"] = self._password
            self._methods[b"keyboard-interactive"] = self._interactive
        self._next: Sequence[bytes] = tuple(self._methods)  # what may be tried

    def serviceStopped(self) -> None:
        self._stopped = True

    def packetReceived(self, messageNum: int, packet: Any) -> None:
        asked, self._asked = self._asked, None
        if messageNum == MSG_USERAUTH_REQUEST:
            self._request(Reader(packet))
        elif messageNum == MSG_USERAUTH_INFO_RESPONSE and asked is not None:
            self._response(asked, Reader(packet))
        else:
            self.transport.sendUnimplemented()

    def _request(self, request: Reader) -> None:
        self._requests += 1
        user, service, method = request.string(), request.string(), request.string()
        if self._requests > REQUEST_LIMIT:
            self._tooMany()
            return
        if service != b"ssh-connection":
            self.transport.sendDisconnect(DISCONNECT_SERVICE_NOT_AVAILABLE, b"no such service")
            return
        if user != self._user:
            self._user, self._proof, self._next = user, Proof(), tuple(self._methods)
        if method not in self._next:
            self._sendFailure()
        else:
            try:
                self._methods[method](user, request)
            except _Refused as refusal:
                failed = LoginFailed(
                    user=_decode(user)[:LONGEST_NAME],
                    origin=self.transport.origin,
                    method=method.decode("ascii"),
                    reason=str(refusal),
                )
                self._notify(failed)
                self._refuse()

    # --- methods

    def _publicKey(self, user: bytes, request: Reader) -> None:
        signed, algorithm, blob = request.boolean(), request.string(), request.string()
        try:
            key = parseUserKey(algorithm, blob)
        except _Refused:
            if signed:
                raise
            self._sendFailure()
            return
        if signed:
            assert self.transport.sessionID is not None
            message = b"".join(
                (
                    string(self.transport.sessionID),
                    bytes((MSG_USERAUTH_REQUEST,)),
                    string(user),
                    string(b"ssh-connection"),
                    string(b"publickey"),
                    boolean(True),
                    string(algorithm),
                    string(blob),
                )
            )
            if not isSignedBy(key, algorithm, request.string(), message):
                raise _Refused("signature is wrong")
        login = PublicKeyLogin(_decode(user), blob, signed, self.transport.origin, self._proof)
        self._ask(login, question=b"" if signed else string(algorithm) + string(blob))

    def _password(self, user: bytes, request: Reader) -> None:
        if request.boolean():  # a change of the password, which is not done here
            raise _Refused("passwords are not changed here")
        self._askForPassword(user, request.string(), interactive=False)

    def _interactive(self, user: bytes, request: Reader) -> None:
        self._asked = user
        prompt = string(b"Password: ") + boolean(False)
        self.transport.sendPacket(
            MSG_USERAUTH_INFO_REQUEST, string(b"") + string(b"") + string(b"") + uint32(1) + prompt
        )

    def _response(self, user: bytes, response: Reader) -> None:
        if response.uint32() != 1:
            self._refuse()
        else:
            self._askForPassword(user, response.string(), interactive=True)

    def _askForPassword(self, user: bytes, password: bytes, interactive: bool) -> None:
        self._ask(PasswordLogin(_decode(user), password, self.transport.origin, interactive, self._proof))

    # --- outcomes

    def _ask(self, login: PasswordLogin | PublicKeyLogin, question: bytes = b"") -> None:
        self.transport.hold()
        decided: Deferred[Any] = self._portal.login(login, self.transport.origin, IConchUser)
        _ = (
            decided.addCallbacks(self._succeeded, self._failed, errbackArgs=(question,))
            .addErrback(self._broken)
            .addBoth(lambda _: self.transport.release())
            .addErrback(self._transportBroke)
        )

    def _succeeded(self, granted: tuple[Any, Any, Callable[[], Any]]) -> Any:
        _, avatar, logout = granted
        if self._stopped:
            return logout()
        self.transport.loggedIn(avatar, logout)
        self.transport.sendPacket(MSG_USERAUTH_SUCCESS, b"")
        self.transport.setService(self._makeConnection())
        return None

    def _failed(self, failure: Any, question: bytes) -> None:
        if self._stopped:
            failure.trap(ValidPublicKey, MoreNeeded, UnauthorizedLogin)
        elif failure.check(ValidPublicKey):
            self.transport.sendPacket(MSG_USERAUTH_PK_OK, question)
        elif failure.check(MoreNeeded):
            self._proof = failure.value.proof
            following = [method.encode("ascii") for method in failure.value.methods]
            self._next = tuple(method for method in following if method in self._methods)
            self._sendFailure(partial=True)
        elif failure.check(TurnedAway):
            self.transport.sendDisconnect(DISCONNECT_TOO_MANY_CONNECTIONS, failure.getErrorMessage())
        elif failure.check(LoginBusy):
            self._sendFailure()
        else:
            failure.trap(UnauthorizedLogin)
            if question:
                self._sendFailure()
            else:
                self._refuse()

    def _transportBroke(self, failure: Any) -> None:
        self._log.failure("connection of {origin} broke", failure, origin=self.transport.origin)
        self.transport.abort()

    def _broken(self, failure: Any) -> None:
        self._log.failure("log-in broke for {origin}", failure, origin=self.transport.origin)
        if not self._stopped:
            self._refuse()

    def _refuse(self) -> None:
        self._refusals += 1
        if self._refusals >= self._attemptLimit:
            self._tooMany()
        else:
            self._sendFailure()

    def _tooMany(self) -> None:
        self.transport.sendDisconnect(DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, b"too many authentication failures")

    def _sendFailure(self, partial: bool = False) -> None:
        self.transport.sendPacket(MSG_USERAUTH_FAILURE, names(self._next) + boolean(partial))


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
