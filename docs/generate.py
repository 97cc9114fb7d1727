#!/usr/bin/env python3
"""Writes the reference, ``docs/reference/*.md``, from the code: options, the document, the command line, the HTTP APIs,
the modules. What is to be said about a thing stands where the thing is defined; here is only what has no such place.

``Undocumented`` is raised for whatever the code offers without a word about it.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import click
from fragments import HEADINGS, Undocumented, attributeRows, fenced, plain, summary, table

import cftpcluster
from cftpcluster.cli import cftpctl
from cftpcluster.components import Components
from cftpcluster.config._forms import SECTION_ORDER, keptOf
from cftpcluster.config.changes import Batch, apply
from cftpcluster.config.defaults import DEFAULT_LISTENERS, defaultChanges
from cftpcluster.config.document import SECTIONS, Component, Document, Mount, Settings
from cftpcluster.config.written import export, exportYaml
from cftpcluster.manager import Administration, ManagerServerFactory
from cftpcluster.manager._objects import COLLECTIONS
from cftpcluster.manager._routes import Routes
from cftpcluster.manager.access import AdministratorAccess
from cftpcluster.manager.api import administrationRoutes
from cftpcluster.peering import ClusterServerFactory
from cftpcluster.servers.health import HealthServerFactory
from cftpcluster.servers.web import webServerFactory
from cftpcluster.tap import Options
from cftpcluster.vocabulary import Permission

PACKAGE = Path(cftpcluster.__file__).parent
NOTICE = "% Written by docs/generate.py; changes belong into the code.\n\n"


# --- twistd's options


TWISTD = """\
Of twistd's own options, `-n` keeps the process in the foreground; without it the node runs as a daemon, with
`cftpcluster.pid` and `cftpcluster.log` in its state folder unless `--pidfile` and `--logfile` say otherwise.
`twistd --help` lists them all.

SIGTERM drains the node and ends it with exit code 0; a second SIGTERM, or SIGINT, ends it at once. What keeps a node
from starting is one line on standard error, with a non-zero exit code.
"""


def optionsPage() -> str:
    rows = []
    for name, _, _, text, *_ in Options.optParameters:
        said, _, default = plain(text).partition("[default:")
        rows.append((f"`--{name}`", said, default.rstrip("] ").strip() or "none"))
    for name, _, text, *_ in Options.optFlags:
        rows.append((f"`--{name}`", plain(text), "off"))
    return (
        "# Options of `twistd cftpcluster`\n\n"
        + plain(Options.longdesc)
        + "\n\n"
        + fenced("twistd [options of twistd] cftpcluster --role primary|secondary [options]")
        + table(("option", "meaning", "default"), rows)
        + TWISTD
    )


# --- the document


def kinds(section: str) -> list[tuple[str, str, type]]:
    """The built-in kinds of a section: kind, summary and class of options."""
    gathered = Components.gather().factories.get(section, {}).values()
    found = [each for each in gathered if type(each).__module__.startswith("cftpcluster.")]
    described: list[tuple[str, str, Any]] = [(each.kind, each.summary, each.configClass) for each in found]
    if section == "listeners":
        # Those that the node makes itself.
        for factory in (ClusterServerFactory, ManagerServerFactory, HealthServerFactory):
            fields = attrs.fields_dict(factory)
            kind, text, configClass = (fields[name].default for name in ("kind", "summary", "configClass"))
            described.append((str(kind), str(text), configClass))
    return sorted(described, key=lambda one: one[0])


def writtenNames(cls: type) -> list[str]:
    names = [name for name in attrs.fields_dict(cls) if name not in keptOf(cls) and name != "options"]
    return ["name", *(["kind"] if "kind" in names else []), *(each for each in names if each not in {"name", "kind"})]


def sectionText(section: str) -> str:
    cls = SECTIONS[section].valueClass
    rows = list(attributeRows(cls, writtenNames(cls)))
    if "passwordHash" in attrs.fields_dict(cls):
        text = "in the clear, instead of `passwordHash`; it is hashed at once, and never shown again"
        rows.insert(1, ("`password`", "text", "unchanged", text))
        rows = [(*row[:2], "unchanged", row[3]) if row[0] == "`passwordHash`" else row for row in rows]
    if "key" in attrs.fields_dict(cls):
        rows = [(*row[:2], "unchanged", row[3]) if row[0] == "`key`" else row for row in rows]
    parts = [f"## {section}\n\n", summary(cls), "\n\n", table(HEADINGS, rows)]
    if issubclass(cls, Component):
        for kind, text, options in kinds(section):
            parts.append(f"### {SECTIONS[section].noun} of kind {kind}\n\n{text[0].upper()}{text[1:]}.\n\n")
            own = list(attributeRows(options, attrs.fields_dict(options)))
            parts.append(table(HEADINGS, own) if own else "It has no options of its own.\n\n")
    return "".join(parts)


def permissionRows() -> list[tuple[str, str]]:
    texts = dict(re.findall(r"^``(\w+)``\n    (.+(?:\n    .+)*)", inspect.getdoc(Permission) or "", re.MULTILINE))
    if set(texts) != {each.value for each in Permission}:
        raise Undocumented("Permission: its docstring does not explain each")
    return [(f"`{each.value}`", plain(texts[each.value])) for each in Permission]


def defaultDocument() -> str:
    document = export(apply(Document(), Batch(defaultChanges())))
    shown = {key: document[key] for key in ("backends", "listeners", "checkers", "observers")}
    return exportYaml(shown)


DOCUMENT = """\
# The document

