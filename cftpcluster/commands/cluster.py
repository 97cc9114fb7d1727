"""Verbs about the cluster as a whole: status, wait, apply, export."""

from __future__ import annotations

import time
from typing import Any

import click

from .client import Client, Failed
from .program import (
    Program,
    Say,
    jsonOption,
    megabytes,
    passProgram,
    printApplied,
    printJSON,
    printTable,
    printYAML,
    saysMoved,
    waitOption,
    working,
)

_ASKED_SECONDS = 10.0
"""How long one request waits; a longer wait is made of several."""

_SAID_SECONDS = 0.5
"""How long the first does: so soon it is said who is live."""


@click.command()
@jsonOption
@passProgram
def status(program: Program, asJSON: bool) -> None:
    """Show the cluster as this node sees it.

    \b
    Examples:
      cftpctl status
      cftpctl status --json
    """
    answer = program.run(lambda client: client.ask("GET", "status"))
    if asJSON:
        printJSON(answer)
        return
    click.echo(
        f"node {answer['node']} ({answer['role']}), primary {answer['primary'] or 'unknown'}, "
        f"epoch {answer['epoch']}, revision {answer['revision']}"
    )
    for warning in answer["warnings"]:
        click.secho(f"warning: {warning}", fg="yellow")
    headings = ("NODE", "ROLE", "STATE", "REVISION", "LAG", "VERSION", "ADDRESS", "PROBLEMS")
    printTable(headings, [_row(node) for node in answer["nodes"]])


def _row(node: dict[str, Any]) -> tuple[str, ...]:
    lag = node["lagSeconds"]
    lagText = "" if lag is None else f"{lag:.1f} s"
    texts = [str(node[key] if node[key] is not None else "") for key in ("name", "role", "state", "revision")]
    return (*texts, lagText, str(node["version"] or ""), str(node["address"] or ""), "; ".join(node["problems"]))


@click.command()
@click.option("--revision", type=click.IntRange(0), help="The revision to wait for.  [default: the current one]")
@click.option("--all", "allNodes", is_flag=True, help="Wait for every node, also for those that are not connected.")
@click.option(
    "--timeout", type=click.FloatRange(0), default=60, show_default=True, help="Give up after so many seconds."
)
@jsonOption
@passProgram
def wait(program: Program, revision: int | None, allNodes: bool, timeout: float, asJSON: bool) -> None:
    """Wait until the nodes are live with a revision, and name those with problems.

    Exits with 1 when some are not in time.

    \b
    Examples:
      cftpctl wait
      cftpctl wait --all --timeout 120
    """
    with working("waiting", asJSON) as say:
        answer = program.run(lambda client: _waited(client, revision, allNodes, timeout, say))
    problems = [f"{name}: {problem}" for name, found in sorted(answer["problems"].items()) for problem in found]
    if asJSON:
        printJSON(answer)
    else:
        click.echo(f"revision {answer['revision']} is live on {', '.join(answer['live']) or 'no node'}")
        for problem in problems:
            click.echo(problem)
    if answer["pending"]:
        raise Failed(f"revision {answer['revision']} is not live on {', '.join(answer['pending'])}")


async def _waited(client: Client, revision: int | None, allNodes: bool, timeout: float, say: Say) -> Any:
    end = time.monotonic() + timeout
    asked = _SAID_SECONDS
    while True:
        seconds = max(0.0, min(end - time.monotonic(), asked))
        query = {"revision": revision, "all": allNodes, "seconds": f"{seconds:.3f}"}
        answer = await client.ask("GET", "wait", query)
        # One revision from the first answer on, however many come while it is waited for.
        revision = answer["revision"]
        live, pending = answer["live"], answer["pending"]
        missing = f"; not yet on {', '.join(pending)}" if pending else ""
        say(f"revision {revision} is live on {len(live)} of {len(live) + len(pending)}{missing}")
        asked = min(asked * 2, _ASKED_SECONDS)
        if not pending or time.monotonic() >= end:
            return answer


