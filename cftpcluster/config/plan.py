"""From what runs and what should run to the steps between them.

Pure: the steps are taken elsewhere. Stops come first, so that a port which one listener gives up is free for another,
then changes of what goes on running, then starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeAlias, TypeVar

from attrs import evolve, frozen

from .document import Listener, Options

T = TypeVar("T")


@frozen
class Stop:
    """Stop what runs under this name."""

    name: str


@frozen
class Change(Generic[T]):
    """What runs under this name takes a new configuration, and goes on."""

    name: str
    config: T


@frozen
class Start(Generic[T]):
    """Start under this name, which is free by then."""

    name: str
    config: T


Step: TypeAlias = Stop | Change[T] | Start[T]


def plan(running: Mapping[str, T], wanted: Mapping[str, T], sameSocket: Callable[[T, T], bool]) -> Sequence[Step[T]]:
    """The steps from ``running`` to ``wanted``, each a mapping from name to configuration.

    :param sameSocket: whether what runs with the first can go on with the second; otherwise it is stopped and started.
    """
    stops: list[Step[T]] = []
    changes: list[Step[T]] = []
    starts: list[Step[T]] = []
    for name in sorted(running.keys() | wanted.keys()):
        if name not in wanted:
            stops.append(Stop(name))
        elif name not in running:
            starts.append(Start(name, wanted[name]))
        elif running[name] != wanted[name]:
            if sameSocket(running[name], wanted[name]):
                changes.append(Change(name, wanted[name]))
            else:
                stops.append(Stop(name))
                starts.append(Start(name, wanted[name]))
    return [*stops, *changes, *starts]


def overridden(listener: Listener, overrides: Options) -> Listener:
    """A listener as a node serves it whose entry in the document overrides its port or some of its options."""
    options = {key: value for key, value in overrides.items() if key != "port"}
    return evolve(listener, port=overrides.get("port", listener.port), options={**listener.options, **options})
