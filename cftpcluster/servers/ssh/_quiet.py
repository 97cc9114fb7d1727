"""Conch tells every channel and packet at level info; what a server under load logs are faults."""

from __future__ import annotations

from typing import Any

from twisted.logger import ILogObserver, Logger, LogLevel, globalLogPublisher
from zope.interface import implementer


@implementer(ILogObserver)
def _warningsOnly(event: dict[str, Any]) -> None:
    if event["log_level"] >= LogLevel.warn:
        globalLogPublisher(event)


def quietLogger() -> Logger:
    """For the ``_log`` of a class that inherits from one of Conch's, whose methods then log through it."""
    return Logger(observer=_warningsOnly)
