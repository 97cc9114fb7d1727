"""What the server says of itself: FEAT and OPTS (RFC 2389), SYST, HELP, NOOP (RFC 959, section 4.1.3), LANG (RFC 2640,
section 4), STAT of the session, AVBL (draft-peterson-streamlined-ftp-command-extensions), and CLNT, by which clients
say what they are."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import NotAFolder, Unsupported
from ...files.wrappers import ability
from ...interfaces import ISpaceReport
from ...vocabulary import Kind
from . import listings, sums
from .replies import Reply
from .session import Command, Session


async def features(session: Session, argument: str) -> Reply:
    lines = []
    if session.options.tls != "off":
        lines += ["AUTH SSL", "AUTH TLS", "PBSZ", "PROT"]
    facts = ";".join(f"{fact}*" if fact in session.facts else fact for fact in listings.FACTS)
    hashes = ";".join(f"{name}*" if name == session.hash else name for name in sums.HASHES)
    lines += ["AVBL", "CLNT", "EPRT", "EPSV", f"HASH {hashes}", "HOST", "LANG EN*", "MDTM", "MFF Modify;UNIX.mode;"]
    lines += ["MFMT", f"MLST {facts};", "REST STREAM", "SITE SYMLINK", "SIZE", "TVFS", "UTF8", *sums.VERBS]
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
        return Reply.of(200, f"MLST OPTS {''.join(f'{fact};' for fact in session.facts)}".rstrip())
    if name.upper() == "HASH":
        return _hashOption(session, value.strip().upper())
    return Reply.of(501, "Options are those of UTF8, MLST and HASH")


def _hashOption(session: Session, name: str) -> Reply:
    if name and name not in sums.HASHES:
        return Reply.of(501, f"There is {', '.join(sums.HASHES)}")
    session.hash = name or session.hash
    return Reply.of(200, session.hash)


async def language(session: Session, argument: str) -> Reply:
    if argument.strip().upper().partition("-")[0] in {"", "EN"}:
        return Reply.of(200, "Answers are in English")
    return Reply.of(504, "Answers are in English only")


async def available(session: Session, argument: str) -> Reply:
    path = session.path(argument)
    if (await session.files.stat(path)).kind is not Kind.folder:
        raise NotAFolder
    report = ability(ISpaceReport, session.files)
    if report is None:
        raise Unsupported
    space = await report.space(path)
    if space.freeBytes is None:
        return Reply.of(550, "There is no bound that is known")
    return Reply.of(213, str(space.freeBytes))


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
    Command("LANG", language, "[<language>]", beforeLogin=True),
    Command("AVBL", available, "[<path>]"),
    Command("HELP", help_, "[<command>]", beforeLogin=True),
)
