"""Sends one follower what it lacks: a batch at a time, read from the journal when the last one was acknowledged.

Whether a follower may have it, and from which revision on, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import ChainMismatch, ClusterError, HistoryGone, Refused, SnapshotNeeded
from ..interfaces import IFollower, IJournal
from ..journal.entry import Entry, Head
from .faults import LinkLost
from .messages import batches

log = Logger()

READ_ENTRIES = 1000
RETRY_SECONDS = 2.0


@define(eq=False)
class Cursor:
    """A place in the journal, moved along by the follower's acknowledgements.

    :ivar sent: the revision of the last entry that was sent.
    :ivar problem: why the last batch was not taken; "" when all is well.
    """

    _journal: IJournal
    _clock: IReactorTime
    follower: IFollower
    _head: Callable[[], Head]
    _acknowledged: Callable[[int, bytes], None]
    sent: int
    problem: str = field(default="", init=False)
    _last: tuple[int, bytes] = field(default=(-1, b""), init=False)
    _open: bool = field(default=False, init=False)
    _closed: bool = field(default=False, init=False)
    _sending: bool = field(default=False, init=False)
    _retry: IDelayedCall | None = field(default=None, init=False)

    @property
    def following(self) -> bool:
        """Whether what is appended goes to the follower."""
        return self._open and not self._closed

    @property
    def idle(self) -> bool:
        """Whether the follower has acknowledged all that there is."""
        return self.following and not self._sending and self._last[0] == self._head().revision

    def open(self, revision: int, chainHash: bytes) -> None:
        """The follower was found to be at that place of this history: send what comes after it."""
        self._last = revision, chainHash
        self._open = True
        self.wake()

    def wake(self) -> None:
        """There may be more to send."""
        if self.following and not self._sending and self.sent < self._head().revision:
            self._sending = True
            _ = Deferred.fromCoroutine(self._send()).addErrback(self._failed)

    def close(self) -> None:
        """Send nothing more; idempotent."""
        self._closed = True
        if self._retry is not None and self._retry.active():
            self._retry.cancel()

    async def _send(self) -> None:
        try:
            while self.sent < self._head().revision:
                entries = await self._journal.since(self.sent, READ_ENTRIES)
                if not entries:
                    return
                for batch in batches(entries):
                    if not self.following:
                        return
                    await self._deliver(batch)
        except HistoryGone:
            # Too slow: the follower is shown how far behind it is, and asks to follow anew.
            self.close()
            await self._showHead()
        finally:
            self._sending = False

    async def _deliver(self, batch: Sequence[Entry]) -> None:
        answer = await self.follower.deliver(batch)
        if self._closed:
            return
        last = batch[-1]
        self.sent = last.revision
        if answer == (last.revision, last.chainHash):
            self._last = answer
            self.problem = ""
            self._acknowledged(*answer)
        elif answer != self._last:
            self.close()
            self.problem = f"acknowledged revision {answer[0]} where {last.revision} was sent"
            await self._showHead()

    async def _showHead(self) -> None:
        head = self._head()
        await self.follower.position(head.epoch, head.revision, head.chainHash)

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if self._closed or isinstance(error, LinkLost):
            self.close()
            return
        if not isinstance(error, ClusterError):
            log.failure("sending entries failed", failure=failure)
        self.problem = str(error)
        if isinstance(error, Refused | ChainMismatch | SnapshotNeeded):
            # It follows anew when it can.
            self.close()
        else:
            self._retry = self._clock.callLater(RETRY_SECONDS, self.wake)
