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
    _ending: dict[U, list[Deferred[None]]] = Factory(dict)

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

    def isAnyBeneath(self, folder: VirtualPath) -> bool:
        return any(isWithin(upload.path, folder) for upload in self._live)

    def startEnding(self, upload: U) -> None:
        """A commit or an abort begins: from now on :meth:`settled` waits for it."""
        self._ending[upload] = []

    def end(self, upload: U) -> None:
        """The commit or abort is done: others see what it left."""
        self.discard(upload)
        for waiting in self._ending.pop(upload):
            waiting.callback(None)

    async def settled(self, *paths: VirtualPath) -> None:
        """Wait for what is ending now at, above or beneath any of these paths: what a client closed, it finds there."""
        for upload in [upload for upload in self._ending if _isRelated(upload.path, paths)]:
            if upload in self._ending:
                ended: Deferred[None] = Deferred()
                self._ending[upload].append(ended)
                await ended


def _isRelated(path: VirtualPath, others: Sequence[VirtualPath]) -> bool:
    return any(isWithin(path, other) or isWithin(other, path) for other in others)
