"""What one session has under way: uploads that only this session sees, by the names they will have.

It knows nothing of where the bytes are; backends keep their own kind of upload in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from attrs import Factory, define
from twisted.internet.defer import Deferred

from ..vocabulary import VirtualPath
from .paths import isWithin, moved


class InProgress(Protocol):
    """An upload: where it will be seen once it is committed, in this session's tree."""

    path: VirtualPath


U = TypeVar("U", bound=InProgress)


@define(eq=False)
class Uploads(Generic[U]):
    """The uploads of one session. Of several at one path the newest is seen; a session has few of them."""

    _live: list[U] = Factory(list)
    _committing: dict[U, list[Deferred[None]]] = Factory(dict)

    def add(self, upload: U) -> None:
        self._live.append(upload)

    def discard(self, upload: U) -> None:
        if upload in self._live:
            self._live.remove(upload)

    def at(self, path: VirtualPath) -> U | None:
        """The upload that the session sees at ``path``."""
        return next((upload for upload in reversed(self._live) if upload.path == path), None)

    def allAt(self, path: VirtualPath) -> Sequence[U]:
        return [upload for upload in self._live if upload.path == path]

    def inside(self, folder: VirtualPath) -> dict[str, U]:
        """The uploads that a listing of ``folder`` shows, by name."""
        return {upload.path[-1]: upload for upload in self._live if upload.path[:-1] == folder}

    def move(self, old: VirtualPath, new: VirtualPath) -> None:
        """A file or folder was renamed: what lies at or beneath it is found at its new place."""
        for upload in self._live:
            if isWithin(upload.path, old):
                upload.path = moved(upload.path, old, new)

    def startCommit(self, upload: U) -> None:
        """From now on :meth:`settled` waits for this upload."""
        self._committing[upload] = []

    def endCommit(self, upload: U) -> None:
        for waiting in self._committing.pop(upload):
            waiting.callback(None)

    async def settled(self, *paths: VirtualPath) -> None:
        """Wait until no commit runs at, above or beneath any of these paths: a client that closed a file finds it."""
        while True:
            running = next((upload for upload in self._committing if _isRelated(upload.path, paths)), None)
            if running is None:
                return
            ended: Deferred[None] = Deferred()
            self._committing[running].append(ended)
            await ended


def _isRelated(path: VirtualPath, others: Sequence[VirtualPath]) -> bool:
    return any(isWithin(path, other) or isWithin(other, path) for other in others)
