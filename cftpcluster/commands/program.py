"""What all verbs share: running something against a node, options that many have, and printing."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import click
from attrs import frozen

from .client import Client, Failed, Moved, Where

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


@frozen
class Program:
    """One call of ``cftpctl``; every verb gets it.

    :ivar where: the node that is asked.
    """

    where: Where

    def run(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """Ask the node, until ``work`` is done; once for each process."""
        return self.runOn(lambda client, reactor: work(client))

    def runOn(self, work: Callable[[Client, Any], Awaitable[T]]) -> T:
        """As :meth:`run`, for work that needs the reactor too."""
        from ._transport import exchangeWith

        return self.runAlone(lambda reactor: work(Client(exchangeWith(self.where, reactor)), reactor))

    def runAlone(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Run ``work`` with the reactor, until it is done; once for each process, and in place of :meth:`run`."""
        from twisted.internet.task import react
        from twisted.logger import globalLogBeginner

        results: list[T] = []
        failures: list[click.ClickException] = []

        async def main(reactor: Any) -> None:
            # A signal ends the reactor, and with it every connection: that is no failure of the node.
            reactor.addSystemEventTrigger("before", "shutdown", lambda: failures.append(Interrupted()))
            try:
                results.append(await work(reactor))
            except click.ClickException as failure:
                failures.append(failure)
            except Exception as error:  # noqa: BLE001 - a traceback is no answer to an operator
                failures.append(Failed(f"{type(error).__name__}: {error}"))

        # What goes wrong is told in one line; nothing else of it is for the operator's screen.
        globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)
        try:
            react(main)
        except SystemExit:
            # How react always ends.
            pass
        if results:
            return results[0]
        raise failures[0]


class Interrupted(click.ClickException):
    """The operator ended it."""

    exit_code = 130

    def __init__(self) -> None:
        super().__init__("interrupted")

    def show(self, file: Any = None) -> None:
        click.echo("cftpctl: interrupted", file=file, err=file is None)


passProgram = click.pass_obj
"""Gives a verb its :class:`Program`, or what a test has in its place."""


def jsonOption(function: F) -> F:
    """``--json``, which every verb has."""
    return click.option("--json", "asJSON", is_flag=True, help="Print one JSON value.")(function)


def waitOption(function: F) -> F:
    """``--wait``, which every verb has that changes something."""
    return click.option(
        "--wait",
        "waitSeconds",
        type=click.FloatRange(0, 300),
        metavar="S",
        default=2,
        show_default=True,
        help="Wait at most S seconds until every connected node is live.",
    )(function)


# --- printing


def printJSON(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False))


_WORDS = frozenset({"NAME", "NODE", "ROLE", "STATE", "REVISION", "LAG", "VERSION"})


_STYLES = {
    **{("STATE", word): "green" for word in ("primary", "following")},
    **{("STATE", word): "yellow" for word in ("catchingUp", "paused", "draining")},
    **{("STATE", word): "red" for word in ("disconnected", "refused", "unconfirmed")},
    **{(head, "no"): "red" for head in ("ENABLED", "GOOD")},
}
"""How cells look that say how something is, on a terminal that has colours."""


def printTable(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on a terminal; tab-separated lines for programs."""
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(map(visible, row)))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        # Where the terminal is narrow, sentences are broken before words.
        table.add_column(heading, overflow="fold", no_wrap=heading in _WORDS)
    for row in rows:
        cells = zip(headings, map(visible, row), strict=True)
        table.add_row(*(Text(cell, _STYLES.get((head, cell), "")) for head, cell in cells))
    Console().print(table)


def visible(text: str) -> str:
    """A name that a client gave, for one line: what terminals would obey, or that ends a line or a cell, is escaped."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


_COLOURS = {"added": "green", "changed": "yellow", "removed": "red"}


def printDifference(text: str) -> None:
    """One difference, coloured on a terminal by what became of the object."""
    colour = _COLOURS.get(text.partition(" ")[0])
    first, newline, rest = text.partition("\n")
    click.echo((click.style(first, fg=colour) if colour else first) + newline + rest)


def printYAML(value: Any) -> None:
    from ..config.written import exportYaml

    click.echo(exportYaml(value), nl=False)


def printApplied(answer: Any, dryRun: bool) -> None:
    """What a change of several objects came to, for people."""
    for text in answer["changed"]:
        printDifference(text)
    for sentence in answer.get("kept", ()):
        click.echo(f"kept: {sentence}")
    if not answer["changed"]:
        click.echo(f"nothing to change, revision {answer['revision']}")
    elif dryRun:
        click.echo("nothing was changed: a dry run")
    else:
        pending = f"; not yet live on {', '.join(answer['pending'])}" if answer["pending"] else ""
        click.echo(f"revision {answer['revision']}{pending}")


Say: TypeAlias = Callable[[str], None]
"""Tells the operator how far long work is."""


@contextmanager
def working(text: str, isQuiet: bool = False) -> Iterator[Say]:
    """Shows on a terminal that something takes its time, and how far it is.

    :param isQuiet: as for programs, which are shown nothing.
    """
    if isQuiet or not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(text, total=None)
        yield lambda text: progress.update(task, description=text)


def saysMoved(say: Say, then: str) -> Moved:
    """Says how much of a request has gone, ``then`` what the node does with all of it, and what comes back."""

    def moved(what: str, done: int, total: int) -> None:
        of = f" of {megabytes(total)}" if total else ""
        say(then if what == "sending" and done == total else f"{what} {megabytes(done)}{of}")

    return moved


def megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


def printWritten(answer: Any, asJSON: bool, text: str) -> None:
    """What a change came to: its answer, or a line for people."""
    if asJSON:
        printJSON(answer)
        return
    pending = answer.get("pending") or []
    waiting = f"; not yet live on {', '.join(pending)}" if pending else ""
    click.echo(f"{text}, revision {answer['revision']}{waiting}")


__all__ = [
    "Client",
    "Failed",
    "Program",
    "Say",
    "jsonOption",
    "passProgram",
    "printApplied",
    "printDifference",
    "printJSON",
    "printTable",
    "printWritten",
    "printYAML",
    "saysMoved",
    "waitOption",
    "working",
]
