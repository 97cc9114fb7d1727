"""What servers hand to the portal as proof of who a client is, and how a log-in is refused.

Secrets stay out of every repr. Nothing here knows who checks them.
"""

from __future__ import annotations

from attrs import field, frozen
from twisted.cred.error import UnauthorizedLogin
from zope.interface import implementer

from ..interfaces import IPasswordLogin, IPublicKeyLogin, ISessionLogin
from ..vocabulary import Origin

LONGEST_NAME_TOLD = 256
"""Characters of a refused name that are told to the observers."""


class LoginBusy(UnauthorizedLogin):
    """Too many log-ins are being checked: nothing was decided, and the client may try again later."""


class TurnedAway(LoginBusy):
    """A limit or a ban keeps the client out for now, whatever it would prove. The text may be told to it."""


@implementer(IPasswordLogin)
@frozen
class PasswordLogin:
    name: str
    password: bytes = field(repr=False)
    origin: Origin


@implementer(IPublicKeyLogin)
@frozen
class PublicKeyLogin:
    name: str
    blob: bytes = field(repr=False)
    signed: bool
    origin: Origin


@implementer(ISessionLogin)
@frozen
class SessionLogin:
    name: str
    credentialsRevision: int
    origin: Origin
