"""What the server says of itself: FEAT and OPTS (RFC 2389), SYST, HELP, NOOP (RFC 959, section 4.1.3), STAT of the
session, and CLNT, by which clients say what they are."""

from __future__ import annotations

from collections.abc import Sequence

from . import listings
from .replies import Reply
from .session import Command, Session


async def features(session: Session, argument: str) -> Reply:
    lines = []
    if session.options.tls != "off":
        lines += ["AUTH TLS", "PBSZ", "PROT"]
    facts = ";".join(f"{fact}*" if fact in session.facts else fact for fact in listings.FACTS)
    lines += ["CLNT", "EPRT", "EPSV", "MDTM", "MFMT", f"MLST {facts};", "REST STREAM", "SIZE", "TVFS", "UTF8"]
    return Reply.of(211, "Features:", *lines, "End")


async def options(session: Session, argument: str) -> Reply:
    name, _, value = argument.partition(" ")
    if name.upper() == "UTF8":
        if value.strip().upper() in {"", "ON"}:
            return Reply.of(200, "Names are always UTF-8")
        return Reply.of(504, "Names are always UTF-8")
    if name.upper() == "MLST":
        wanted = {fact.strip().lower() for fact in value.split(";")}
        session.facts = tuple(fact for fact in listings.FACTS if fact.lower() in wanted)
        return Reply.of(200, "MLST OPTS " + "".join(f"{fact};" for fact in session.facts))
    return Reply.of(501, "Options are those of UTF8 and MLST")


async def system(session: Session, argument: str) -> Reply:
    return Reply.of(215, "UNIX Type: L8")


async def noOperation(session: Session, argument: str) -> Reply:
    return Reply.of(200, "OK")


async def client(session: Session, argument: str) -> Reply:
    return Reply.of(200, "Noted")


async def help_(session: Session, argument: str) -> Reply:
    if argument:
        command = session.commands.get(argument.strip().upper())
        if command is None:
            return Reply.of(502, "There is no such command")
        return Reply.of(214, f"Syntax: {command.verb} {command.usage}".rstrip())
    verbs = sorted(session.commands)
    rows = [" ".join(f"{verb:<4}" for verb in verbs[start : start + 8]) for start in range(0, len(verbs), 8)]
    return Reply.of(214, "Commands:", *rows, "End")


def status(session: Session) -> Reply:
    """STAT without an argument."""
    protected = "protected" if session.private else "clear"
    lines = [
        f"Connected from {session.client}, " + ("with TLS" if session.control.secured else "without TLS"),
        f"Logged in as {session.account.name}" if session.account is not None else "Not logged in",
        f"TYPE: {'ASCII' if session.ascii else 'Image'}, STRU: File, MODE: Stream, data connections: {protected}",
    ]
    transfer = session.transfer
    if transfer is not None and transfer.connection is not None:
        moved = transfer.connection.received + transfer.connection.sent
        lines.append(f"{transfer.verb} {transfer.name}: {moved} bytes so far")
    elif transfer is not None:
        lines.append(f"{transfer.verb} {transfer.name}: waiting for the data connection")
    return Reply.of(211, "Status:", *lines, "End")


COMMANDS: Sequence[Command] = (
    Command("FEAT", features, beforeLogin=True),
    Command("OPTS", options, "<name> [<value>]", beforeLogin=True),
    Command("SYST", system, beforeLogin=True),
    Command("NOOP", noOperation, beforeLogin=True, aside=True),
    Command("CLNT", client, "<name>", beforeLogin=True),
    Command("HELP", help_, "[<command>]", beforeLogin=True),
)
