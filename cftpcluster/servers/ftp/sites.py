"""SITE (RFC 959, section 4.1.3): CHMOD, UTIME, SYMLINK, HELP, and what plug-ins offer."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from attrs import frozen
from twisted.logger import Logger

from ...errors import Unsupported
from ...files.paths import parse
from ...files.wrappers import ability
from ...interfaces import ILinks, ISiteCommand
from ...vocabulary import Attributes
from .files import mode_, time_
from .replies import Reply
from .session import Command, Session

log = Logger()

_UTIME = re.compile(r"([0-9]{12,14}) (.+)", re.DOTALL)
_UTIME_AFTER = re.compile(r"(.+) ([0-9]{14}) ([0-9]{14}) [0-9]{14} UTC", re.DOTALL)
_VERB = re.compile(r"[A-Z0-9]{1,16}")


@frozen
class _Own:
    """One that is built in."""

    run: Callable[[Session, str], Awaitable[Reply]]
    usage: str


def gather(plugins: Iterable[ISiteCommand]) -> Mapping[str, ISiteCommand]:
    """What plug-ins offer, by verb. Built-in verbs stay what they are; of two of one verb the first found stays."""
    found: dict[str, ISiteCommand] = {}
    for plugin in plugins:
        if plugin.verb in _OWN or not _VERB.fullmatch(plugin.verb):
            log.warn("SITE cannot have the verb {verb!r} of {plugin!r}", verb=plugin.verb, plugin=plugin)
        elif found.setdefault(plugin.verb, plugin) is not plugin:
            log.warn("two plug-ins for SITE {verb}: not using {plugin!r}", verb=plugin.verb, plugin=plugin)
    return found


async def site(session: Session, argument: str) -> Reply:
    verb, _, rest = argument.strip(" ").partition(" ")
    verb = verb.upper()
    if own := _OWN.get(verb):
        return await own.run(session, rest)
    plugin = session.siteCommands.get(verb)
    if plugin is None:
        return Reply.of(504, "There is no such SITE command, say SITE HELP")
    account = session.account
    assert account is not None
    return Reply.of(200, await plugin.run(account, session.folder, rest))


async def _help(session: Session, argument: str) -> Reply:
    usages = {verb: own.usage for verb, own in _OWN.items()}
    usages |= {verb: plugin.usage for verb, plugin in session.siteCommands.items()}
    lines = [f"SITE {verb} {usage}".rstrip() for verb, usage in sorted(usages.items())]
    return Reply.of(214, "SITE commands:", *lines, "End")


async def _changeMode(session: Session, argument: str) -> Reply:
    mode, _, name = argument.partition(" ")
    if not name:
        return Reply.of(501, "Expected a mode such as 640 and a path")
    await session.files.setAttributes(session.path(name), Attributes(mode=mode_(mode)))
    return Reply.of(200, "Mode changed")


async def _changeTimes(session: Session, argument: str) -> Reply:
    """``time path``, or what some clients send: ``path access modification creation UTC``."""
    if match := _UTIME_AFTER.fullmatch(argument):
        name, attributes = match[1], Attributes(accessed=time_(match[2]), modified=time_(match[3]))
    elif match := _UTIME.fullmatch(argument):
        name, attributes = match[2], Attributes(modified=time_(match[1].ljust(14, "0")))
    else:
        return Reply.of(501, "Expected YYYYMMDDHHMMSS and a path")
    await session.files.setAttributes(session.path(name), attributes)
    return Reply.of(200, "Times changed")


_QUOTED = re.compile(r'"((?:[^"]|"")+)" +"((?:[^"]|"")+)"', re.DOTALL)


async def _makeLink(session: Session, argument: str) -> Reply:
    """``target path``; names with spaces stand in quotes, both of them."""
    if match := _QUOTED.fullmatch(argument):
        target, name = (text.replace('""', '"') for text in match.groups())
    else:
        target, _, name = argument.partition(" ")
    if not target or not name or (" " in name and match is None):
        return Reply.of(501, 'Expected a target and a path; say "target" "path" where they hold spaces')
    links = ability(ILinks, session.files)
    if links is None:
        raise Unsupported
    await links.makeSymbolicLink(parse(name, session.folder), target)
    return Reply.of(200, "Link made")


_OWN: Mapping[str, _Own] = {
    "CHMOD": _Own(_changeMode, "<mode> <path>"),
    "HELP": _Own(_help, ""),
    "SYMLINK": _Own(_makeLink, "<target> <path>"),
    "UTIME": _Own(_changeTimes, "<time> <path>"),
}

COMMANDS: Sequence[Command] = (Command("SITE", site, "<command> [<argument>]"),)
