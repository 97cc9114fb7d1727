"""The transfers under way on this node: files that sessions have open, and how fast they move.

It looks now and then at what opened files count of themselves; nothing is told to it while bytes move. What sessions
are, and the other nodes, are not known here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ..vocabulary import OpenMode, Stat, publicId
from ._observed import ObservedFile
from .paths import encode, render
from .traffic import Traffic

log = Logger()

LOOK_SECONDS = 2.0
LOOKS = 3
"""The rate is that of so many looks."""

SIZE_SECONDS = 1.0
"""How long the lengths of files are waited for; a storage may be slow, or hang."""

MOST_PATH = 1024


@frozen
class Transfer:
    """A file that somebody is sending or fetching.

    :ivar session: of which session it is.
    :ivar direction: ``upload`` or ``download``.
    :ivar path: the file, as its user sees it.
    :ivar bytes: bytes that came from the client so far, or went to it.
    :ivar size: how many they will be when all of the file has been moved; null where that is not known.
    :ivar bytesPerSecond: of the last seconds.
    :ivar since: when it began, in seconds since the epoch.
    """

    id: str
    node: str
    user: str
    protocol: str
    address: str
    session: str
    direction: str
    path: str
    bytes: int
    size: int | None
    bytesPerSecond: int
    since: float

    @property
    def place(self) -> str:
        """In the order of all transfers, the oldest first."""
        return f"{self.since:017.6f}-{self.id}"


@frozen
class Wanted:
    """Which transfers are asked for.

    :ivar search: in the user's name, the path or the address.
    :ivar after: only beyond this place.
    """

    user: str = ""
    search: str = ""
    after: str = ""
    limit: int = 100


@frozen
class Found:
    """:ivar total: how many there are in all, at any place."""

    items: list[Transfer]
    total: int


@define(eq=False)
class _Watched:
    """An opened file.

    :ivar seen: when it was looked at, and what had been moved by then.
    """

    id: str
    since: float
    seen: deque[tuple[float, int]]
    size: int | None = None
    isSizeAsked: bool = False


@define(eq=False)
class Transfers:
    """
    :ivar _now: the time of day, to be shown.
    """

    _node: str
    _traffic: Traffic
    _clock: IReactorTime
    _now: Callable[[], float]
    _watched: dict[ObservedFile, _Watched] = field(factory=dict, init=False)
    _count: int = field(default=0, init=False)
    _looking: LoopingCall = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._looking = LoopingCall(self._look)
        self._looking.clock = self._clock

    def start(self) -> None:
        looked = self._looking.start(LOOK_SECONDS)
        _ = looked.addErrback(lambda failure: log.failure("transfers are watched no more", failure))

    def stop(self) -> None:
        if self._looking.running:
            self._looking.stop()

    def _look(self) -> None:
        self._watch()
        now = self._clock.seconds()
        for opened, watched in self._watched.items():
            watched.seen.append((now, opened.movedBytes))

    def _watch(self) -> None:
        """Know what is open."""
        isOpen = self._traffic.open
        for opened in [each for each in self._watched if each not in isOpen]:
            del self._watched[opened]
        for opened in isOpen - self._watched.keys():
            self._count += 1
            since = self._now() - (self._clock.seconds() - opened.openedAt)
            seen = deque([(opened.openedAt, 0)], LOOKS)
            self._watched[opened] = _Watched(f"{self._node}-{self._count}", round(since, 6), seen)

    def find(self, wanted: Wanted) -> Deferred[Found]:
        """The transfers under way, the oldest first."""
        return Deferred.fromCoroutine(self._find(wanted))

    async def _find(self, wanted: Wanted) -> Found:
        self._watch()
        # Who reads nothing but a checksum transfers nothing.
        moving = [one for one in self._watched if one.movedBytes or not (one.isHashed and one.isDownload)]
        fitting = [(each.place, one) for one in moving if _fits(each := self._shown(one), wanted)]
        following = sorted((pair for pair in fitting if pair[0] > wanted.after), key=lambda pair: pair[0])
        chosen = [one for _, one in following[: wanted.limit]]
        await self._learnSizes(chosen)
        return Found([self._shown(one) for one in chosen if one in self._watched], len(fitting))

    def _shown(self, opened: ObservedFile) -> Transfer:
        watched = self._watched[opened]
        since, before = watched.seen[0]
        seconds = max(self._clock.seconds() - since, 1.0)
        return Transfer(
            id=watched.id,
            node=self._node,
            user=opened.user,
            protocol=opened.origin.protocol,
            address=opened.origin.address,
            session=publicId(opened.origin.session),
            direction="download" if opened.isDownload else "upload",
            path=encode(render(opened.path)).decode("utf-8", "backslashreplace")[:MOST_PATH],
            bytes=opened.movedBytes,
            size=watched.size if opened.isDownload else opened.expectedBytes,
            bytesPerSecond=round((opened.movedBytes - before) / seconds),
            since=watched.since,
        )

    async def _learnSizes(self, some: list[ObservedFile]) -> None:
        """Of downloads that nobody asked about yet, each once."""
        asked = []
        for opened in some:
            watched = self._watched[opened]
            if opened.mode is OpenMode.read and not watched.isSizeAsked:
                watched.isSizeAsked = True
                # It may be closed meanwhile.
                asked.append(opened.inner.stat().addCallbacks(_keepSize, lambda _: None, (watched,)))
        if asked:
            # What is not known in time is shown the next time.
            known: Deferred[None] = Deferred()
            _ = DeferredList(asked).addCallback(_tell, known)
            await known.addTimeout(SIZE_SECONDS, self._clock, lambda *_: None)


def _tell(_: object, waiting: Deferred[None]) -> None:
    if not waiting.called:
        waiting.callback(None)


def _keepSize(stat: Stat, watched: _Watched) -> None:
    watched.size = stat.size


def _fits(transfer: Transfer, wanted: Wanted) -> bool:
    if wanted.user and transfer.user != wanted.user:
        return False
    return wanted.search.casefold() in f"{transfer.user}\n{transfer.path}\n{transfer.address}".casefold()
