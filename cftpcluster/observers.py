"""The observers that come with the product. They know events, and nothing of who makes them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from attrs import define, field, frozen
from twisted.logger import Logger
from zope.interface import implementer

from .events import Event, fieldsOf
from .interfaces import IObserver, IObserverFactory


@frozen
class LogObserverOptions:
    """An observer of kind ``log`` has no options."""


@implementer(IObserver)
@define(eq=False)
class LogObserver:
    """Writes a line for each event to the node's log.

    A line starts with the event's name and goes on with ``key=value``, text quoted as Python does, so that no name of a
    user or file can end the line or pass for another key. The values are fields of the log event too, for JSON logs.
    """

    _log: Logger

    def observe(self, event: Event) -> None:
        values = {"event": type(event).__name__, **fieldsOf(event)}
        self._log.info(_format(tuple(values)), **values)


@lru_cache(maxsize=64)
def _format(names: tuple[str, ...]) -> str:
    return " ".join(["{event}", *(f"{name}={{{name}!r}}" for name in names if name != "event")])


@implementer(IObserverFactory)
@define(eq=False)
class LogObserverFactory:
    kind: str = field(default="log", init=False)
    summary: str = field(default="a line in the node's log for each event", init=False)
    configClass: type = field(default=LogObserverOptions, init=False)

    def build(self, config: LogObserverOptions, *, node: str, reactor: Any) -> LogObserver:
        return LogObserver(Logger("cftpcluster.events"))


logObserver = LogObserverFactory()
