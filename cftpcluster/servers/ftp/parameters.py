"""Transfer parameters: TYPE, MODE, STRU, PORT, PASV (RFC 959, section 4.1.2), EPRT and EPSV (RFC 2428), REST (RFC 3659,
section 5) and ALLO."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...networks import parseAddress
from .replies import Refusal, Reply
from .session import Command, Session

_ALLOCATION = re.compile(r"[0-9]{1,20}(?: R [0-9]{1,20})?", re.IGNORECASE)
_HOST_PORT = re.compile(r"([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3})")
_LOWEST_PORT = 1024
_LARGEST_FILE_BYTES = 2**63 - 1


async def type_(session: Session, argument: str) -> Reply:
    words = argument.upper().split()
    if words in (["A"], ["A", "N"]):
        session.ascii = True
        return Reply.of(200, "Type is ASCII")
    if words in (["I"], ["L", "8"], ["L8"]):
        session.ascii = False
        return Reply.of(200, "Type is Image")
    return Reply.of(504, "Types are A, A N, I and L 8")


async def mode(session: Session, argument: str) -> Reply:
    return Reply.of(200, "Mode is Stream") if argument.upper() == "S" else Reply.of(504, "The only mode is S")


async def structure(session: Session, argument: str) -> Reply:
    return Reply.of(200, "Structure is File") if argument.upper() == "F" else Reply.of(504, "The only structure is F")


async def restart(session: Session, argument: str) -> Reply:
    if not (argument.isascii() and argument.isdigit() and len(argument) <= 20):
        return Reply.of(501, "A number of bytes is expected")
    offset = int(argument)
    if offset > _LARGEST_FILE_BYTES:
        return Reply.of(501, "No file is that long")
    if offset and session.ascii:
        return Reply.of(504, "Transfers of TYPE A cannot be restarted")
    session.restart = offset
    return Reply.of(350, f"Restarting at {offset}")


async def allocate(session: Session, argument: str) -> Reply:
    if _ALLOCATION.fullmatch(argument):
        session.allocation = int(argument.split()[0])
        return Reply.of(202, "No space has to be allocated; what does not fit is refused with the upload")
    return Reply.of(501, "A number of bytes is expected")


# --- passive


async def passive(session: Session, argument: str) -> Reply:
    if session.extendedOnly:
        return Reply.of(503, "Only EPSV after EPSV ALL")
    told = session.options.passiveAddressFor(session.client) or session.data.local
    if session.data.isSixth or parseAddress(told).version == 6:
        return Reply.of(502, "PASV is for IPv4, say EPSV")
    port = session.data.listen()
    numbers = [*str(parseAddress(told)).split("."), str(port >> 8), str(port & 0xFF)]
    return Reply.of(227, f"Entering Passive Mode ({','.join(numbers)}).")


async def extendedPassive(session: Session, argument: str) -> Reply:
    family = argument.strip().upper()
    if family == "ALL":
        session.extendedOnly = True
        return Reply.of(200, "Only EPSV from now on")
    if family:
        _checkFamily(session, family)
    return Reply.of(229, f"Entering Extended Passive Mode (|||{session.data.listen()}|)")


def _family(session: Session) -> str:
    return "2" if session.data.isSixth else "1"


def _checkFamily(session: Session, family: str) -> None:
    """Data connections use the protocol of the control connection."""
    if not family.isascii() or not family.isdigit():
        raise Refusal(501, "A number of a network protocol is expected")
    if family != _family(session):
        raise Refusal(522, f"Network protocol not supported, use ({_family(session)})")


# --- active


async def port(session: Session, argument: str) -> Reply:
    if session.extendedOnly:
        return Reply.of(503, "Only EPSV after EPSV ALL")
    match = _HOST_PORT.fullmatch(argument.strip())
    numbers = [int(text) for text in match.groups()] if match else [256]
    if max(numbers) > 255:
        return Reply.of(501, "Expected h1,h2,h3,h4,p1,p2")
    host = ".".join(str(number) for number in numbers[:4])
    return _aim(session, host, numbers[4] << 8 | numbers[5])


async def extendedPort(session: Session, argument: str) -> Reply:
    if session.extendedOnly:
        return Reply.of(503, "Only EPSV after EPSV ALL")
    parts = argument.strip()[1:].split(argument.strip()[0]) if argument.strip() else []
    if len(parts) != 4 or parts[3]:
        return Reply.of(501, "Expected |protocol|address|port|")
    family, host, number, _ = parts
    _checkFamily(session, family)
    if not (number.isascii() and number.isdigit() and len(number) <= 5):
        return Reply.of(501, "A number of a port is expected")
    return _aim(session, host, int(number))


def _aim(session: Session, host: str, number: int) -> Reply:
    """Data goes nowhere but to the client (RFC 2577, section 3)."""
    try:
        isClient = parseAddress(host) == parseAddress(session.client)
    except ValueError:
        return Reply.of(501, "That is no address")
    if not isClient:
        return Reply.of(504, "Data connections lead to your own address only")
    if not _LOWEST_PORT <= number <= 65535:
        return Reply.of(504, f"Data connections lead to ports from {_LOWEST_PORT} to 65535")
    session.data.aim(number)
    return Reply.of(200, "OK")


COMMANDS: Sequence[Command] = (
    Command("TYPE", type_, "A|I|L 8"),
    Command("MODE", mode, "S"),
    Command("STRU", structure, "F"),
    Command("REST", restart, "<bytes>"),
    Command("ALLO", allocate, "<bytes>"),
    Command("PASV", passive),
    Command("EPSV", extendedPassive, "[1|2|ALL]"),
    Command("PORT", port, "<h1,h2,h3,h4,p1,p2>"),
    Command("EPRT", extendedPort, "<|protocol|address|port|>"),
)
