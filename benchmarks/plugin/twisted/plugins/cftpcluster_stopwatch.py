"""An observer that notes when each revision became live on its node, for ``replication.py``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, TextIO

from attrs import define, field, frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from cftpcluster.events import ConfigurationChanged, Event
from cftpcluster.interfaces import IObserver, IObserverFactory


@frozen
class StopwatchOptions:
    """:ivar folder: where a file for each node goes, with a line of revision and nanoseconds since the epoch each."""

    folder: str


@implementer(IObserver)
@define(eq=False)
class Stopwatch:
    _file: TextIO

    def observe(self, event: Event) -> None:
        if isinstance(event, ConfigurationChanged):
            self._file.write(f"{event.revision} {time.time_ns()}\n")


@implementer(IPlugin, IObserverFactory)
@define(eq=False)
class StopwatchFactory:
    kind: str = field(default="stopwatch", init=False)
    summary: str = field(default="notes when revisions become live", init=False)
    configClass: type = field(default=StopwatchOptions, init=False)

    def build(self, config: StopwatchOptions, *, node: str, reactor: Any) -> Stopwatch:
        return Stopwatch((Path(config.folder) / node).open("a", buffering=1))


stopwatchFactory = StopwatchFactory()
