"""The verb about files that are being moved now."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from .client import Client, Failed
from .program import Program, jsonOption, passProgram, printJSON, printTable

LOOK_SECONDS = 2.0
MOST_SHOWN = 1000

_CLEAR = "\x1b[H\x1b[J"
_HEADINGS = ("SESSION", "USER", "NODE", "PROTOCOL", "ADDRESS", "DIRECTION", "BYTES", "OF", "PER SECOND", "PATH")


@click.command()
@click.option("--user", metavar="NAME", help="Only those of this user.")
@click.option("--node", metavar="NAME", help="Only those on this node.")
@click.option("--search", metavar="TEXT", help="Only with this text in the user's name, the path or the address.")
@click.option("--follow", is_flag=True, help="Look again every 2 s, until interrupted.")
@jsonOption
@passProgram
def transfers(program: Program, /, follow: bool, asJSON: bool, **asked: str | None) -> None:
    """List the transfers under way on all nodes, the oldest first.

    OF is how many bytes there will be in all, where that is known. A transfer is ended with its session, by kick. With
    --json and --follow, each look is a JSON value in a line of its own.

    \b
    Examples:
      cftpctl transfers
      cftpctl transfers --user alice --follow
    """

    async def run(client: Client) -> None:
        page = await client.ask("GET", "transfers", {**asked, "limit": MOST_SHOWN})
        _show(page, asJSON, follow and sys.stdout.isatty())

    async def runAgain(client: Client, reactor: Any) -> None:
        from twisted.internet.task import deferLater

        while True:
            try:
                await run(client)
            except Failed as failed:
                if failed.status:
                    raise
                failed.show()
            await deferLater(reactor, LOOK_SECONDS, lambda: None)

    if follow:
        program.runOn(runAgain)
    else:
        program.run(run)


def _show(page: Mapping[str, Any], asJSON: bool, inPlace: bool) -> None:
    if asJSON:
        printJSON(page["items"])
    else:
        if inPlace:
            click.echo(_CLEAR, nl=False)
        printTable(_HEADINGS, [_row(one) for one in page["items"]])
    for one in page["unanswered"]:
        click.echo(f"cftpctl: {one['node']} did not answer: {one['why']}", err=True)
    if page["next"] is not None:
        click.echo(f"cftpctl: {page['total']} in all; the first {len(page['items'])} are shown", err=True)
    sys.stdout.flush()


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    who = [str(one[key]) for key in ("session", "user", "node", "protocol", "address", "direction")]
    size = "" if one["size"] is None else str(one["size"])
    return (*who, str(one["bytes"]), size, str(one["bytesPerSecond"]), one["path"])
