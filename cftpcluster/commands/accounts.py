"""Verbs about users and administrators: whatever takes more than keys and values."""

from __future__ import annotations

import sys
from typing import Any

import click

from .client import Client, Failed, escaped, firstLine
from .objects import BY_NOUN, Section, addObject, assigned, patchObject, readText, sectionGroup, withExample
from .program import Program, jsonOption, passProgram, printJSON, printTable, printWritten, waitOption

PERMISSIONS = ("list", "download", "upload", "overwrite", "delete", "rename", "mkdir", "attributes", "links")

_passwordOption = click.option(
    "--password-stdin", "passwordStdin", is_flag=True, help="Read the password from standard input, one line."
)
_keyOption = click.option(
    "--key", "keyFiles", multiple=True, metavar="FILE", help="SSH public keys, as in authorized_keys; may be repeated."
)


class MountType(click.ParamType[dict[str, Any]]):
    """``PATH=BACKEND:FOLDER[:permissions]``."""

    name = "PATH=BACKEND:FOLDER[:PERMISSIONS]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        path, equals, rest = value.partition("=")
        parts = rest.split(":")
        if not equals or not path.startswith("/") or len(parts) not in (2, 3) or not parts[0]:
            self.fail(f"{value!r} is not {self.name}", param, ctx)
        mount: dict[str, Any] = {"path": path, "backend": parts[0], "folder": parts[1]}
        if len(parts) == 3:
            mount["permissions"] = [each for each in parts[2].split(",") if each]
            for each in mount["permissions"]:
                if each not in PERMISSIONS:
                    self.fail(f"{each!r} is none of the permissions {', '.join(PERMISSIONS)}", param, ctx)
        return mount


def publicKeys(files: tuple[str, ...]) -> list[str]:
    """The keys in files like ``authorized_keys``."""
    keys = []
    for file in files:
        lines = [line.strip() for line in readText(file).splitlines()]
        found = [line for line in lines if line and not line.startswith("#")]
        if not found:
            raise Failed(f"there is no public key in {file}")
        keys += found
    return keys


def _password() -> str:
    if sys.stdin.isatty():
        # Somebody types it: it must not stay on the screen.
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    return firstLine("-").decode("utf-8", "surrogateescape")


# --- users


def userGroup() -> click.Group:
    section = BY_NOUN["user"]
    group = sectionGroup(section)
    group.add_command(addUser)
    group.add_command(setUser)
    group.add_command(_switchCommand(section, "enable", True))
    group.add_command(_switchCommand(section, "disable", False))
    group.add_command(usage)
    return group


@click.command("usage")
@click.argument("name")
@jsonOption
@passProgram
def usage(program: Program, name: str, asJSON: bool) -> None:
    """Show what a user holds: bytes and files in its own mounts, unfinished uploads among them, and its quota.

    It is what the node counts that is asked: what lies on storage of other nodes alone is not in it.

    \b
    Example:
      cftpctl user usage alice
    """
    found = program.run(lambda client: client.ask("GET", f"users/{escaped(name)}/usage"))
    if asJSON:
        printJSON(found)
        return
    rows = [(key, str(found[key]), str(found["quota"][key] or "none")) for key in ("bytes", "files")]
    printTable(("WHAT", "USED", "QUOTA"), rows)
    if not found["complete"]:
        click.echo("not counted yet: this is what came and went since the node was started", err=True)


@click.command("add")
@click.argument("name")
@_passwordOption
@_keyOption
@click.option("--group", "groups", multiple=True, metavar="G", help="A group it belongs to; may be repeated.")
@click.option("--mount", "mounts", multiple=True, type=MountType(), help="A folder of a backend; may be repeated.")
@click.option("--quota-bytes", "quotaBytes", type=click.IntRange(0), metavar="N", help="How much its mounts may hold.")
@waitOption
@jsonOption
@passProgram
def addUser(
    program: Program,
    name: str,
    passwordStdin: bool,
    keyFiles: tuple[str, ...],
    groups: tuple[str, ...],
    mounts: tuple[dict[str, Any], ...],
    quotaBytes: int | None,
    waitSeconds: float,
    asJSON: bool,
) -> None:
    """Add a user.

    Without --mount its tree is folder NAME of backend "files", at / and with all permissions but links, unless one of
    its groups mounts something at /.

    \b
    Examples:
      cftpctl user add alice --password-stdin < password.txt
      cftpctl user add bob --key bob.pub --group partners
      cftpctl user add bill --password-stdin --quota-bytes 10000000000 < password.txt
      cftpctl user add carol --mount /=share:carol --mount /in=share:in:list,upload
    """
    body: dict[str, Any] = {"name": name}
    if passwordStdin:
        body["password"] = _password()
    if keyFiles:
        body["publicKeys"] = publicKeys(keyFiles)
    if groups:
        body["groups"] = list(groups)
    if quotaBytes is not None:
        body["quota"] = {"bytes": quotaBytes}

    async def work(client: Client) -> Any:
        body["mounts"] = list(mounts) or await _home(client, name, groups)
        return await client.ask("POST", "users", {"wait": waitSeconds}, body)

    printWritten(program.run(work), asJSON, f"user {name} added")


