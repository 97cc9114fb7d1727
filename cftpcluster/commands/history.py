"""Verbs about the past: who changed what, how two revisions differ, and how to go back to one."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any

import click

from .client import Client
from .program import (
    Program,
    jsonOption,
    passProgram,
    printApplied,
    printDifference,
    printJSON,
    printTable,
    waitOption,
    working,
)

_PAGE = 500


@click.command()
@click.argument("revision", type=click.IntRange(1), required=False)
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="So many revisions at most.")
@click.option("--author", metavar="NAME", help="Only what this administrator did.")
@click.option("--object", "name", metavar="SECTION[/NAME]", help="Only what changed this, such as users/alice.")
@click.option("--since", metavar="TIME", help="Not before this time, such as 2027-01-31T00:00:00Z.")
@click.option("--until", metavar="TIME", help="Before this time.")
@jsonOption
@passProgram
def history(
    program: Program,
    revision: int | None,
    limit: int,
    author: str | None,
    name: str | None,
    since: str | None,
    until: str | None,
    asJSON: bool,
) -> None:
    """List who changed what, when and from where, the newest first; or show all that one REVISION changed.

    \b
    Examples:
      cftpctl history
      cftpctl history --object users/alice
      cftpctl history 17
    """
    if revision is not None:
        answer = program.run(lambda client: _pages(client, f"history/{revision}", {}))
        _printRevision(answer, asJSON)
        return
    query = {"author": author, "object": name, "since": since, "until": until}
    found = program.run(lambda client: _history(client, query, limit))
    if asJSON:
        printJSON(found)
        return
    headings = ("REVISION", "TIME", "AUTHOR", "FROM", "NODE", "CHANGED")
    printTable(headings, [_row(one) for one in found])


async def _history(client: Client, query: dict[str, Any], limit: int) -> list[Any]:
    found: list[Any] = []
    after = None
    while True:
        page = await client.ask("GET", "history", {**query, "limit": min(limit - len(found), _PAGE), "after": after})
        found += page["items"]
        after = page["next"]
        if after is None or len(found) >= limit:
            return found


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    return (str(one["revision"]), _time(one), one["author"], one["address"], one["node"], _changed(one))


def _time(one: dict[str, Any]) -> str:
    return datetime.datetime.fromtimestamp(one["time"]).astimezone().isoformat(" ", "seconds")


def _changed(one: dict[str, Any]) -> str:
    removed = one.get("removed", ())
    names = [f"{name} (removed)" if name in removed else name for name in one["objects"]]
    if one["promoted"]:
        names.insert(0, f"{one['promoted']} became primary")
    more = one["count"] - len(one["objects"])
    return ", ".join(names) + (f" and {more} more" if more else "")


async def _pages(client: Client, path: str, query: dict[str, Any]) -> Any:
    """An answer with all of its differences."""
    answer = await client.ask("GET", path, {**query, "limit": _PAGE})
    while answer["next"] is not None:
        # The present revision may go on meanwhile.
        query = {**query, "to": answer["to"]} if "to" in answer else query
        page = await client.ask("GET", path, {**query, "limit": _PAGE, "after": answer["next"]})
        answer["differences"] += page["differences"]
        answer["next"] = page["next"]
    return answer


def _printRevision(answer: Any, asJSON: bool) -> None:
    if asJSON:
        printJSON(answer)
        return
    click.echo(
        f"revision {answer['revision']}, {_time(answer)}, {answer['author']} from {answer['address']} "
        f"on {answer['node']}"
    )
    if answer["promoted"]:
        click.echo(f"{answer['promoted']} became primary, epoch {answer['epoch']}")
    _printDifferences(one["text"] for one in answer["differences"])


def _printDifferences(texts: Iterable[str]) -> None:
    for text in texts:
        printDifference(text)


@click.command()
@click.argument("a", metavar="A", type=click.IntRange(0))
@click.argument("b", metavar="[B]", type=click.IntRange(0), required=False)
@jsonOption
@passProgram
def diff(program: Program, a: int, b: int | None, asJSON: bool) -> None:
    """Show what differs between two revisions, A and B; without B, between A and the present.

    Passwords and keys are never shown, only that they changed.

    \b
    Examples:
      cftpctl diff 17 23
      cftpctl diff 17
    """
    with working("comparing", asJSON):
        answer = program.run(lambda client: _pages(client, "diff", {"from": a, "to": b}))
    if asJSON:
        printJSON(answer)
        return
    _printDifferences(one["text"] for one in answer["differences"])
    if not answer["differences"]:
        click.echo(f"nothing differs between revisions {answer['from']} and {answer['to']}")


@click.command()
@click.argument("revision", type=click.IntRange(0))
@click.option(
    "--only",
    multiple=True,
    metavar="SECTION[/NAME]",
    help="Only this, such as users/alice, users or settings; may be repeated.  [default: all that goes back]",
)
@click.option("--dry-run", "dryRun", is_flag=True, help="Say what would change, and change nothing.")
@waitOption
@jsonOption
@passProgram
def rollback(
    program: Program, revision: int, only: tuple[str, ...], dryRun: bool, waitSeconds: float, asJSON: bool
) -> None:
    """Make settings, backends, groups, listeners and users as they were at REVISION, as one new revision.

    Nodes, administrators, keys, certificates and tokens stay as they are, and so do users' passwords, public keys and
    "enabled: false": nothing that was taken away since is good again. A user that was removed since comes back without
    password and public keys.

    \b
    Examples:
      cftpctl rollback 17 --dry-run
      cftpctl rollback 17
      cftpctl rollback 17 --only users/alice
    """
    body = {"revision": revision, "only": list(only)}
    query = {"dryRun": dryRun, "wait": None if dryRun else waitSeconds}
    with working(f"going back to revision {revision}", asJSON):
        answer = program.run(lambda client: client.ask("POST", "rollback", query, body))
    if asJSON:
        printJSON(answer)
    else:
        printApplied(answer, dryRun)
