"""One writer for each upload: the request that came last.

Who comes back after a reload, or through another node, must not wait until the server notices that the connection of
the request before is dead. On the same node that one is told at once. On another node it holds the partial's lock in
the storage: then a second partial, beside the first, claims it; whoever writes looks for such a claim every second.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...errors import Busy, FileSystemError
from ...interfaces import IFile, IFileSystem
from ...vocabulary import OpenMode
from ..http import HTTPProblem
from ._uploadtokens import ResumableUpload

log = Logger()

LOOK_SECONDS = 1.0
RETRY_SECONDS = 0.25
RETRIES = 20


def _takenOver() -> HTTPProblem:
    return HTTPProblem(423, "a newer request writes this upload")


@define(eq=False)
class Turn:
    """One request's time as the writer of an upload.

    :ivar isOver: whether a newer request wants to write.
    """

    _reactor: IReactorTime
    _request: Any
    files: IFileSystem
    _upload: ResumableUpload
    _ended: Callable[[], None]
    isOver: bool = False
    _waiting: list[Deferred[None]] = field(factory=list, init=False)

    def giveUp(self) -> Deferred[None]:
        """Have the request end soon; fires when it did."""
        ended: Deferred[None] = Deferred()
        self._waiting.append(ended)
        self._lose()
        return ended

    def _lose(self) -> None:
        self.isOver = True
        self._request.refuseBody(Failure(_takenOver()))

    def end(self) -> None:
        """The request writes nothing more."""
        self._ended()
        for each in self._waiting:
            each.callback(None)

    async def open(self) -> IFile:
        """The partial, to be continued. Fails with ``NotFound`` where there is none, and with 423 where another node
        does not let go of it."""
        try:
            opened = await self.files.open(self._upload.partial, OpenMode.resume)
        except Busy:
            opened = await self._claimed()
        self.check()
        return opened

    async def _claimed(self) -> IFile:
        try:
            claim = await self.files.open(self._upload.claim, OpenMode.create)
        except FileSystemError:
            raise _takenOver() from None
        try:
            for _ in range(RETRIES):
                await deferLater(self._reactor, RETRY_SECONDS)
                self.check()
                with suppress(Busy):
                    return await self.files.open(self._upload.partial, OpenMode.resume)
        finally:
            with suppress(FileSystemError):
                await claim.abort(keep=False)
        raise _takenOver()

    def check(self) -> None:
        """Fail where a newer request came."""
        if self.isOver:
            raise _takenOver()

    def watch(self) -> Callable[[], None]:
        """Give up as soon as another node claims the upload; answers with what ends that."""
        looking = LoopingCall(lambda: Deferred.fromCoroutine(self._look()))
        looking.clock = self._reactor
        _ = maybeDeferred(looking.start, LOOK_SECONDS, now=False).addErrback(
            lambda failure: log.failure("Whether an upload is claimed could not be found out", failure)
        )
        return looking.stop

    async def _look(self) -> None:
        try:
            stale = await self.files.open(self._upload.claim, OpenMode.resume)
        except Busy:
            self._lose()
        except FileSystemError:
            pass
        else:
            # whoever claimed it has died
            with suppress(FileSystemError):
                await stale.abort(keep=False)


@define(eq=False)
class Writers:
    """The uploads that this node writes now."""

    _reactor: IReactorTime
    _turns: dict[str, Turn] = field(factory=dict, init=False)

    async def turn(self, request: Any, files: IFileSystem, upload: ResumableUpload) -> Turn:
        """Become the writer, once the one before has ended."""
        while (before := self._turns.get(upload.key)) is not None:
            await before.giveUp()
        turn = Turn(self._reactor, request, files, upload, lambda: self._forget(upload.key))
        self._turns[upload.key] = turn
        return turn

    def _forget(self, key: str) -> None:
        del self._turns[key]