@click.command()
@click.argument("file", type=click.Path(exists=False, dir_okay=False, allow_dash=True))
@click.option("--dry-run", "dryRun", is_flag=True, help="Say what would change, and change nothing.")
@click.option(
    "--prune",
    is_flag=True,
    help="Remove what is absent from the sections that FILE has, but never nodes, certificates, host keys or the last "
    "full administrator.",
)
@waitOption
@jsonOption
@passProgram
def apply(program: Program, file: str, dryRun: bool, prune: bool, waitSeconds: float, asJSON: bool) -> None:
    """Make the configuration agree with FILE (YAML or JSON; - is standard input).

    One revision, all or nothing; all errors are told together. An object that FILE names is replaced whole, but an
    absent password or private key stays as it is; settings are merged by key. What is so already is not changed.

    \b
    Examples:
      cftpctl apply cluster.yaml --dry-run
      cftpctl apply cluster.yaml --wait 30
      cftpctl export | cftpctl apply -
    """
    with working(f"reading {file}", asJSON) as say:
        try:
            with click.open_file(file, "rb") as stream:
                text = stream.read()
        except OSError as error:
            raise Failed(f"cannot read {file}: {error.strerror}") from None
        answer = program.run(lambda client: _applied(client, text, dryRun, prune, waitSeconds, say))
    if asJSON:
        printJSON(answer)
    else:
        printApplied(answer, dryRun)


async def _applied(client: Client, text: bytes, dryRun: bool, prune: bool, waitSeconds: float, say: Say) -> Any:
    query = {"dryRun": dryRun, "prune": prune}
    moved = saysMoved(say, f"checking {megabytes(len(text))}" + ("" if dryRun else ", and making it a revision"))
    answer = await client.ask("POST", "apply", query, text, moved)
    if dryRun or not answer["changed"] or not waitSeconds:
        return answer
    try:
        waited = await _waited(client, answer["revision"], False, waitSeconds, say)
    except Failed:
        # The change stands; only who has it cannot be told.
        return answer
    return {**answer, "live": waited["live"], "pending": waited["pending"]}


@click.command()
@click.option(
    "--relieve-primary",
    "relievePrimary",
    is_flag=True,
    help="The primary gets clients only while no other node is ready.",
)
@click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="ADDRESS",
    help="Where clients reach the balancer; may be said several times.  [default: every IPv4 address of its host]",
)
@click.option(
    "--source",
    default="",
    metavar="ADDRESS",
    help="The address that the balancer connects to nodes from.  [default: what its host chooses]",
)
@click.option("--manager", is_flag=True, help="Administrators reach the Manager through it, too.")
@jsonOption
@passProgram
def haproxy(
    program: Program, relievePrimary: bool, addresses: tuple[str, ...], source: str, manager: bool, asJSON: bool
) -> None:
    """Print a complete HAProxy configuration for the cluster as it is.

    What should be seen to before it serves well is said on standard error, and in the configuration.

    \b
    Examples:
      cftpctl haproxy > /etc/haproxy/haproxy.cfg
      cftpctl haproxy --address 192.0.2.10 --source 192.0.2.11 --relieve-primary
    """
    query = {
        "relievePrimary": relievePrimary,
        "manager": manager,
        "address": ",".join(addresses) or None,
        "source": source or None,
    }
    answer = program.run(lambda client: client.ask("GET", "haproxy", query))
    if asJSON:
        printJSON(answer)
        return
    click.echo(answer["configuration"], nl=False)
    for warning in answer["warnings"]:
        click.echo("warning: " + warning.replace("\n", "\n  "), err=True)


@click.command()
@click.option("--secrets", is_flag=True, help="Also private keys and the hashes of passwords. Keep the result safe.")
@jsonOption
@passProgram
def export(program: Program, secrets: bool, asJSON: bool) -> None:
    """Print the configuration, in the form that apply takes.

    As YAML, or with --json as JSON, which is much quicker where there are very many users.

    \b
    Examples:
      cftpctl export > cluster.yaml
      cftpctl export --secrets --json > everything.json
    """
    answer = program.run(lambda client: client.ask("GET", "export", {"secrets": secrets}))
    if asJSON:
        printJSON(answer)
    else:
        printYAML(answer)
