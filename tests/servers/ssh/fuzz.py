"""Tries hostile sessions that Hypothesis makes; ``python -m tests.servers.ssh.fuzz --count 100000`` tries that many.

The unit tests try some hundreds. A session that breaks something is made smaller, and told with the seed that repeats
it.
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from attrs import define, field
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from .fuzzpackets import tryConnection
from .fuzzsftp import trySession

SESSIONS = st.binary(min_size=100, max_size=1000)

FAMILIES: Mapping[str, tuple[Callable[[bytes], object], float]] = {
    "sftp": (trySession, 0.35),
    "stranger": (partial(tryConnection, "stranger"), 0.15),
    "keyed": (partial(tryConnection, "keyed"), 0.15),
    "user": (partial(tryConnection, "user"), 0.2),
    "program": (partial(tryConnection, "program"), 0.15),
}
"""By name: what tries a session, and which share of all it gets."""

CHUNK = 1000


@define(eq=False)
class Chunk:
    """Some sessions, which a seed repeats."""

    attempt: Callable[[bytes], object]
    limit: int
    tried: int = field(default=0, init=False)

    def once(self, data: bytes) -> None:
        self.tried += 1
        self.attempt(data)

    def run(self, number: int) -> None:
        usual = settings(
            max_examples=self.limit,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        )
        seed(number)(usual(given(SESSIONS)(self.once)))()


def run(count: int, first: int, names: Sequence[str], tell: Callable[[str], object]) -> None:
    """Try ``count`` sessions, with the seeds from ``first`` on."""
    for name in names:
        attempt, share = FAMILIES[name]
        wanted = round(count * share / sum(FAMILIES[each][1] for each in names))
        tried, number, begun = 0, first, time.monotonic()
        while tried < wanted:
            chunk = Chunk(attempt, min(CHUNK, wanted - tried))
            try:
                chunk.run(number)
            except BaseException:
                tell(f"{name}: failed with seed {number}")
                raise
            tried += chunk.tried
            gc.collect()
            number += 1
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        tell(f"{name}: {tried} sessions in {time.monotonic() - begun:.0f} s, {largest} MiB at most")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.servers.ssh.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="sessions, of all families together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(FAMILIES), action="append")
    wanted = parser.parse_args(arguments)
    run(wanted.count, wanted.seed, wanted.only or list(FAMILIES), lambda line: print(line, flush=True))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
