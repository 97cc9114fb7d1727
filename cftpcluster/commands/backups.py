"""Verbs that keep the configuration in a file, and bring it back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .client import Failed, firstLine
from .program import (
    Program,
    jsonOption,
    megabytes,
    passProgram,
    printJSON,
    printWritten,
    saysMoved,
    waitOption,
    working,
)

_passphraseOption = click.option(
    "--passphrase-file",
    "passphraseFile",
    required=True,
    metavar="P",
    help="File with the passphrase in its first line (- is standard input).",
)


@click.command()
@click.argument("file", type=click.Path(dir_okay=False))
@_passphraseOption
@click.option("--verify", is_flag=True, help="Make none, but prove all of FILE and say what it is; asks no node.")
@jsonOption
@passProgram
def backup(program: Program, file: str, passphraseFile: str, verify: bool, asJSON: bool) -> None:
    """Write the configuration and its keys to FILE, encrypted, readable by its owner alone.

    It holds no user's files. Whoever has it and the passphrase is as powerful as the node that made it.

    \b
    Examples:
      cftpctl backup /backup/cluster.cftp --passphrase-file passphrase
      cftpctl backup --verify /backup/cluster.cftp --passphrase-file passphrase
    """
    passphrase = firstLine(passphraseFile)
    if verify:
        _show(_opened(file, passphrase).describe(), asJSON)
        return
    body = {"passphrase": passphrase.decode("utf-8", "surrogateescape")}
    with working("making a backup", asJSON) as say:
        data = program.run(lambda client: client.fetch("POST", "backup", body, saysMoved(say, "making a backup")))
        say(f"writing {megabytes(len(data))}")
        _write(Path(file), data)
    if asJSON:
        printJSON({"file": file, "bytes": len(data)})
    else:
        click.echo(f"{file}: {len(data)} bytes")


def _write(path: Path, data: bytes) -> None:
    from ..state import writeDurably

    try:
        writeDurably(path.absolute(), data)
    except OSError as error:
        raise Failed(f"cannot write {path}: {error.strerror}") from None


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Failed(f"cannot read {path}: {error.strerror}") from None


def _opened(file: str, passphrase: bytes) -> Any:
    from ..backup import openBackup
    from ..errors import ClusterError

    data = _read(file)
    try:
        with working("proving the backup"):
            return openBackup(data, passphrase)
    except ClusterError as error:
        raise Failed(f"{file}: {error}") from None


def _show(description: dict[str, Any], asJSON: bool) -> None:
    if asJSON:
        printJSON(description)
        return
    for name, value in description.items():
        shown = ", ".join(f"{count} {section}" for section, count in value.items()) if name == "objects" else value
        click.echo(f"{name}: {shown}")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False))
@_passphraseOption
@click.option("--dry-run", "dryRun", is_flag=True, help="Say what would change, and change nothing.")
@click.option("--new", is_flag=True, help="Fill the empty state folder of a lost node, which must not run.")
@click.option("--state-dir", "stateDirectory", metavar="DIR", help="With --new: the state folder, as before the verb.")
@click.option(
    "--address", metavar="A", default="", help="With --new: where other nodes reach it.  [default: as it was]"
)
@click.option("--bind", metavar="A", default="", help="With --new: address to ask the other nodes from.")
@click.option("--force", is_flag=True, help="With --new: although a node is in that epoch already, or a later one.")
@waitOption
@jsonOption
@passProgram
def restore(
    program: Program,
    file: str,
    passphraseFile: str,
    dryRun: bool,
    new: bool,
    stateDirectory: str | None,
    address: str,
    bind: str,
    force: bool,
    waitSeconds: float,
    asJSON: bool,
) -> None:
    """Bring back what FILE holds.

    To a running cluster it is one change: settings, backends, groups, users, administrators, certificates, host keys
    and listeners are as they were, passwords too; nodes, join tokens and the cluster's own keys stay.

    With --new, on a machine in place of one that was lost, the state folder becomes that of the node that made the
    backup. It is the primary, in a higher epoch; the other nodes follow it.

    \b
    Examples:
      cftpctl restore /backup/cluster.cftp --passphrase-file passphrase --dry-run
      cftpctl restore --new /backup/cluster.cftp --passphrase-file passphrase --state-dir /var/lib/cftpcluster
    """
    if not new and (stateDirectory or address or bind or force):
        raise click.UsageError("--state-dir, --address, --bind and --force need --new")
    if new and (dryRun or program.where.url):
        raise click.UsageError("--new fills a folder of this machine: it takes neither --url nor --dry-run")
    passphrase = firstLine(passphraseFile)
    if new:
        folder = stateDirectory or str(program.where.socket.parent)
        _restoreNew(program, _opened(file, passphrase), folder, address, bind, force, asJSON)
        return
    line = json.dumps({"passphrase": passphrase.decode("utf-8", "surrogateescape")}).encode("ascii") + b"\n"
    body = line + _read(file)

    query = {"dryRun": dryRun, "wait": None if dryRun else waitSeconds}
    with working("restoring", asJSON) as say:
        moved = saysMoved(say, f"restoring {megabytes(len(body))}")
        answer = program.run(lambda client: client.ask("POST", "restore", query, body, moved))
    if asJSON:
        printJSON(answer)
        return
    for change in answer["changed"]:
        click.echo(change)
    if dryRun:
        click.echo(f"revision stays {answer['revision']}: {len(answer['changed'])} changes, none made")
    else:
        printWritten(answer, False, f"{file} restored")


def _restoreNew(program: Program, backup: Any, folder: str, address: str, bind: str, force: bool, asJSON: bool) -> None:
    from twisted.internet.threads import deferToThreadPool

    from .. import restoration
    from ..errors import ClusterError
    from ..state import StateDirectory

    state = StateDirectory(Path(folder).absolute())

    async def work(reactor: Any) -> Any:
        def inThread(call: Any, *arguments: Any) -> Any:
            return deferToThreadPool(reactor, reactor.getThreadPool(), call, *arguments)

        try:
            state.prepare()
            state.lock()
            await inThread(restoration.requireEmpty, state)
            survey = await restoration.ask(backup, reactor, inThread, bind)
            obstacles = survey.obstacles(backup)
            if obstacles and not force:
                raise Failed(f"{'; '.join(obstacles)}: what it has since would be lost to the cluster; --force")
            for warning in survey.newer(backup):
                click.echo(f"warning: {warning}", err=True)
            head = await restoration.restore(backup, survey.head(backup), address, state, reactor, inThread)
        except (ClusterError, OSError) as error:
            raise Failed(str(error)) from None
        finally:
            state.unlock()
        return {"node": backup.node, "epoch": head.epoch, "revision": head.revision, "answered": sorted(survey.answers)}

    with working("restoring", asJSON):
        answer = program.runAlone(work)
    if asJSON:
        printJSON(answer)
        return
    click.echo(
        f"node {answer['node']} restored as primary of epoch {answer['epoch']}, revision {answer['revision']}; "
        f"start it: twistd cftpcluster --role primary --existing --state-dir {folder}"
    )


__all__ = ["backup", "restore"]
