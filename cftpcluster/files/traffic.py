"""Counts the bytes of files that come from clients and go to them, as they do, and knows which files are open.

Whose they are is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from ._observed import ObservedFile


@define(eq=False)
class Traffic:
    """
    :ivar received: bytes from clients, since the node started.
    :ivar sent: bytes to clients.
    :ivar open: what sessions have open now.
    """

    received: int = 0
    sent: int = 0
    open: set[ObservedFile] = field(factory=set, init=False)
