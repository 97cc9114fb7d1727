"""What nodes say of what users hold, and how it stands in shared rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from ..vocabulary import Row, Usage
from .allowance import NOTHING


@frozen
class Said:
    """What one node said of one user.

    :ivar run: other than before where it began anew.
    :ivar added: what it added since.
    """

    run: str
    added: Usage

    def since(self, before: Said | None) -> Usage:
        return self.added.minus(before.added) if before is not None and before.run == self.run else self.added


@frozen
class Scan:
    """What was found on shared storage.

    :ivar time: when, seconds since the epoch.
    :ivar places: which storage that is.
    :ivar seen: what each node had said by then.
    """

    time: float
    places: str
    total: Usage
    seen: Mapping[str, Said]


def plainUsage(usage: Usage) -> dict[str, int]:
    return {"bytes": usage.bytes, "files": usage.files}


def plainScan(scan: Scan) -> dict[str, Any]:
    seen = {
        node: [said.run, said.added.bytes, said.added.files]
        for node, said in scan.seen.items()
        if said.added != NOTHING
    }
    return {"time": scan.time, "places": scan.places, **plainUsage(scan.total), "seen": seen}


def saidBy(row: Row) -> Said | None:
    """What a row says; ``None`` where a newer version says it otherwise."""
    try:
        return Said(_word(row.value["run"]), _usage(row.value["bytes"], row.value["files"]))
    except (KeyError, TypeError, ValueError):
        return None


def scanBy(row: Row) -> Scan | None:
    try:
        plain = row.value["scan"]
        seen = {
            node: Said(_word(run), _usage(size, number)) for node, (run, size, number) in dict(plain["seen"]).items()
        }
        return Scan(float(plain["time"]), _word(plain["places"]), _usage(plain["bytes"], plain["files"]), seen)
    except (KeyError, TypeError, ValueError):
        return None


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _usage(size: object, number: object) -> Usage:
    if type(size) is not int or type(number) is not int:
        raise TypeError
    return Usage(size, number)
