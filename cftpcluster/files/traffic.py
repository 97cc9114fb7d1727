"""Counts the bytes of files that come from clients and go to them, as they do. Whose they are is not known here."""

from __future__ import annotations

from attrs import define


@define(eq=False)
class Traffic:
    """
    :ivar received: bytes from clients, since the node started.
    :ivar sent: bytes to clients.
    """

    received: int = 0
    sent: int = 0
