"""The verb that tells what happened."""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click

from .client import Client, Failed
from .program import Program, jsonOption, passProgram, printJSON, printTable

FOLLOW_SECONDS = 1.0
OVERLAP_SECONDS = 30.0
"""What nodes say late, or by clocks that differ, is not missed within this time."""

_PAGE = 1000
_SPAN = re.compile(r"([0-9]+)([smhd])")
_SPAN_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_FIRST = ("id", "node", "time", "kind", "user", "address", "protocol", "path", "listener", "session", "software")


@click.command()
@click.option("--since", metavar="TIME", help="From then on: 15m, 2h, 7d, or a time as 2027-01-31T12:00:00Z.")
@click.option("--until", metavar="TIME", help="Before then, likewise.")
@click.option("--user", metavar="NAME", help="Only of this user.")
@click.option("--address", metavar="ADDRESS", help="Only from this address.")
@click.option("--kind", metavar="KIND[,KIND]...", help="Only of these kinds, such as LoginFailed.")
@click.option("--node", metavar="NAME", help="Only on this node.")
@click.option("--path", metavar="PATH", help="Only about this file or folder, and what is beneath it.")
@click.option("--text", metavar="TEXT", help="Only with this text in them.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="The newest so many.")
@click.option("--follow", is_flag=True, help="Go on with what happens, until interrupted.")
@jsonOption
@passProgram
def events(program: Program, /, limit: int, follow: bool, asJSON: bool, **asked: str | None) -> None:
    """Tell what happened on all nodes, the oldest first: log-ins, files, changes, nodes.

    With --json and --follow, each is a JSON value in a line of its own.

    \b
    Examples:
      cftpctl events --since 2h --user alice
      cftpctl events --kind LoginFailed,Banned --limit 1000
      cftpctl events --follow
    """
    asked["since"], asked["until"] = _moment(asked["since"], "--since"), _moment(asked["until"], "--until")

    async def run(client: Client, reactor: Any = None) -> None:
        found = await _newest(client, asked, limit)
        if asJSON and not follow:
            printJSON(found)
            return
        _show(found, asJSON)
        if follow:
            await _follow(client, reactor, asked, found, asJSON)

    if follow:
        program.runOn(run)
    else:
        program.run(run)


async def _newest(client: Client, asked: Mapping[str, Any], limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = None
    while len(found) < limit:
        query = {**asked, "limit": min(_PAGE, limit - len(found)), "after": after}
        page = await client.ask("GET", "events", query)
        if after is None:
            for one in page["unanswered"]:
                click.echo(f"cftpctl: {one['node']} did not answer: {one['why']}", err=True)
        found += page["items"]
        after = page["next"]
        if after is None:
            break
    return found[::-1]


async def _follow(
    client: Client, reactor: Any, asked: dict[str, Any], found: list[dict[str, Any]], asJSON: bool
) -> None:
    from twisted.internet.task import deferLater

    seen = {(one["node"], one["id"]) for one in found}
    newest = found[-1]["time"] if found else None
    while True:
        await deferLater(reactor, FOLLOW_SECONDS, lambda: None)
        since = asked["since"] if newest is None else f"{newest - OVERLAP_SECONDS:.6f}"
        try:
            page = await _newest(client, {**asked, "since": since}, _PAGE * 10)
        except Failed as failed:
            if failed.status:
                raise
            failed.show()
            continue
        news = [one for one in page if (one["node"], one["id"]) not in seen]
        _show(news, asJSON)
        newest = max([one["time"] for one in page], default=newest)
        seen = {(one["node"], one["id"]) for one in page}


def _show(found: list[dict[str, Any]], asJSON: bool) -> None:
    if asJSON:
        for one in found:
            printJSON(one)
    elif found:
        printTable(("TIME", "NODE", "EVENT", "USER", "ADDRESS", "DETAILS"), map(_row, found))
    sys.stdout.flush()


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    when = datetime.datetime.fromtimestamp(one["time"]).astimezone().isoformat(" ", "seconds")
    who = one.get("user", one.get("author", ""))
    return (when, one["node"], one["kind"], printable(who), one.get("address", ""), " ".join(_details(one)))


def _details(one: dict[str, Any]) -> Iterator[str]:
    if "path" in one:
        yield printable(one["path"])
    for key, value in one.items():
        if key not in _FIRST and key != "author":
            yield f"{key}={printable(value) if isinstance(value, str) else value}"


def printable(text: str) -> str:
    """No name of a user or file moves the cursor."""
    return text if text.isprintable() else repr(text)


def _moment(text: str | None, option: str) -> str | None:
    if text is None:
        return None
    span = _SPAN.fullmatch(text)
    now = datetime.datetime.now(datetime.UTC)
    try:
        if span:
            return f"{now.timestamp() - int(span[1]) * _SPAN_SECONDS[span[2]]:.6f}"
        return f"{datetime.datetime.fromisoformat(text).timestamp():.6f}"
    except (ValueError, OverflowError):
        raise click.UsageError(f"{option}: expected 15m, 2h, 7d, or a time as 2027-01-31T12:00:00Z") from None