The configuration of the whole cluster is one document. It is written in YAML (1.2, core schema) or JSON, taken by
`cftpctl apply`, and printed by `cftpctl export`. Every section but `settings` is a list of objects with names. A name
has 1 to 64 letters, digits and `. _ @ -`, and starts with a letter or digit; upper and lower case differ.

An object that is applied replaces the one of that name whole; settings are merged by key. Unknown keys and wrong types
are refused, all together, each with its path.

## A new cluster

starts with an administrator `admin`, a TLS certificate `default` signed by itself, SSH host keys, no users, and

"""


def documentPage() -> str:
    settings = [name for name in attrs.fields_dict(Settings) if name not in {"revision", "extra"}]
    mount = [name for name in attrs.fields_dict(Mount) if name != "extra"]
    ports = [(f"`{each.name}`", f"`{each.kind}`", str(each.port)) for each in DEFAULT_LISTENERS]
    return (
        DOCUMENT
        + fenced(defaultDocument(), "yaml")
        + table(("listener", "kind", "port"), ports)
        + "## settings\n\n"
        + table(HEADINGS, attributeRows(Settings, settings))
        + "".join(map(sectionText, SECTION_ORDER))
        + "## Mounts\n\n"
        + summary(Mount)
        + " Users and groups have a list of them in `mounts`.\n\n"
        + table(HEADINGS, attributeRows(Mount, mount))
        + "## Permissions\n\n"
        + summary(Permission)
        + "\n\n"
        + table(("permission", "what it allows"), permissionRows())
    )


# --- the command line


def helpText(text: str) -> str:
    """click's help as Markdown: what it would not wrap is code, but for a line that ends with a colon."""
    parts = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if not paragraph.startswith("\b\n"):
            parts.append(plain(paragraph) + "\n\n")
            continue
        first, *lines = paragraph[2:].split("\n")
        if not first.endswith(":"):
            first, lines = "", [first, *lines]
        parts.append((f"{first}\n\n" if first else "") + fenced(inspect.cleandoc("\n".join(["", *lines])), "sh"))
    return "".join(parts)


