"""Tells systemd how the process is: datagrams of sd_notify(3), which any supervisor may take.

The watchdog is fed from the reactor, so a reactor that is stuck starves it, and the process is started anew. What the
process does is not known here.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any, Self

from attrs import define, field
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

log = Logger()

LOOK_SECONDS = 10.0
"""The status text is renewed so often; more often only where the watchdog wants it."""


@define(eq=False)
class Supervisor:
    """Whoever started this process and wants to hear of it; nobody, where no address is given.

    :ivar _address: of a UNIX datagram socket; an abstract one starts with ``@``.
    :ivar _watchdogSeconds: the process must give a sign of life that often; 0 where nobody waits for one.
    """

    _address: str
    _watchdogSeconds: float
    _clock: Any
    _status: Callable[[], str] = field(default=lambda: "", init=False)
    _signs: LoopingCall = field(init=False)
    _said: str = field(default="", init=False)

    def __attrs_post_init__(self) -> None:
        self._signs = LoopingCall(self._giveSign)
        self._signs.clock = self._clock

    @classmethod
    def of(cls, environment: Mapping[str, str], processId: int, clock: Any) -> Self:
        """What the environment says; a watchdog that waits for another process is left to it."""
        microseconds = environment.get("WATCHDOG_USEC", "")
        isOurs = environment.get("WATCHDOG_PID", str(processId)) == str(processId)
        seconds = int(microseconds) / 1e6 if microseconds.isdecimal() and isOurs else 0.0
        return cls(environment.get("NOTIFY_SOCKET", ""), seconds, clock)

    def ready(self, status: Callable[[], str]) -> None:
        """The process serves.

        :param status: how it is, in a line; asked again and again.
        """
        self._status = status
        self._send("READY=1")
        if self._address:
            interval = min(self._watchdogSeconds / 2 or LOOK_SECONDS, LOOK_SECONDS)
            signs = self._signs.start(interval)
            _ = signs.addErrback(lambda failure: log.failure("the supervisor hears no more", failure))

    def stopping(self, seconds: float) -> None:
        """The process ends, within so many seconds."""
        self._send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}", f"STATUS={_oneLine(self._status())}")

    def stop(self) -> None:
        """Say no more. Idempotent."""
        if self._signs.running:
            self._signs.stop()

    def _giveSign(self) -> None:
        lines = ["WATCHDOG=1"] if self._watchdogSeconds else []
        status = _oneLine(self._status())
        if status != self._said:
            self._said = status
            lines.append(f"STATUS={status}")
        if lines:
            self._send(*lines)

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.sendmsg(["\n".join(lines).encode()], [], socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL, address)
        except OSError as error:
            log.warn("the supervisor was not told: {error}", error=error)


def _oneLine(text: str) -> str:
    return " ".join(text.split())
