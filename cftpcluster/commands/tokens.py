"""Verbs about API tokens."""

from __future__ import annotations

import datetime
from typing import Any

import click

from .client import escaped, everything
from .program import Program, jsonOption, passProgram, printJSON, printTable, printWritten, waitOption


@click.group("token", no_args_is_help=True)
def token() -> None:
    """Make, list and remove API tokens, with which scripts ask in place of an administrator."""


@token.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(["read", "users", "full"]),
    multiple=True,
    default=["read"],
    show_default=True,
    help="What it is good for: looking, changing users and groups, or everything; may be repeated.",
)
@click.option("--expires", type=click.IntRange(1), metavar="S", help="Good for so many seconds.  [default: 90 days]")
@click.option("--admin", metavar="NAME", help="Whose it is.  [default: who asks, or the only full administrator]")
@waitOption
@jsonOption
@passProgram
def add(
    program: Program,
    name: str,
    scopes: tuple[str, ...],
    expires: int | None,
    admin: str | None,
    waitSeconds: float,
    asJSON: bool,
) -> None:
    """Make a token and print it, alone on a line; nobody can tell it again.

    It may do what its scopes say, and never more than the administrator whose it is. It is good until it expires or is
    removed, and no longer than that administrator has the same password and is enabled.

    \b
    Examples:
      cftpctl token add ci --scope users > token
      cftpctl --url https://node-a:8444 --token-file token --ca-file ca.pem user list
    """
    body: dict[str, Any] = {"name": name, "scopes": list(scopes)}
    if expires is not None:
        body["expiresSeconds"] = expires
    if admin is not None:
        body["admin"] = admin
    answer = program.run(lambda client: client.ask("POST", "tokens", {"wait": waitSeconds}, body))
    if asJSON:
        printJSON(answer)
    else:
        click.echo(answer["token"])


@token.command("list")
@click.option("--admin", metavar="NAME", help="Only those of this administrator.")
@jsonOption
@passProgram
def listTokens(program: Program, admin: str | None, asJSON: bool) -> None:
    """List the API tokens. USED is when a token was last used, to the hour.

    \b
    Example:
      cftpctl token list --admin admin
    """

    found = program.run(lambda client: everything(client, "tokens", {"admin": admin}))
    if asJSON:
        printJSON(found)
        return
    headings = ("ID", "NAME", "ADMIN", "SCOPES", "EXPIRES", "USED", "GOOD")
    printTable(headings, [_row(one) for one in found])


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    words = (one["id"], one["name"], one["admin"], ", ".join(one["scopes"]))
    return (*words, _time(one["expires"]), _time(one["lastUsed"]), "yes" if one["good"] else "no")


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    return datetime.datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "minutes")


@token.command()
@click.argument("id")
@waitOption
@jsonOption
@passProgram
def remove(program: Program, id: str, waitSeconds: float, asJSON: bool) -> None:
    """Remove the token ID; it is good nowhere from then on.

    \b
    Example:
      cftpctl token remove 3f0c5e1a9b7d2468
    """
    answer = program.run(lambda client: client.ask("DELETE", f"tokens/{escaped(id)}", {"wait": waitSeconds}))
    printWritten(answer, asJSON, f"token {id} removed")
