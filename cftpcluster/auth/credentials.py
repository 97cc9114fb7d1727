"""What servers hand to the portal as proof of who a client is, and how a log-in is refused.

Secrets stay out of every repr. Nothing here knows who checks them.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import field, frozen
from twisted.conch.error import NotEnoughAuthentication
from twisted.cred.error import UnauthorizedLogin
from zope.interface import implementer

from ..interfaces import ICertificateLogin, IPasswordLogin, IPublicKeyLogin, ISessionLogin
from ..vocabulary import Origin
from .steps import Proof

LONGEST_NAME_TOLD = 256
"""Characters of a refused name that are told to the observers."""


class LoginBusy(UnauthorizedLogin):
    """Too many log-ins are being checked: nothing was decided, and the client may try again later."""


class TurnedAway(LoginBusy):
    """A limit or a ban keeps the client out for now, whatever it would prove. The text may be told to it."""


class MoreNeeded(NotEnoughAuthentication):
    """What was proven is right, and not all that is asked for.

    :ivar proof: what was proven so far, for the next log-in on the same connection.
    :ivar methods: what may be proven next.
    """

    def __init__(self, proof: Proof, methods: Sequence[str]) -> None:
        super().__init__(f"more is asked for: {', '.join(methods)}")
        self.proof = proof
        self.methods = methods


@implementer(IPasswordLogin)
@frozen
class PasswordLogin:
    name: str
    password: bytes = field(repr=False)
    origin: Origin
    interactive: bool = False
    before: Proof | None = None


@implementer(ICertificateLogin)
@frozen
class CertificateLogin:
    name: str
    names: tuple[str, ...]
    origin: Origin
    before: Proof | None = None


@implementer(IPublicKeyLogin)
@frozen
class PublicKeyLogin:
    name: str
    blob: bytes = field(repr=False)
    signed: bool
    origin: Origin
    before: Proof | None = None


@implementer(ISessionLogin)
@frozen
class SessionLogin:
    name: str
    credentialsRevision: int
    origin: Origin
