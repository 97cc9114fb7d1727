"""Follows the primary: catches up, stays with it, and notices when something is missing.

Its states are those of :mod:`._states`. A gap, or a hash that does not fit, leads back to ``catchingUp``: the publisher
is asked to follow anew. How nodes are linked, and how a change becomes live, is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import ChainMismatch, ClusterError, NotPrimary, Refused
from ..interfaces import IFollower, IJournal, IPublisher
from ..journal.entry import Entry, Head
from ._states import Inputs, Session, StateMachine
from .announcer import Announcer
from .claims import promotes, requireClaim
from .faults import LinkLost
from .messages import SnapshotOffer
from .pull import pull

log = Logger()

REPORT_SECONDS = 5.0
FIRST_DELAY_SECONDS = 0.2
MOST_DELAY_SECONDS = 4.0
MOST_HELD_BYTES = 64 * 1024 * 1024
"""How much may come before the record that names the publisher primary."""


@implementer(IFollower)
@define(eq=False, kw_only=True)
class Follower:
    """This node, as its publisher sees it.

    :ivar node: this node's name.
    :ivar head: the journal's head, as far as it is known here.
    :ivar state: see :mod:`._states`.
    :ivar wasAccepted: whether the last publisher, whose time is over, let this node follow.
    :ivar problem: why it does not follow, or does not get on; "" when all is well.
    :ivar _applied: told of every new head at once, to make it live.
    :ivar told: the newest revision that a publisher whose claim was believed said to have.
    :ivar isResyncing: whether everything is to be taken anew, as a snapshot.
    :ivar _diverging: told before a snapshot takes the place of what only this node has, so that it can be kept, with
        the publisher that it comes from.
    :ivar _perform: does what :meth:`perform` asks.
    :ivar _report: what this node says of itself: ``live`` (revision), ``problems``, ``version``, and ``state`` where it
        has one of its own, such as ``draining``.
    :ivar _clusterStatus: told what the primary says of the cluster.
    :ivar _changed: told when state or problem changed.
    :ivar _inThread: calls a function elsewhere than in the reactor's thread.
    :ivar _leastEpoch: as :func:`.claims.requireClaim` has it.
    """

    node: str
    head: Head
    _journal: IJournal
    _clock: IReactorTime
    _applied: Callable[[Head], None]
    _diverging: Callable[[Head, SnapshotOffer, IPublisher], Deferred[None]]
    _perform: Callable[[str, Mapping[str, Any]], Deferred[Mapping[str, Any]]]
    _report: Callable[[], Mapping[str, Any]]
    _clusterStatus: Callable[[Mapping[str, Any]], None]
    _changed: Callable[[], None]
    _inThread: Callable[..., Deferred[Any]]
    _leastEpoch: int = 0
    state: str = field(default="disconnected", init=False)
    wasAccepted: bool = field(default=False, init=False)
    problem: str = field(default="", init=False)
    told: int = field(default=0, init=False)
    isResyncing: bool = field(default=False, init=False)
    _still: tuple[int, float] = field(default=(0, 0.0), init=False)
    _taking: int = field(default=0, init=False)
    _quiet: list[Deferred[None]] = field(factory=list, init=False)
    _session: Session | None = field(default=None, init=False)
    _machine: Inputs = field(init=False)
    _announcer: Announcer = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._machine = StateMachine(self)
        self._announcer = Announcer(self._clock, self._tell, 0.0, REPORT_SECONDS)

    # --- from the node

    def session(self, publisher: IPublisher, name: str) -> Deferred[None]:
        """Follow that publisher; fires when the time with it was ended by :meth:`disconnected`, fails with
        ``NotPrimary`` or ``Refused`` where another one should be tried."""
        session = Session(publisher, name)
        self._machine.begin(session)
        return session.ended

    def disconnected(self) -> None:
        """The publisher is gone."""
        self._machine.end(None)

    def refused(self, reason: str) -> None:
        """No publisher accepts this node, or none is accepted."""
        self._machine.refuse(Refused(reason))

    def pause(self) -> None:
        self._machine.pause()

    def resume(self) -> None:
        self._machine.resume()

    def resync(self) -> None:
        """Take everything anew from the primary, as a snapshot, even where this node has more."""
        self.isResyncing = True
        self._machine.gap()

    def superseded(self, error: NotPrimary) -> None:
        """A node was heard of that is in a later epoch than the publisher: look for the primary of that one."""
        session = self._session
        if session is not None and session.accepted and session.epoch < error.epoch:
            self._end(session, error)

    def changed(self) -> None:
        """This node has something new to report."""
        self._announcer.changed()

    @property
    def hasSession(self) -> bool:
        """Whether there is a publisher, accepting or not."""
        return self._session is not None

    @property
    def publisherName(self) -> str:
        """Who is asked, accepting or not; "" without a publisher."""
        return self._session.name if self._session is not None else ""

    @property
    def publisher(self) -> IPublisher | None:
        """The primary, while it accepts this node."""
        session = self._session
        return session.publisher if session is not None and session.accepted else None

    def standStill(self, epoch: int, seconds: float) -> Deferred[None]:
        """Another node is about to begin ``epoch``: for so long nothing is taken from a publisher of an earlier one.
        Fires when nothing is being taken any more; what is here then is what that node has to reckon with."""
        self._still = epoch, self._clock.seconds() + seconds
        quiet: Deferred[None] = Deferred()
        self._quiet.append(quiet)
        self._tellQuiet()
        return quiet

    def _tellQuiet(self) -> None:
        if not self._taking:
            waiting, self._quiet = self._quiet, []
            for one in waiting:
                one.callback(None)

    def _requireMoving(self, session: Session) -> None:
        epoch, until = self._still
        if session.epoch < epoch and self._clock.seconds() < until:
            raise ClusterError(
                f"{self.node} takes nothing of epoch {session.epoch} now: another node is being promoted"
            )

    # --- from the publisher

    def deliver(self, entries: Sequence[Entry]) -> Deferred[tuple[int, bytes]]:
        session = self._listening()
        if session is None or session.busy or self.state == "paused":
            return fail(Refused(f"{self.node} is {self.state} and takes no entries now"))
        try:
            self._requireMoving(session)
        except ClusterError:
            return fail()
        return Deferred.fromCoroutine(self._deliver(session, entries))

    def position(self, epoch: int, revision: int, chainHash: bytes) -> Deferred[None]:
        session = self._listening()
        if session is None or self.state == "paused":
            return fail(Refused(f"{self.node} is {self.state}"))
        here = session.held[-1] if session.held else self.head
        if epoch < self.head.epoch:
            self._end(session, Refused(f"{session.name} is in epoch {epoch}, before this node's {self.head.epoch}"))
            return succeed(None)
        if session.proven:
            self.told = max(self.told, revision)
        if (revision, chainHash) != (here.revision, here.chainHash):
            self._machine.gap()
        elif session.held:
            self._end(session, Refused(f"{session.name} claims epoch {session.epoch}, but no record names it primary"))
        return succeed(None)

    def perform(self, action: str, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        session = self._session
        if session is None or not session.accepted or not (session.proven or self.state == "paused"):
            return fail(Refused(f"{self.node} does not know the publisher as its primary"))
        return self._perform(action, arguments)

    def clusterStatus(self, status: Mapping[str, Any]) -> Deferred[None]:
        if self._listening() is not None:
            self._clusterStatus(status)
        return succeed(None)

    def _listening(self) -> Session | None:
        session = self._session
        return session if session is not None and session.accepted and not session.asking else None

    # --- catching up

    def begun(self, session: Session) -> None:
        """There is a publisher now."""
        self.finished(None)
        self._session = session
        self.ask()

    def ask(self) -> None:
        """Ask to follow, from where this node is."""
        session = self._session
        if session is not None and not session.asking:
            session.asking = True
            _ = Deferred.fromCoroutine(self._catchUp(session)).addErrback(self._catchingUpFailed, session)

    async def _catchUp(self, session: Session) -> None:
        """Ask, and pull snapshots until entries are enough."""
        try:
            while self._isCurrent(session):
                if session.fruitless:
                    await self._wait(session)
                self.head = head = await self._journal.head()
                session.held, resync = [], self.isResyncing
                answer = await session.publisher.follow(
                    self, head.epoch, head.revision, b"" if resync else head.chainHash
                )
                if not self._isCurrent(session):
                    return
                session.proven = requireClaim(head, self.node, session.name, answer, resync, self._leastEpoch)
                if self.state != "paused":
                    self.entered("catchingUp")
                session.epoch, session.target = answer.epoch, answer.revision
                self.told = answer.revision
                session.fruitless += 1
                if answer.snapshot is None or self.state == "paused":
                    break
                await self._restore(session, answer.snapshot)
        finally:
            session.asking = False
        if self._isCurrent(session):
            session.accepted = True
            self.showProblem("")
            self._announcer.start()
            self._seeTarget(session)

    async def _restore(self, session: Session, offer: SnapshotOffer) -> None:
        snapshot = await pull(session.publisher, offer, self._inThread, None if session.proven else session.name)
        # Where the publisher has forgotten that place, nobody knows whether this node went on alone meanwhile.
        isUnproven = offer.epoch > self.head.epoch and self.head.revision > 0
        if (offer.diverged or isUnproven) and self._isCurrent(session):
            await self._diverging(self.head, offer, session.publisher)
        if self._isCurrent(session):
            self._requireMoving(session)
            self._taking += 1
            try:
                head = await self._journal.restore(snapshot)
                log.info(
                    "took revision {revision} of {node} whole, as a snapshot",
                    revision=head.revision,
                    node=session.name,
                )
                self.isResyncing = False
                self._take(session, head)
            finally:
                self._taking -= 1
                self._tellQuiet()

    async def _wait(self, session: Session) -> None:
        seconds = min(MOST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** min(session.fruitless - 1, 10))
        session.delay = deferLater(self._clock, seconds)
        await session.delay

    def _catchingUpFailed(self, failure: Failure, session: Session) -> None:
        error = failure.value
        if not self._isCurrent(session) or isinstance(error, LinkLost):
            return
        if isinstance(error, Refused | NotPrimary):
            self._end(session, error)
            return
        if not isinstance(error, ClusterError):
            log.failure("catching up failed", failure=failure)
        self.showProblem(str(error))
        session.fruitless += 1
        self._machine.gap()

    # --- entries

    async def _deliver(self, session: Session, entries: Sequence[Entry]) -> tuple[int, bytes]:
        session.busy = True
        self._taking += 1
        try:
            return await self._accept(session, entries)
        except ChainMismatch as error:
            log.warn("what {node} sent does not follow: {reason!r}", node=session.name, reason=str(error))
            if self._isCurrent(session):
                self._machine.gap()
            raise
        except Refused as error:
            self._end(session, error)
            raise
        except ClusterError as error:
            self.showProblem(str(error))
            raise
        finally:
            session.busy = False
            self._taking -= 1
            self._tellQuiet()

    async def _accept(self, session: Session, entries: Sequence[Entry]) -> tuple[int, bytes]:
        fresh = self._fresh(session, entries)
        head = self.head
        if head.revision and not session.proven:
            # Nothing is taken from a claimant before the record that names it.
            session.held.extend(fresh)
            if not promotes(session.held, head, session.name, session.epoch):
                if sum(len(entry.body) for entry in session.held) > MOST_HELD_BYTES:
                    raise Refused(f"{session.name} sent too much before a record that names it primary")
                return head.revision, head.chainHash
            fresh, session.held = session.held, []
        if fresh:
            head = await self._journal.extend(fresh)
            self._take(session, head)
        return head.revision, head.chainHash

    def _fresh(self, session: Session, entries: Sequence[Entry]) -> list[Entry]:
        """Those entries that are not here yet."""
        here: Entry | Head = session.held[-1] if session.held else self.head
        fresh = [entry for entry in entries if entry.revision > here.revision]
        if fresh and fresh[0].revision != here.revision + 1:
            raise ChainMismatch(here.revision + 1, f"revision {fresh[0].revision} came after {here.revision}")
        if any(entry.revision == here.revision and entry.chainHash != here.chainHash for entry in entries):
            raise ChainMismatch(here.revision, f"revision {here.revision} came with another hash")
        epoch = here.epoch
        for entry in fresh:
            if entry.epoch < epoch:
                raise Refused(f"{session.name} sent revision {entry.revision} of epoch {entry.epoch}, after {epoch}")
            epoch = entry.epoch
        return fresh

    def _take(self, session: Session, head: Head) -> None:
        """The journal is at ``head`` now."""
        self.head = head
        session.fruitless = 0
        self.showProblem("")
        try:
            self._applied(head)
        except Exception:  # noqa: BLE001 - the entries are in the journal, whatever becomes of them
            log.failure("revision {revision} could not be made live", revision=head.revision)
        promoted = head.document.promoted
        if promoted.name == session.name:
            session.proven = session.proven or head.epoch >= session.epoch
            session.epoch = max(session.epoch, head.epoch)
        elif head.epoch > session.epoch or head.revision >= session.target:
            primary = head.document.nodes.get(promoted.name)
            moved = NotPrimary(head.epoch, promoted.name, primary.address if primary is not None else "")
            # The answer to what was delivered goes out first.
            self._clock.callLater(0, self._end, session, moved)
        self._seeTarget(session)

    def _seeTarget(self, session: Session) -> None:
        if session.accepted and self._isCurrent(session) and self.head.revision >= session.target:
            self._machine.caughtUp()

    # --- states

    def _isCurrent(self, session: Session) -> bool:
        return session is self._session

    def _end(self, session: Session, error: ClusterError) -> None:
        """This publisher is of no use."""
        if self._isCurrent(session):
            if isinstance(error, Refused):
                self._machine.refuse(error)
            else:
                self._machine.end(error)

    def finished(self, error: ClusterError | None) -> None:
        """There is no publisher any more."""
        session, self._session = self._session, None
        self._announcer.stop()
        if session is not None:
            self.wasAccepted = session.accepted
            if session.delay is not None:
                session.delay.cancel()
            if error is None:
                session.ended.callback(None)
            else:
                session.ended.errback(error)

    def entered(self, state: str) -> None:
        """The state is another one."""
        if state != self.state:
            self.state = state
            self._changed()
            self.changed()

    def showProblem(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            self._changed()
            self.changed()

    async def _tell(self) -> None:
        session = self._session
        if session is not None and session.accepted:
            report = dict(self._report())
            problems = [*([self.problem] if self.problem else []), *report.get("problems", ())]
            await session.publisher.report({"state": self.state, **report, "problems": problems})
