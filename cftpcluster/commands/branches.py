"""Verbs about branches: what only one node had when it took another history."""

from __future__ import annotations

import time
from typing import Any

import click

from .client import Client, escaped
from .program import Program, jsonOption, passProgram, printJSON, printTable

_nodeOption = click.option("--node", "name", metavar="NAME", help="The node that keeps it.  [default: the one asked]")


async def _path(client: Client, name: str | None, *parts: str) -> str:
    if name is None:
        name = (await client.ask("GET", "status"))["node"]
    return "/".join(("nodes", escaped(name), "branches", *map(escaped, parts)))


@click.command()
@_nodeOption
@jsonOption
@passProgram
def branches(program: Program, name: str | None, asJSON: bool) -> None:
    """List the branches that a node keeps: changes that only it had when it took another history.

    That happens to a primary that comes back after another node was promoted with --force.

    \b
    Example:
      cftpctl node branches --node node-a
    """

    async def work(client: Client) -> Any:
        return await client.ask("GET", await _path(client, name))

    answer = program.run(work)
    if asJSON:
        printJSON(answer["branches"])
        return
    rows = [
        (one["id"], str(one["changes"]), str(one["after"]), one["primary"], _day(one["kept"]))
        for one in answer["branches"]
    ]
    printTable(("ID", "CHANGES", "AFTER REVISION", "FOLLOWED", "KEPT"), rows)


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


@click.group("branch", no_args_is_help=True)
def branch() -> None:
    """Show a branch, make its changes anew, or discard it; see "node branches"."""


@branch.command("show")
@click.argument("id")
@_nodeOption
@jsonOption
@passProgram
def showBranch(program: Program, id: str, name: str | None, asJSON: bool) -> None:
    """Show who changed what on a branch, and what of it differs from the present configuration.

    \b
    Example:
      cftpctl node branch show 1-121-9f3c2ab1
    """

    async def work(client: Client) -> Any:
        return await client.ask("GET", await _path(client, name, id))

    answer = program.run(work)
    if asJSON:
        printJSON(answer)
        return
    click.echo(f"branch {answer['id']}, after revision {answer['after']}, left for {answer['primary']}")
    for one in answer["entries"]:
        click.echo(f"revision {one['revision']}, {_day(one['time'])}, {one['author']} on {one['node']}:")
        for text in one["changed"]:
            click.echo("    " + text.replace("\n", "\n    "))
    click.echo("against the present configuration:")
    for part in answer["parts"]:
        click.echo(f"    {part['name']}: {_STATES[part['state']]}")
        for text in part["details"]:
            click.echo("        " + text.replace("\n", "\n        "))


_STATES = {
    "open": "can be made anew",
    "conflict": "CONFLICT, it was changed since by others too",
    "same": "is so already",
    "kept": "is never made anew",
}


@branch.command("apply")
@click.argument("id")
@click.option(
    "--only", multiple=True, metavar="SECTION/NAME", help="Only this; may be repeated.  [default: everything]"
)
@click.option("--overwrite", is_flag=True, help="Also where others have changed the same thing since.")
@_nodeOption
@jsonOption
@passProgram
def applyBranch(
    program: Program, id: str, only: tuple[str, ...], overwrite: bool, name: str | None, asJSON: bool
) -> None:
    """Make the changes of a branch anew, as one revision.

    Refused as a whole where others have changed the same things since. The branch stays until it is discarded.

    \b
    Examples:
      cftpctl node branch apply 1-121-9f3c2ab1
      cftpctl node branch apply 1-121-9f3c2ab1 --only users/carol --only settings
    """

    async def work(client: Client) -> Any:
        body = {"only": list(only), "overwrite": overwrite}
        return await client.ask("POST", await _path(client, name, id, "apply"), None, body)

    answer = program.run(work)
    if asJSON:
        printJSON(answer)
    elif answer["changed"]:
        click.echo(f"made anew: {', '.join(answer['changed'])}, revision {answer['revision']}")
    else:
        click.echo(f"nothing to change, revision {answer['revision']}")


@branch.command("discard")
@click.argument("id")
@_nodeOption
@jsonOption
@passProgram
def discardBranch(program: Program, id: str, name: str | None, asJSON: bool) -> None:
    """Forget a branch for good.

    \b
    Example:
      cftpctl node branch discard 1-121-9f3c2ab1
    """

    async def work(client: Client) -> Any:
        return await client.ask("DELETE", await _path(client, name, id))

    answer = program.run(work)
    if asJSON:
        printJSON(answer)
    else:
        click.echo(f"branch {id} is discarded")
