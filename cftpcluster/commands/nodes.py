"""Verbs about the nodes of the cluster."""

from __future__ import annotations

import sys
from typing import Any

import click

from .client import Client, Failed, escaped
from .objects import Section, assigned, patchObject
from .program import (
    Program,
    Say,
    jsonOption,
    passProgram,
    printJSON,
    printTable,
    printWritten,
    printYAML,
    waitOption,
    working,
)

_NODES = Section("node", "nodes", (), "nodes", {})


@click.group("node", no_args_is_help=True)
def node() -> None:
    """Show the nodes of the cluster, let nodes in and put them out."""


@node.command()
@click.argument("name")
@click.option("--expires", type=click.FloatRange(1), metavar="S", help="Good for so many seconds.  [default: one day]")
@jsonOption
@passProgram
def token(program: Program, name: str, expires: float | None, asJSON: bool) -> None:
    """Print a token that lets one new node join, under the name NAME.

    \b
    Example:
      cftpctl node token node-b > token
      twistd -n cftpcluster --role secondary --name node-b --join-file token
    """
    body: dict[str, Any] = {"name": name}
    if expires is not None:
        body["expiresSeconds"] = expires
    answer = program.run(lambda client: client.ask("POST", "tokens/join", None, body))
    if asJSON:
        printJSON(answer)
    else:
        click.echo(answer["token"])


@node.command("list")
@jsonOption
@passProgram
def listNodes(program: Program, asJSON: bool) -> None:
    """List the nodes, with what each says of itself.

    \b
    Example:
      cftpctl node list
    """
    answer = program.run(lambda client: client.ask("GET", "status"))
    if asJSON:
        printJSON(answer["nodes"])
        return
    rows = [(one["name"], str(one["role"]), one["state"], str(one["address"] or "")) for one in answer["nodes"]]
    printTable(("NAME", "ROLE", "STATE", "ADDRESS"), rows)


@node.command()
@click.argument("name")
@jsonOption
@passProgram
def show(program: Program, name: str, asJSON: bool) -> None:
    """Show one node: what the configuration says of it, and what it says of itself.

    \b
    Example:
      cftpctl node show node-b --json
    """

    async def work(client: Client) -> Any:
        configured = await client.ask("GET", f"nodes/{escaped(name)}")
        status = await client.ask("GET", "status")
        return {**configured, "status": next((one for one in status["nodes"] if one["name"] == name), None)}

    found = program.run(work)
    if asJSON:
        printJSON(found)
    else:
        printYAML(found)


@node.command("set")
@click.argument("name")
@click.argument("assignments", nargs=-1, required=True, metavar="KEY=VALUE...")
@waitOption
@jsonOption
@passProgram
def setNode(program: Program, name: str, assignments: tuple[str, ...], waitSeconds: float, asJSON: bool) -> None:
    """Change a node's address, or what its listeners have different from others.

    \b
    Examples:
      cftpctl node set node-b address=192.0.2.2
      cftpctl node set node-b listeners.ftp.port=21 listeners.ftp.passivePorts=50000-50199
      cftpctl node set node-b listeners.ftp=null
    """
    patchObject(program, _NODES, name, assigned(assignments), waitSeconds, asJSON)


@node.command()
@click.argument("name")
@click.option(
    "--compromised",
    is_flag=True,
    help="Its keys are in wrong hands: replace the authority, all nodes' certificates and the host keys, too.",
)
@waitOption
@jsonOption
@passProgram
def remove(program: Program, name: str, compromised: bool, waitSeconds: float, asJSON: bool) -> None:
    """Put a node out of the cluster, at once.

    The other nodes get a new cluster key and new session keys, so that users of the web page log in again. With
    --compromised no join token is good any more, and what has to be replaced by hand is listed.

    \b
    Examples:
      cftpctl node remove node-c
      cftpctl node remove node-c --compromised
    """
    path, query = f"nodes/{escaped(name)}", {"wait": waitSeconds, "compromised": compromised}
    answer = program.run(lambda client: client.ask("DELETE", path, query))
    printWritten(answer, asJSON, f"node {name} removed")
    if not asJSON:
        for left in answer["left"]:
            click.echo(f"warning: {left} could not be given the new key; it has to join anew")
        for sentence in answer["byHand"]:
            click.echo(f"to replace: {sentence}")


_LOOK_SECONDS = 1
"""How long a node holds back its word how far a drain is."""


@node.command()
@click.argument("name")
@click.option(
    "--timeout",
    type=click.FloatRange(0, 86400),
    metavar="S",
    help="End what is left after so many seconds.  [default: the setting drainSeconds]",
)
@jsonOption
@passProgram
def drain(program: Program, name: str, timeout: float | None, asJSON: bool) -> None:
    """Take a node out of service without harm to its clients, and wait until nobody is left.

    It is not ready at once, so that balancers send nobody to it; after the setting drainGraceSeconds it refuses who
    comes all the same; transfers finish. It goes on following the configuration, until "node resume" or a restart takes
    it back. Works on the node itself without the primary. Exits with 1 where sessions had to be ended.

    \b
    Examples:
      cftpctl node drain node-b
      cftpctl node drain --timeout 3600 node-b
    """
    shown: list[int] = []

    async def work(client: Client) -> Any:
        body = {} if timeout is None else {"seconds": timeout}
        while True:
            answer = await client.ask("POST", f"nodes/{escaped(name)}/drain", None, body)
            if answer["over"] or answer["state"] != "draining":
                return answer
            if answer["sessions"] not in shown[-1:]:
                shown.append(answer["sessions"])
                click.echo(f"{name}: {answer['sessions']} connections left, {answer['seconds']:.0f} s", err=True)
            body = {"wait": _LOOK_SECONDS}

    answer = program.run(work)
    if asJSON:
        printJSON(answer)
    if answer["state"] != "draining":
        raise Failed(f"{name} was resumed meanwhile")
    if answer["ended"]:
        raise Failed(f"{name} is drained, but {answer['ended']} connections had to be ended")
    if not asJSON:
        click.echo(f"{name} is drained")


