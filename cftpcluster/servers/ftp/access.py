"""Who is there, and over what: USER, PASS, ACCT, REIN, QUIT (RFC 959, section 4.1.1), HOST (RFC 7151) and AUTH, PBSZ,
PROT, CCC (RFC 4217).

::

    C: AUTH TLS      S: 234   (handshake)
    C: USER alice    S: 331
    C: PASS ...      S: 230
    C: PBSZ 0        S: 200
    C: PROT P        S: 200
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from twisted.cred.error import UnauthorizedLogin

from ...auth.credentials import CertificateLogin, LoginBusy, MoreNeeded, PasswordLogin, TurnedAway
from ...auth.steps import Proof
from ...files import paths
from ...interfaces import IAccount
from ...vocabulary import Origin
from .replies import TLS_FIRST, Refusal, Reply
from .session import Command, Session

ATTEMPTS = 6
"""Log-ins that may fail on one connection."""


async def user(session: Session, argument: str) -> Reply:
    if session.options.tls == "required" and not session.control.secured:
        return TLS_FIRST
    if session.account is not None:
        await session.leave()
    session.name, session.proof = argument, None
    mode = session.options.clientCertificates
    if mode == "off":
        return Reply.of(331, "Password required")
    names = tuple(session.control.clientNames())
    if argument in names:
        login = CertificateLogin(argument, names, _origin(session), Proof())
        try:
            return await _login(session, login, 232)
        except MoreNeeded as more:
            session.name, session.proof = argument, more.proof
            return Reply.of(331, "The certificate is accepted, password required")
        except UnauthorizedLogin:
            session.name = argument
    elif mode == "required":
        session.name = None
        return Reply.of(530, "A certificate for this user is needed")
    return Reply.of(331, "Password required")


async def password(session: Session, argument: str) -> Reply:
    if session.options.tls == "required" and not session.control.secured:
        return TLS_FIRST
    if session.account is not None:
        return Reply.of(503, "Already logged in")
    if session.name is None:
        return Reply.of(503, "Say USER first")
    login = PasswordLogin(session.name, paths.encode(argument), _origin(session), before=session.proof)
    try:
        return await _login(session, login, 230)
    except (UnauthorizedLogin, MoreNeeded):
        return _refused(session)


def _origin(session: Session) -> Origin:
    return Origin("ftp", session.client, session.listener, session.id)


async def _login(session: Session, login: Any, code: int) -> Reply:
    """:raises UnauthorizedLogin: where it proves nothing; ``MoreNeeded`` where a password has to follow."""
    session.name = session.proof = None
    try:
        _, account, logout = await session.portal.login(login, login.origin, IAccount)
    except TurnedAway as refusal:
        session.control.endAfterReply()
        return Reply.of(421, str(refusal).capitalize())
    except LoginBusy:
        session.control.endAfterReply()
        return Reply.of(421, "Too many log-ins at once, try again later")
    session.login(account, logout)
    _ = account.whenEnded().addCallback(session.control.sessionEnded)
    return Reply.of(code, "Logged in")


def _refused(session: Session) -> Reply:
    session.failures += 1
    if session.failures < ATTEMPTS:
        return Reply.of(530, "Login incorrect")
    session.control.endAfterReply()
    return Reply.of(421, "Too many failed log-ins")


async def account(session: Session, argument: str) -> Reply:
    return Reply.of(202, "No account is needed")


async def reinitialize(session: Session, argument: str) -> Reply:
    """As after connecting. TLS stays: a connection that leaves it could be told anything by somebody between."""
    await session.leave()
    session.reset()
    return Reply.of(220, "Service ready for a new user")


_HOST = re.compile(r"(?=.{1,253}\Z)(?:[\w-]{1,63}\.)*[\w-]{1,63}\.?|\[[0-9A-Fa-f:.]{2,45}\]|[0-9.]{7,15}")


async def host(session: Session, argument: str) -> Reply:
    """Every name is the same server, with the same users."""
    if session.name is not None or session.account is not None:
        return Reply.of(503, "HOST comes before USER")
    if not _HOST.fullmatch(argument):
        return Reply.of(501, "Expected a host name, or an address in brackets")
    return Reply.of(220, "Users are the same on every host")


async def quit_(session: Session, argument: str) -> Reply:
    session.control.endAfterReply()
    return Reply.of(221, "Goodbye")


# --- TLS


def _needTLS(session: Session) -> None:
    if session.options.tls == "off":
        raise Refusal(502, "TLS is not offered here")
    if not session.control.secured:
        raise Refusal(503, "Say AUTH TLS first")


async def auth(session: Session, argument: str) -> Reply:
    if session.options.tls == "off":
        return Reply.of(502, "TLS is not offered here")
    if argument.strip().upper() not in {"TLS", "TLS-C", "SSL"}:
        return Reply.of(504, "Only AUTH TLS is understood")
    if session.control.secured:
        return Reply.of(503, "This connection speaks TLS already")
    # Whoever logged in did so in the clear, and has to do it again (RFC 2228, section 3).
    await session.leave()
    session.control.secureAfterReply()
    return Reply.of(234, "Start the handshake")


async def protectionBuffer(session: Session, argument: str) -> Reply:
    _needTLS(session)
    if not (argument.isascii() and argument.isdigit() and len(argument) <= 10):
        return Reply.of(501, "A number is expected")
    session.sized = True
    return Reply.of(200, "PBSZ=0")


async def protection(session: Session, argument: str) -> Reply:
    _needTLS(session)
    if not session.sized:
        return Reply.of(503, "Say PBSZ 0 first")
    level = argument.upper()
    if level in {"S", "E"}:
        return Reply.of(536, "TLS protects both integrity and privacy: say PROT P")
    if level not in {"C", "P"}:
        return Reply.of(504, "Levels are C and P")
    if level == "C" and session.options.tls == "required":
        return Reply.of(534, "Data connections must be protected")
    # A connection that was made under the other level must not carry the data of this one.
    session.data.close()
    session.private = level == "P"
    return Reply.of(200, f"Protection is {level}")


async def clearCommandChannel(session: Session, argument: str) -> Reply:
    _needTLS(session)
    return Reply.of(534, "The control connection stays protected")


COMMANDS: Sequence[Command] = (
    Command("USER", user, "<name>", beforeLogin=True),
    Command("PASS", password, "[<password>]", beforeLogin=True),
    Command("ACCT", account, "<account>", beforeLogin=True),
    Command("REIN", reinitialize, beforeLogin=True),
    Command("HOST", host, "<name>", beforeLogin=True),
    Command("QUIT", quit_, beforeLogin=True),
    Command("AUTH", auth, "TLS", beforeLogin=True),
    Command("PBSZ", protectionBuffer, "0", beforeLogin=True),
    Command("PROT", protection, "C|P", beforeLogin=True),
    Command("CCC", clearCommandChannel, beforeLogin=True),
)
