"""The verb that tells what happened."""

from __future__ import annotations

import datetime
import json
import re
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import click
from attrs import define, field

from .client import Client, Failed
from .program import Program, jsonOption, passProgram, printJSON, printTable

AGAIN_SECONDS = 1.0
"""How long it takes until a stream that broke off is asked for anew."""

OVERLAP_SECONDS = 30.0
"""What nodes say late, or by clocks that differ, is not missed within this time."""

SILENT_SECONDS = 30.0
"""A stream says something every few seconds; one that is silent for so long is dead."""

MOST_SEEN = 20_000

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

    With --json and --follow, each is a JSON value in a line of its own. When the node that is asked is away, --follow
    goes on as soon as it is back, with what happened meanwhile. What cannot be told any more is said on standard error.

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
            await _follow(client, reactor, asked, found, limit, lambda news: _show(news, asJSON))

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


async def _since(client: Client, found: Sequence[Mapping[str, Any]]) -> float | None:
    """From when on the stream is asked for, so that nothing between it and what was found is missed."""
    if not found:
        # By the clocks of the nodes, which need not be that of this machine.
        found = (await client.ask("GET", "events", {"limit": 1}))["items"]
    return found[-1]["time"] - OVERLAP_SECONDS if found else None


async def _follow(client: Client, reactor: Any, asked: dict[str, Any], found: list[Any], limit: int, show: Any) -> None:
    """Tell what happens, over however many streams, until interrupted."""
    from twisted.internet.defer import Deferred
    from twisted.internet.task import deferLater

    seen: OrderedDict[tuple[str, int], None] = OrderedDict(((one["node"], one["id"]), None) for one in found)
    # What is older was left out, since only the newest so many were asked for.
    oldest = found[0]["time"] if len(found) >= limit else 0.0
    since = await _since(client, found)
    since = max((float(one) for one in (since, asked["since"]) if one is not None), default=None)
    query = {**asked, "since": None if since is None else f"{since:.6f}"}
    reader, wasFine = StreamReader(), True

    def take(data: bytes) -> None:
        nonlocal wasFine
        wasFine = True
        silent.reset(SILENT_SECONDS)
        for name, value in reader.feed(data):
            if name == "happened":
                key = (value["node"], value["id"])
                if key not in seen and value["time"] >= oldest:
                    seen[key] = None
                    show([value])
            elif name in SAID:
                click.echo(f"cftpctl: {SAID[name](value)}", err=True)
        while len(seen) > MOST_SEEN:
            seen.popitem(last=False)

    while True:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": reader.place} if reader.place else {})}
        reader.begin()
        listening = Deferred.fromCoroutine(client.listen("events", query, headers, take))
        silent = reactor.callLater(SILENT_SECONDS, listening.cancel)
        try:
            await listening
        except Failed as failed:
            if failed.status and failed.status != 503:
                raise
            if wasFine:
                failed.show()
            wasFine = False
        finally:
            if silent.active():
                silent.cancel()
        await deferLater(reactor, AGAIN_SECONDS, lambda: None)


@define(eq=False)
class StreamReader:
    """Reads server-sent events (HTML standard, section 9.2) whose data is JSON.

    :ivar place: where to go on after what was read.
    """

    place: str = field(default="", init=False)
    _rest: bytes = field(default=b"", init=False)
    _id: str = field(default="", init=False)
    _name: str = field(default="", init=False)
    _data: list[str] = field(factory=list, init=False)

    def begin(self) -> None:
        """Another stream begins; what was not whole of the one before is dropped."""
        self._rest, self._id, self._name, self._data = b"", "", "", []

    def feed(self, data: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
        """The events, by name, that are whole with this."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line:
                key, _, value = line.decode("utf-8", "replace").partition(":")
                self._take(key, value.removeprefix(" "))
                continue
            if self._data:
                yield self._name, json.loads("\n".join(self._data))
            self.place = self._id or self.place
            self._id, self._name, self._data = "", "", []

    def _take(self, key: str, value: str) -> None:
        if key == "id":
            self._id = value
        elif key == "event":
            self._name = value
        elif key == "data":
            self._data.append(value)


def _lost(said: Mapping[str, Any]) -> str:
    count = said["count"]
    what = f"{count} events of {said['node']} were" if count else f"some of what happened on {said['node']} was"
    return f"{what} not kept, and cannot be told"


def _answers(said: Mapping[str, Any]) -> str:
    return f"{said['node']} answers again" if said["answers"] else f"{said['node']} does not answer: {said['why']}"


SAID: Mapping[str, Callable[[Mapping[str, Any]], str]] = {"lost": _lost, "nodes": _answers}
"""What a stream tells beside what happens."""


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
    return (when, one["node"], one["kind"], who, one.get("address", ""), " ".join(_details(one)))


def _details(one: dict[str, Any]) -> Iterator[str]:
    if "path" in one:
        yield one["path"]
    for key, value in one.items():
        if key not in _FIRST and key != "author":
            yield f"{key}={value}"


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
