"""What a request of SFTP becomes when it was understood."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from attrs import frozen
from twisted.internet.defer import Deferred, succeed

from ...files.paths import render
from ...interfaces import IFileSystem
from ...vocabulary import VirtualPath
from . import packets
from .handles import Handles
from .wire import Buffer

Answer: TypeAlias = tuple[Buffer, ...]
"""A packet for the client, in parts."""


@frozen
class Operation:
    """
    :ivar run: do it; fires with the answer, or fails with a ``FileSystemError``.
    :ivar looks: whether it changes nothing.
    :ivar lists: whether it looks at the names in a folder.
    :ivar paths: what it concerns.
    :ivar handle: the open file or folder that it concerns.
    :ivar other: another open file that it concerns, whole.
    :ivar span: the part of the open file that it reads or writes.
    :ivar answerBytes: how large its answer may become, where that is much.
    """

    run: Callable[[], Deferred[Answer]]
    looks: bool = False
    paths: tuple[VirtualPath, ...] = ()
    handle: object | None = None
    other: object | None = None
    span: tuple[int, int] | None = None
    answerBytes: int = 0
    lists: bool = False


def later(verb: Callable[..., Coroutine[Any, Any, Answer]], *arguments: Any) -> Callable[[], Deferred[Answer]]:
    """For :attr:`Operation.run`."""
    return lambda: Deferred.fromCoroutine(verb(*arguments))


def ok(requestId: int) -> Answer:
    return (packets.status(requestId, packets.OK),)


def change(requestId: int, verb: Callable[..., Deferred[Any]], *paths: VirtualPath) -> Operation:
    """Have a verb change what is at ``paths``."""

    async def run() -> Answer:
        await verb(*paths)
        return ok(requestId)

    return Operation(later(run), paths=paths)


def move(
    requestId: int, files: IFileSystem, handles: Handles, old: VirtualPath, new: VirtualPath, overwrite: bool
) -> Operation:
    """Rename something, with all that is open in it."""
    handles.startMove(old, new)

    async def run() -> Answer:
        isDone = False
        try:
            await files.rename(old, new, overwrite)
            isDone = True
        finally:
            handles.endMove(old, new, isDone)
        return ok(requestId)

    return Operation(later(run), paths=(old, new))


def tell(answer: bytes) -> Operation:
    """Something that is known already."""
    return Operation(lambda: succeed((answer,)), looks=True)


def tellPath(requestId: int, path: VirtualPath) -> Operation:
    return tell(packets.nameReply(requestId, [packets.encodeName(render(path))]))
