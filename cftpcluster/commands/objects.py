"""Verbs about the objects of the document: ``add``, ``list``, ``show``, ``set`` and ``remove`` of every section."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click
from attrs import frozen

from .client import Failed, escaped, everything
from .program import Program, jsonOption, passProgram, printJSON, printTable, printWritten, printYAML, waitOption

_SECRET_KEYS = {"password", "passwordHash", "key", "secret"}


@frozen
class Section:
    """One kind of objects.

    :ivar noun: the verb's word.
    :ivar collection: what URLs call it.
    :ivar columns: the keys that a list shows beside the name.
    :ivar example: words after ``NAME`` in the help of ``add`` and of ``set``.
    """

    noun: str
    collection: str
    columns: tuple[str, ...]
    plural: str
    examples: Mapping[str, str]


SECTIONS = (
    Section("user", "users", ("enabled", "groups", "expires"), "users", {}),
    Section(
        "group",
        "groups",
        ("mounts",),
        "groups",
        {
            "add": """partners 'mounts=[{"path": "/inbox", "backend": "files", "folder": "in"}]'""",
            "set": "partners mounts=[]",
        },
    ),
    Section(
        "backend",
        "backends",
        ("kind", "shared"),
        "storage backends",
        {"add": "share kind=local root=/mnt/share shared=true", "set": "share requireMarker=true"},
    ),
    Section(
        "listener",
        "listeners",
        ("kind", "port"),
        "listeners",
        {"add": "ftp2 kind=ftp port=2100 tls=required", "set": "sftp port=2022 'deny=[\"198.51.100.0/24\"]'"},
    ),
    Section("admin", "admins", ("role", "enabled"), "administrators", {}),
    Section("certificate", "certificates", (), "TLS certificates", {}),
    Section("hostkey", "hostkeys", (), "SSH host keys", {}),
    Section("checker", "checkers", ("kind",), "log-in checkers", {"add": "users kind=users", "set": "users KEY=VALUE"}),
    Section("observer", "observers", ("kind",), "observers of events", {"add": "log kind=log", "set": "log KEY=VALUE"}),
)

BY_NOUN = {section.noun: section for section in SECTIONS}

_SAMPLES = {"user": "alice", "group": "partners", "backend": "share", "listener": "sftp", "admin": "bob",
            "certificate": "default", "hostkey": "ed25519", "checker": "users", "observer": "log"}  # fmt: skip


def withExample(section: Section, text: str, verb: str) -> str:
    """A help text with an example."""
    words = verb if " " in verb else f"{verb} {_SAMPLES[section.noun]}"
    return f"{text}\n\n\b\nExample:\n  cftpctl {section.noun} {words}"


def sectionGroup(section: Section) -> click.Group:
    """The verbs that every section has."""
    group = click.Group(section.noun, help=f"Show and change {section.plural}.", no_args_is_help=True)
    group.add_command(_listCommand(section))
    group.add_command(_showCommand(section))
    group.add_command(_setCommand(section))
    group.add_command(_removeCommand(section))
    if section.examples:
        group.add_command(_addCommand(section))
    return group


# --- looking


def _listCommand(section: Section) -> click.Command:
    @click.command("list", help=withExample(section, f"List the {section.plural}.", "list --json"))
    @click.option("--search", default="", help="Only names with this text in them.")
    @jsonOption
    @passProgram
    def listObjects(program: Program, search: str, asJSON: bool) -> None:
        found = program.run(lambda client: everything(client, section.collection, {"search": search or None}))
        if asJSON:
            printJSON(found)
            return
        headings = ("NAME", *(column.upper() for column in section.columns))
        printTable(headings, [(one["name"], *(_cell(one.get(key)) for key in section.columns)) for one in found])

    return listObjects


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(one.get("path", one)) if isinstance(one, dict) else str(one) for one in value)
    return str(value)


def _showCommand(section: Section) -> click.Command:
    text = f"Show one of the {section.plural}; passwords and private keys never."

    @click.command("show", help=withExample(section, text, "show"))
    @click.argument("name")
    @jsonOption
    @passProgram
    def show(program: Program, name: str, asJSON: bool) -> None:
        found = program.run(lambda client: client.ask("GET", f"{section.collection}/{escaped(name)}"))
        if asJSON:
            printJSON(found)
        else:
            printYAML(found)

    return show


# --- changing


def _removeCommand(section: Section) -> click.Command:
    @click.command("remove", help=withExample(section, f"Remove one of the {section.plural}.", "remove"))
    @click.argument("name")
    @waitOption
    @jsonOption
    @passProgram
    def remove(program: Program, name: str, waitSeconds: float, asJSON: bool) -> None:
        path = f"{section.collection}/{escaped(name)}"
        answer = program.run(lambda client: client.ask("DELETE", path, {"wait": waitSeconds}))
        printWritten(answer, asJSON, f"{section.noun} {name} removed")

    return remove


_ASSIGNMENTS = """VALUE is JSON, or text where it is not; null gives a key back its default. KEY may lead into a
mapping (quota.bytes). KEY=@FILE takes the text of a file."""


def _addCommand(section: Section) -> click.Command:
    text = f"""Add to the {section.plural}.

    {_ASSIGNMENTS}

    \b
    Example:
      cftpctl {section.noun} add {section.examples["add"]}
    """

    @click.command("add", help=text)
    @click.argument("name")
    @click.argument("assignments", nargs=-1, metavar="[KEY=VALUE]...")
    @waitOption
    @jsonOption
    @passProgram
    def add(program: Program, name: str, assignments: tuple[str, ...], waitSeconds: float, asJSON: bool) -> None:
        body = {"name": name, **assigned(assignments)}
        addObject(program, section, body, waitSeconds, asJSON)

    return add


def addObject(program: Program, section: Section, body: Any, waitSeconds: float, asJSON: bool) -> None:
    """Create an object and tell."""
    query = {"wait": waitSeconds}
    answer = program.run(lambda client: client.ask("POST", section.collection, query, body))
    printWritten(answer, asJSON, f"{section.noun} {body['name']} added")


def _setCommand(section: Section) -> click.Command:
    example = section.examples.get("set")
    text = f"""Change one of the {section.plural}.

    {_ASSIGNMENTS}
    """ + (f"\n    \b\n    Example:\n      cftpctl {section.noun} set {example}\n    " if example else "")

    @click.command("set", help=text)
    @click.argument("name")
    @click.argument("assignments", nargs=-1, metavar="KEY=VALUE...", required=True)
    @waitOption
    @jsonOption
    @passProgram
    def setKeys(program: Program, name: str, assignments: tuple[str, ...], waitSeconds: float, asJSON: bool) -> None:
        patchObject(program, section, name, assigned(assignments), waitSeconds, asJSON)

    return setKeys


def patchObject(program: Program, section: Section, name: str, patch: Any, waitSeconds: float, asJSON: bool) -> None:
    """Change some keys of an object and tell."""
    path, query = f"{section.collection}/{escaped(name)}", {"wait": waitSeconds}
    answer = program.run(lambda client: client.ask("PATCH", path, query, patch))
    printWritten(answer, asJSON, f"{section.noun} {name} changed")


def assigned(assignments: tuple[str, ...]) -> dict[str, Any]:
    """What ``KEY=VALUE...`` says, as a merge patch."""
    patch: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not key or not equals:
            raise click.UsageError(f"{assignment!r} is not KEY=VALUE")
        place, *inner = key.split(".")
        target, last = patch, place
        for part in inner:
            target = target.setdefault(last, {})
            if not isinstance(target, dict):
                raise click.UsageError(f"{key}: {last} is set already")
            last = part
        if last in target:
            raise click.UsageError(f"{key} is set twice")
        target[last] = _assignedValue(last, text)
    return patch


def _assignedValue(key: str, text: str) -> Any:
    if text.startswith("@"):
        return readText(text[1:])
    if key in _SECRET_KEYS and text != "null":
        raise click.UsageError(f"{key}: what stands on the command line is no secret; use an option or {key}=@FILE")
    try:
        return json.loads(text)
    except ValueError:
        return text


def readText(path: str) -> str:
    """The text of a file, or of standard input for ``-``."""
    try:
        with click.open_file(path, "r", encoding="utf-8") as file:
            return str(file.read())
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is not UTF-8'}") from None