@node.command()
@click.argument("name")
@jsonOption
@passProgram
def resume(program: Program, name: str, asJSON: bool) -> None:
    """Have a node that was drained take clients again, and one that was paused follow the primary again.

    \b
    Example:
      cftpctl node resume node-b
    """
    answer = program.run(lambda client: client.ask("POST", f"nodes/{escaped(name)}/resume", None, {}))
    if asJSON:
        printJSON(answer)
    else:
        click.echo(f"{name} goes on")


@node.command()
@click.argument("name")
@jsonOption
@passProgram
def pause(program: Program, name: str, asJSON: bool) -> None:
    """Have a node stay at the configuration that it has, and serve that, until "node resume".

    It stays paused over a restart. Its state is "paused", and its lag grows.

    \b
    Example:
      cftpctl node pause node-b
    """
    answer = program.run(lambda client: client.ask("POST", f"nodes/{escaped(name)}/pause", None, {}))
    if asJSON:
        printJSON(answer)
    else:
        click.echo(f"{name} does not follow until it is resumed")


@node.command()
@click.argument("name")
@click.option("--dry-run", "dryRun", is_flag=True, help="Say what would change on the node, and change nothing.")
@jsonOption
@passProgram
def resync(program: Program, name: str, dryRun: bool, asJSON: bool) -> None:
    """Have a node take the whole configuration anew from the primary, and wait until it has.

    What only that node has is kept as a branch. Needed where a node refuses the primary because that has less; never to
    catch up, which nodes do by themselves.

    \b
    Examples:
      cftpctl node resync --dry-run node-b
      cftpctl node resync node-b
    """
    body = {"dryRun": dryRun}
    with working(f"asking {name}", asJSON) as say:
        if dryRun or not sys.stderr.isatty():
            answer = program.run(lambda client: client.ask("POST", f"nodes/{escaped(name)}/resync", None, body))
        else:
            answer = program.runOn(lambda client, reactor: _resynced(client, reactor, name, say))
    if asJSON:
        printJSON(answer)
        return
    if not dryRun:
        click.echo(f"{name} has taken everything anew, revision {answer['revision']}")
        return
    for line in answer["differences"]:
        click.echo(line)
    history = "one history" if answer["sameHistory"] else "another history or place in it"
    click.echo(f"{name} is at revision {answer['revision']}, the primary at {answer['primaryRevision']}: {history}")


async def _resynced(client: Client, reactor: Any, name: str, say: Say) -> Any:
    """Have it done, and say meanwhile how far the node is."""
    from twisted.internet.defer import Deferred
    from twisted.internet.task import deferLater

    asking = Deferred.fromCoroutine(client.ask("POST", f"nodes/{escaped(name)}/resync", None, {"dryRun": False}))
    while not asking.called:
        await deferLater(reactor, _LOOK_SECONDS / 2, lambda: None)
        try:
            status = await client.ask("GET", "status")
        except Failed:
            # What comes of the request itself is told.
            continue
        for one in status["nodes"]:
            if one["name"] == name:
                say(f"{name}: {one['state']}, revision {one['revision']} of {status['revision']}")
    return await asking


@node.command()
@click.argument("name")
@click.option(
    "--force", is_flag=True, help="Promote without the old primary; only on the node itself. Says what may be missing."
)
@jsonOption
@passProgram
def promote(program: Program, name: str, force: bool, asJSON: bool) -> None:
    """Make another node the primary.

    The old primary holds changes up for a moment, waits until NAME has everything, and hands over: nothing is lost, and
    nobody notices. Where that cannot be done it says why, and nothing is changed.

    When the old primary is gone, --force makes NAME the primary without it. NAME first takes what the nodes have that
    it can reach. An old primary that comes back follows; what only it had is kept there (see "node branches").

    \b
    Examples:
      cftpctl node promote node-b
      cftpctl --state-dir /var/lib/cftpcluster node promote node-b --force
    """
    body = {"force": force}
    with working(f"promoting {name}", asJSON):
        answer = program.run(lambda client: client.ask("POST", f"nodes/{escaped(name)}/promote", None, body))
    if asJSON:
        printJSON(answer)
        return
    if answer.get("already"):
        click.echo(f"{name} is primary already, epoch {answer['epoch']}")
        return
    click.echo(f"{name} is primary, epoch {answer['epoch']}, revision {answer['revision']}")
    for source in answer.get("caughtUpFrom", ()):
        click.echo(f"it took revisions {source['from']} to {source['to']} from {source['name']} first")
    for line in answer.get("mayBeMissing", ()):
        click.echo(f"note: {line}")
    if answer.get("acknowledged") is False:
        click.echo(f"note: {name} has not acknowledged it yet; see cftpctl status")
