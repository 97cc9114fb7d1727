"""What is to happen in a schedule, made from its seed alone: plans are data, and can be cut down and replayed."""

from __future__ import annotations

from collections.abc import Collection
from random import Random

from attrs import frozen

WRITES = {"put": 6.0, "increment": 4.0, "again": 0.7, "row": 2.0}

FAULTS = {
    "cut": 3.0,
    "isolate": 1.5,
    "partition": 1.5,
    "oneWay": 1.5,
    "slowPath": 1.0,
    "slowDisk": 1.0,
    "kill": 2.0,
    "power": 1.0,
    "stop": 1.0,
    "diskFull": 0.5,
    "diskFails": 0.4,
    "clockJumps": 0.7,
    "compact": 1.5,
    "pause": 0.7,
    "resync": 0.3,
    "synchronous": 0.7,
    "remove": 0.3,
    "promote": 1.5,
    "force": 1.5,
}


@frozen
class Step:
    """One thing that happens, and when; whatever is chance in it comes from its own seed."""

    at: float
    kind: str
    seed: int

    def __str__(self) -> str:
        return f"{self.at:.3f} {self.kind}"


@frozen
class Plan:
    """A schedule.

    :ivar nodes: how many there are.
    :ivar seconds: how long things go wrong.
    :ivar bytes: whether links write bytes, which is slower.
    """

    seed: int
    nodes: int
    seconds: float
    bytes: bool
    latency: float
    history: int
    synchronous: int
    steps: tuple[Step, ...]


def makePlan(seed: int, faults: Collection[str] = ()) -> Plan:
    """The plan of a seed. Each leaves out most kinds of faults, so that those it has meet often.

    :param faults: these kinds instead.
    """
    random = Random(f"plan {seed}")
    seconds = random.choice([8.0, 12.0, 16.0, 30.0])
    chosen = random.sample(sorted(FAULTS), random.randint(1, 7))
    kinds = sorted(faults) or chosen
    nodes = random.choice([2, 3, 3, 3, 4, 5])
    return Plan(
        seed=seed,
        nodes=nodes,
        seconds=seconds,
        bytes=random.random() < 0.1,
        latency=random.choice([0.0005, 0.005, 0.05, 0.2]),
        history=random.choice([20, 40, 1000]),
        synchronous=random.choice([0, 0, 1, 1, 2]) if nodes > 2 else random.choice([0, 1]),
        steps=tuple(
            sorted(
                [
                    *_steps(random, WRITES, seconds, random.choice([1.0, 2.0, 4.0])),
                    *_steps(random, {kind: FAULTS[kind] for kind in kinds}, seconds, random.choice([0.1, 0.3, 0.8])),
                ],
                key=lambda step: step.at,
            )
        ),
    )


def _steps(random: Random, kinds: dict[str, float], seconds: float, perSecond: float) -> list[Step]:
    steps = []
    at = random.expovariate(perSecond)
    while at < seconds:
        kind = random.choices(list(kinds), list(kinds.values()))[0]
        steps.append(Step(at, kind, random.getrandbits(32)))
        at += random.expovariate(perSecond)
    return steps
