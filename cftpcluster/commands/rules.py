"""Verbs about who is in, and who is kept out."""

from __future__ import annotations

import datetime
from typing import Any

import click

from .client import Client, escaped, everything
from .program import Program, jsonOption, passProgram, printJSON, printTable


@click.command()
@click.option("--user", metavar="NAME", help="Only those of this user.")
@click.option("--node", metavar="NAME", help="Only those on this node.")
@jsonOption
@passProgram
def sessions(program: Program, user: str | None, node: str | None, asJSON: bool) -> None:
    """List the live sessions of the whole cluster, oldest first.

    Requests over HTTPS with a name and a password are one session for each address, until a minute after the last; a
    log-in by a browser is one until it is ended, or was not used for long.

    \b
    Examples:
      cftpctl sessions
      cftpctl sessions --user alice
    """
    found = program.run(lambda client: everything(client, "sessions", {"user": user, "node": node}))
    if asJSON:
        printJSON(found)
        return
    headings = ("ID", "USER", "PROTOCOL", "ADDRESS", "NODE", "LISTENER", "SINCE", "SOFTWARE")
    printTable(headings, [_sessionRow(one) for one in found])


def _sessionRow(one: dict[str, Any]) -> tuple[str, ...]:
    since = datetime.datetime.fromtimestamp(one["since"]).astimezone().isoformat(" ", "seconds")
    words = [str(one[key]) for key in ("id", "user", "protocol", "address", "node", "listener")]
    return (*words, since, str(one["software"]))


@click.command()
@click.argument("id", required=False)
@click.option("--user", metavar="NAME", help="All sessions of this user, those that no node remembers among them.")
@jsonOption
@passProgram
def kick(program: Program, id: str | None, user: str | None, asJSON: bool) -> None:
    """End the session ID, on whichever node it is, or all sessions of a user.

    Its transfers are broken off, and can be continued. The user may log in again; disable it first where it should not.

    \b
    Examples:
      cftpctl kick 0123456789abcdef
      cftpctl kick --user alice
    """
    if (id is None) == (user is None):
        raise click.UsageError("give either an ID or --user")
    if id is not None:
        answer = program.run(lambda client: client.ask("DELETE", f"sessions/{escaped(id)}"))
    else:
        answer = program.run(lambda client: client.ask("DELETE", "sessions", {"user": user}))
    if asJSON:
        printJSON(answer)
    else:
        click.echo(f"session {id} ended" if id is not None else f"{answer['ended']} sessions of {user} ended")


@click.command("rotate-session-keys")
@click.option("--end-sessions", "endSessions", is_flag=True, help="Nobody's session goes on: all log in anew.")
@jsonOption
@passProgram
def rotateSessionKeys(program: Program, endSessions: bool, asJSON: bool) -> None:
    """Give the cluster a new key to sign web sessions with, of users and of administrators.

    Sessions go on: what the old key has signed is good for those that the nodes know of, and is signed anew when they
    are used. Whoever has the old key can make no session with it.

    \b
    Examples:
      cftpctl rotate-session-keys
      cftpctl rotate-session-keys --end-sessions
    """

    async def work(client: Client) -> Any:
        name = (await client.ask("GET", "status"))["node"]
        path = f"nodes/{escaped(name)}/rotateSessionKeys"
        return await client.ask("POST", path, None, {"endSessions": endSessions})

    answer = program.run(work)
    if asJSON:
        printJSON(answer)
    else:
        click.echo(f"web sessions are signed by a new key since revision {answer['revision']}")


@click.group(no_args_is_help=True)
def bans() -> None:
    """Show who may not connect to any node, and ban addresses or let them in again."""


@bans.command("list")
@jsonOption
@passProgram
def listBans(program: Program, asJSON: bool) -> None:
    """List the bans that hold.

    REFUSED is how many connections a ban has refused on the node that is asked.

    \b
    Example:
      cftpctl bans list
    """
    found = program.run(lambda client: everything(client, "bans", {}))
    if asJSON:
        printJSON(found)
        return
    rows = [
        (one["network"], f"{one['seconds']} s", str(one["refused"]), one["by"] or one["node"], one["reason"])
        for one in found
    ]
    printTable(("NETWORK", "FOR", "REFUSED", "BY", "REASON"), rows)


@bans.command()
@click.argument("network", metavar="ADDRESS|CIDR")
@click.option("--seconds", type=click.IntRange(1), metavar="S", help="For so long.  [default: settings.banSeconds]")
@click.option("--reason", default="", metavar="TEXT", help="Why, for whoever reads the list.")
@jsonOption
@passProgram
def add(program: Program, network: str, seconds: int | None, reason: str, asJSON: bool) -> None:
    """Ban an address (IPv6: its /64) or a network, on all nodes and all listeners for users and administrators.

    Sessions that stand go on; see kick.

    \b
    Examples:
      cftpctl bans add 203.0.113.7
      cftpctl bans add 203.0.113.0/24 --seconds 86400 --reason "password spray"
    """
    body: dict[str, Any] = {"network": network, "reason": reason}
    if seconds is not None:
        body["seconds"] = seconds
    answer = program.run(lambda client: client.ask("POST", "bans", None, body))
    if asJSON:
        printJSON(answer)
    else:
        click.echo(f"{answer['network']} banned for {answer['seconds']} s")


@bans.command()
@click.argument("network", metavar="ADDRESS|CIDR")
@jsonOption
@passProgram
def remove(program: Program, network: str, asJSON: bool) -> None:
    """Let an address or network in again, whichever node banned it, also one that is gone.

    \b
    Examples:
      cftpctl bans remove 203.0.113.7
    """
    answer = program.run(lambda client: client.ask("DELETE", f"bans/{escaped(network)}"))
    if asJSON:
        printJSON(answer)
    else:
        click.echo(f"{answer['network']} is not banned any more")