def commandText(command: click.Command, path: str, level: int) -> str:
    context = click.Context(command, info_name=path)
    if not command.help:
        raise Undocumented(f"{path}: it has no help")
    usage = " ".join([path, *(piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]")])
    rows = []
    for parameter in command.params:
        if isinstance(parameter, click.Option) and "--json" not in parameter.opts:
            record = parameter.get_help_record(context)
            if record is None or not record[1].strip():
                raise Undocumented(f"{path} {parameter.opts[0]}: it has no help")
            rows.append((f"`{record[0]}`", plain(record[1])))
    parts = [f"{'#' * level} {path}\n\n"]
    if not isinstance(command, click.Group):
        parts.append(fenced(usage))
    parts.append(helpText(command.help))
    parts.append(table(("option", "meaning"), rows) if rows else "")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            parts.append(commandText(inner, f"{path} {name}", min(level + 1, 3)))
    return "".join(parts)


# --- HTTP


ROUTES: Mapping[str, str] = {
    "web POST /api/v1/login": "`{name, password}`: sets the session cookie, answers `{csrfToken}`",
    "web POST /api/v1/logout": "ends the session",
    "web GET /api/v1/session": "who is logged in, and what they may: `{name, csrfToken, id, mayChange, "
    "leastPasswordCharacters, uploadLimitBytes, quota}`; `id` is that of the session in the list of sessions",
    "web GET /api/v1/sessions": "one's own live sessions on all nodes, `{items}`, each `{id, protocol, address, node, "
    "software, since, seen, current}`",
    "web DELETE /api/v1/sessions": "ends all of one's own sessions on all nodes, this one too: `{ended}`",
    "web DELETE /api/v1/sessions/<key>": "ends one of one's own sessions, on whichever node it is",
    "web PUT /api/v1/password": "`{current, new}`: changes one's own password, and ends the sessions before, but for "
    "this one, whose cookie is set anew; 403 where `current` is wrong or `mayChange` does not say `password`",
    "web GET /api/v1/publickeys": "one's own SSH keys, `{items}`, each `{id, fingerprint, type, comment}`",
    "web POST /api/v1/publickeys": "`{key, password}`: adds a line as in a `.pub` file; the password is one's own",
    "web DELETE /api/v1/publickeys/<key>": "removes a key, and ends the sessions before, but for this one",
    "web GET /api/v1/files": "a file (`Range`, `If-None-Match`, `If-Range`, `Want-Repr-Digest`; `?inline=true`; "
    "`?op=checksum&algorithm=`), or a folder: `{entries, next}`, `?limit`, `?after`, `?sort`, `?foldersFirst`, "
    "`?search`; `?op=zip`, perhaps with `&name=`: as a ZIP archive",
    "web PUT /api/v1/files": "uploads a file (`If-Match`, `If-None-Match: *`): 201, or 204 where it replaced one",
    "web DELETE /api/v1/files": "removes a file or an empty folder; `?recursive=true`: a folder with all that is in it",
    "web POST /api/v1/uploads": "begins an upload that can be resumed (tus 1.0.0; `Upload-Length`, `Upload-Metadata`): "
    "201, its URL as `Location`",
    "web PATCH /api/v1/uploads": "goes on with it, from `Upload-Offset` on",
    "web DELETE /api/v1/uploads": "gives it up",
    "web POST /api/v1/files": "`?op=mkdir`; `?op=move` and `?op=copy` with `{to, overwrite}`",
}
"""What the routes of the files do: by API, method and path."""


def fileRoutes() -> list[tuple[str, str, str]]:
    """Method, path and meaning of each route of the files; pages for people are none."""
    found = []
    for rule in webApp().url_map.iter_rules():
        if not rule.rule.startswith("/api/"):
            continue
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            said = ROUTES.get(f"web {method} {rule.rule}")
            if not said:
                raise Undocumented(f"web {method} {rule.rule}: its route needs an entry in ROUTES here")
            rest = {"/files": "/PATH", "/uploads": "" if method == "POST" else "/TOKEN"}
            more = next((more for end, more in rest.items() if rule.rule.endswith(end)), "")
            found.append((method, rule.rule + more, said))
    return sorted(found, key=lambda one: (one[1], one[0]))


def administrationRows() -> list[tuple[str, str, str, str]]:
    """Method, path, least role and meaning of each route; those that all collections have are told once."""
    found = []
    for route in sorted(administrationTable().known, key=lambda one: (one.path, one.method)):
        path, text = route.path, route.text
        if path in {f"/{route.tag}", f"/{route.tag}/<name>"} and route.tag in COLLECTIONS:
            if route.tag != "users":
                continue
            path, text = path.replace("users", "COLLECTION"), text.replace("users", "objects").replace("user", "object")
        said = [f"`?{one.name}`" for one in route.query]
        role = "none" if route.role is None else route.role.value
        found.append((route.method, f"`/api/v1{path}`", role, text + (f" {', '.join(said)}" if said else "")))
    return found


def administrationTable() -> Routes:
    nothing: Any = None
    administration = Administration(**{each.name: nothing for each in attrs.fields(Administration)})
    access = AdministratorAccess(*(nothing for each in attrs.fields(AdministratorAccess) if each.init))
    return administrationRoutes(administration, access)


def webApp() -> Any:
    parts = [name for name in inspect.signature(webServerFactory.build).parameters if name != "config"]
    values: dict[str, Any] = dict.fromkeys(parts) | {"listener": DEFAULT_LISTENERS[3], "reactor": _Clock()}
    server: Any = webServerFactory.build(webServerFactory.configClass(), **values)
    return server.site.resource._routes._app


class _Clock:
    """As much of a reactor as a server that serves nothing needs."""

    def seconds(self) -> float:
        return 0.0


REST = """\
# HTTP APIs

Both speak JSON over HTTPS; errors are problem details (RFC 9457). How to log in, conditions and examples are in
[HTTP for scripts](../http.md).

## Administration, port 8444

The same API is served on the administration socket, `admin.sock` in the state folder, without a log-in.
"""


def restPage() -> str:
    collections = ", ".join(f"`{each}`" for each in COLLECTIONS)
    files = ((method, f"`{path}`", text) for method, path, text in fileRoutes())
    return (
        REST
        + f"`COLLECTION` is one of {collections}. A role is the least that may ask; objects of other collections than "
        "`users` and `groups` are written by role `full` alone.\n\n"
        + table(("method", "path", "role", "meaning"), administrationRows())
        + "## Files, port 8443\n\n"
        + table(("method", "path", "meaning"), files)
    )


# --- modules


def modules() -> list[tuple[str, str]]:
    """Every module of the package, with the first paragraph of its docstring."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join((PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        said = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n\n")[0]
        if not said:
            raise Undocumented(f"{name}: the module does not say its role")
        found.append((name, plain(said.removesuffix("::"))))
    return found


def modulesPage() -> str:
    rows = [(f"`{name}`", text) for name, text in modules()]
    return "# Modules\n\nThe role of each, in its own words.\n\n" + table(("module", "role"), rows)


# --- all of it


def pages() -> dict[str, str]:
    """Name to text."""
    commandLine = commandText(cftpctl, "cftpctl", 1).replace("## cftpctl ", "## ")
    return {
        "options": optionsPage(),
        "document": documentPage(),
        "cftpctl": commandLine,
        "rest": restPage(),
        "modules": modulesPage(),
    }


def main() -> None:
    folder = Path(__file__).resolve().parent / "reference"
    folder.mkdir(exist_ok=True)
    for name, text in pages().items():
        (folder / f"{name}.md").write_text(NOTICE + text, "utf-8")


if __name__ == "__main__":
    try:
        main()
    except Undocumented as missing:
        sys.exit(f"docs/generate.py: {missing}")
