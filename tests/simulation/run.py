"""Runs schedules, finds out which fail, and cuts a failing one down to what it needs to fail."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from attrs import evolve
from twisted.logger import globalLogPublisher

from .plan import Plan, Step, makePlan
from .world import Outcome, World

Build = Callable[..., World]

CHUNK = 20
"""How many schedules a process runs before it tells."""


def runPlan(plan: Plan, build: Build = World, tracing: bool = False) -> Outcome:
    """One schedule from its beginning to its end."""
    with undisturbed():
        return build(plan, tracing=tracing).run()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Run without whatever else would take more time than the schedule itself, or would have it depend on chance.

    Coverage is not measured, since what is run here has tests of its own. Nobody else observes the log. What killed
    processes leave behind is collected afterwards: at its end it may still try to do things.
    """
    measuring, observers, collecting = sys.gettrace(), list(globalLogPublisher._observers), gc.isenabled()
    sys.settrace(None)
    gc.disable()
    for observer in observers:
        globalLogPublisher.removeObserver(observer)
    try:
        yield
    finally:
        # Coroutines that are closed by the first look are gone with the second.
        gc.collect(0)
        gc.collect(1)
        for observer in observers:
            globalLogPublisher.addObserver(observer)
        if collecting:
            gc.enable()
        sys.settrace(measuring)


def runSeeds(seeds: Iterable[int], build: Build = World, faults: Collection[str] = ()) -> Iterator[Outcome]:
    for seed in seeds:
        yield runPlan(makePlan(seed, faults), build)


def command(seed: int) -> str:
    """What replays a schedule."""
    return f"python -m tests.simulation --seed {seed} --trace"


def report(outcome: Outcome) -> str:
    """What is wrong with a schedule, and how it is seen again."""
    return f"seed {outcome.plan.seed}: {outcome.violations[0]}\n    {command(outcome.plan.seed)}"


def shrunk(plan: Plan, build: Build = World) -> Plan:
    """The plan with as few steps as still lead to a failure."""
    size = max(1, len(plan.steps) // 2)
    while True:
        index = 0
        while index < len(plan.steps):
            fewer = evolve(plan, steps=plan.steps[:index] + plan.steps[index + size :])
            if runPlan(fewer, build).violations:
                plan = fewer
            else:
                index += size
        if size == 1:
            return plan
        size //= 2


# --- the command line


def _chunk(seeds: range) -> tuple[int, float, list[str]]:
    outcomes = list(runSeeds(seeds))
    slowest = max(outcome.settledSeconds for outcome in outcomes)
    return len(outcomes), slowest, [report(outcome) for outcome in outcomes if outcome.violations]


def _many(first: int, count: int, jobs: int, say: Callable[[str], Any]) -> int:
    began, done, failed, slowest = time.monotonic(), 0, 0, 0.0
    chunks = [range(start, min(start + CHUNK, first + count)) for start in range(first, first + count, CHUNK)]
    with get_context("spawn").Pool(jobs) as pool:
        for number, seconds, failures in pool.imap_unordered(_chunk, chunks):
            done, slowest, failed = done + number, max(slowest, seconds), failed + len(failures)
            for failure in failures:
                say(failure)
            if done % 1000 < number:
                say(f"{done} schedules, {failed} failed, {time.monotonic() - began:.0f} s")
    say(
        f"{done} schedules from seed {first} on: {failed} failed; at most {slowest:.1f} s until all nodes were equal; "
        f"{time.monotonic() - began:.0f} s"
    )
    return 1 if failed else 0


def _one(seed: int, shrink: bool, trace: bool, say: Callable[[str], Any]) -> int:
    plan = makePlan(seed)
    if shrink and runPlan(plan).violations:
        plan = shrunk(plan)
    outcome = runPlan(plan, tracing=trace)
    say(_described(plan))
    for line in outcome.trace:
        say(line)
    if outcome.violations:
        say(report(outcome))
        return 1
    say(f"seed {seed}: all is well, {outcome.events} events, {outcome.acknowledged} changes acknowledged")
    return 0


def _described(plan: Plan) -> str:
    steps: tuple[Step, ...] = plan.steps
    kinds = ", ".join(sorted({step.kind for step in steps}))
    return (
        f"{plan.nodes} nodes, {plan.seconds:g} s, {len(steps)} steps ({kinds}); "
        f"synchronousFollowers {plan.synchronous}, historyRevisions {plan.history}, "
        f"{plan.latency * 1000:g} ms a packet, {'bytes' if plan.bytes else 'messages'}"
    )


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this schedule alone")
    parser.add_argument("--trace", action="store_true", help="tell what happens in it")
    parser.add_argument("--shrink", action="store_true", help="leave out what it does not need to fail")
    parser.add_argument("--first", type=int, default=0, help="the first seed of many")
    parser.add_argument("--count", type=int, default=500, help="how many seeds to run")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="in how many processes")
    options = parser.parse_args()

    def say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    if options.seed is not None:
        return _one(options.seed, options.shrink, options.trace, say)
    return _many(options.first, options.count, options.jobs, say)