async def _home(client: Client, name: str, groups: tuple[str, ...]) -> list[dict[str, Any]]:
    for group in groups:
        found = await client.ask("GET", f"groups/{escaped(group)}")
        if any(mount["path"] == "/" for mount in found["mounts"]):
            return []
    return [{"path": "/", "backend": "files", "folder": name}]


@click.command("set")
@click.argument("name")
@click.argument("assignments", nargs=-1, metavar="[KEY=VALUE]...")
@_passwordOption
@_keyOption
@click.option("--expires", metavar="TIME", help="Refuse log-ins from then on (2027-01-31T00:00:00Z); never: null.")
@click.option("--enable/--disable", "enabled", default=None, help="Let it log in, or not.")
@waitOption
@jsonOption
@passProgram
def setUser(
    program: Program,
    name: str,
    assignments: tuple[str, ...],
    passwordStdin: bool,
    keyFiles: tuple[str, ...],
    expires: str | None,
    enabled: bool | None,
    waitSeconds: float,
    asJSON: bool,
) -> None:
    """Change a user.

    --key replaces all its keys. VALUE is JSON, or text where it is not; null gives a key back its default.

    \b
    Examples:
      cftpctl user set alice --password-stdin < password.txt
      cftpctl user set alice --expires 2027-01-31T00:00:00Z
      cftpctl user set alice quota.files=1000 limits.downloadBytesPerSecond=5000000
      cftpctl user set alice 'protocols=["sftp"]' 'allow=["192.0.2.0/24"]'
      cftpctl user set alice 'authentication=[["publickey", "password"]]'
    """
    patch = assigned(assignments)
    given: dict[str, Any] = {}
    if passwordStdin:
        given["password"] = _password()
    if keyFiles:
        given["publicKeys"] = publicKeys(keyFiles)
    if expires is not None:
        given["expires"] = None if expires == "null" else expires
    if enabled is not None:
        given["enabled"] = enabled
    _patch(program, BY_NOUN["user"], name, patch, given, waitSeconds, asJSON)


def _patch(
    program: Program,
    section: Section,
    name: str,
    patch: dict[str, Any],
    given: dict[str, Any],
    waitSeconds: float,
    asJSON: bool,
) -> None:
    for key in patch.keys() & given.keys():
        raise click.UsageError(f"{key} is set twice")
    if not patch and not given:
        raise click.UsageError("say what is to be set")
    patchObject(program, section, name, {**patch, **given}, waitSeconds, asJSON)


def _switchCommand(section: Section, verb: str, enabled: bool) -> click.Command:
    plain = "Let one of the {} log in." if enabled else "Let one of the {} log in no more; sessions that stand end."

    @click.command(verb, help=withExample(section, plain.format(section.plural), verb))
    @click.argument("name")
    @waitOption
    @jsonOption
    @passProgram
    def switch(program: Program, name: str, waitSeconds: float, asJSON: bool) -> None:
        patchObject(program, section, name, {"enabled": enabled}, waitSeconds, asJSON)

    return switch


# --- administrators


def adminGroup() -> click.Group:
    section = BY_NOUN["admin"]
    group = sectionGroup(section)
    group.add_command(addAdmin)
    group.add_command(setAdmin)
    group.add_command(_switchCommand(section, "enable", True))
    group.add_command(_switchCommand(section, "disable", False))
    return group


_roleOption = click.Choice(["full", "users", "auditor"])


@click.command("add")
@click.argument("name")
@click.option("--role", type=_roleOption, default="auditor", show_default=True, help="What it may do.")
@_passwordOption
@waitOption
@jsonOption
@passProgram
def addAdmin(program: Program, name: str, role: str, passwordStdin: bool, waitSeconds: float, asJSON: bool) -> None:
    """Add an administrator.

    Role full may do everything, users may change users and groups, auditor may look only.

    \b
    Example:
      cftpctl admin add olivia --role users --password-stdin < password.txt
    """
    body: dict[str, Any] = {"name": name, "role": role}
    if passwordStdin:
        body["password"] = _password()
    addObject(program, BY_NOUN["admin"], body, waitSeconds, asJSON)


@click.command("set")
@click.argument("name")
@click.option("--role", type=_roleOption, help="What it may do.")
@_passwordOption
@click.option("--enable/--disable", "enabled", default=None, help="Let it log in, or not.")
@waitOption
@jsonOption
@passProgram
def setAdmin(
    program: Program,
    name: str,
    role: str | None,
    passwordStdin: bool,
    enabled: bool | None,
    waitSeconds: float,
    asJSON: bool,
) -> None:
    """Change an administrator.

    \b
    Example:
      cftpctl admin set admin --password-stdin < password.txt
    """
    given: dict[str, Any] = {}
    if role is not None:
        given["role"] = role
    if passwordStdin:
        given["password"] = _password()
    if enabled is not None:
        given["enabled"] = enabled
    _patch(program, BY_NOUN["admin"], name, {}, given, waitSeconds, asJSON)
