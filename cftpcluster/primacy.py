"""Which part this node has among the others while it runs: who is primary, whether it may append, and how that changes.

The journal names the primary; what is found out about other nodes can only make this node more careful. Its standing,
while it is primary:

``checking``
    It has started, and asks the other nodes for epoch, revision and chain hash. Changes wait.
``confirmed``
    Some node answered, and none has more; or there is no other node; or an operator said so by ``--force``.
``unconfirmed``
    Nobody answered, or what a node has could not be fetched from it. It serves, and appends only where the settings
    allow that.
``disputed``
    Two histories of one epoch. Both primaries serve and none appends, until one is promoted with ``--force``.

A node that hears of a later epoch stops appending at once and follows. Everything here is driven by a clock and by what
it was constructed with; neither sockets nor threads are known here, nor what operators ask for: that is
:mod:`.promotion`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from .cluster.claims import Standing, standingOf
from .cluster.follower import Follower
from .cluster.history import History, catchUp
from .cluster.messages import Hello
from .cluster.publisher import Publisher
from .errors import ClusterError, NotPrimary
from .events import Notify, PrimaryChanged
from .interfaces import IJournal
from .journal.entry import Head

log = Logger()

CHECK_SECONDS = 5.0
"""How long a primary that starts waits for any answer, and a node that is promoted by force for all of them."""

AGAIN_SECONDS = 0.5
"""Between questions while nobody has answered."""

REACH_SECONDS = 5.0
"""How long the next primary may take to have everything, and changes that are under way to be done."""


class Reading(Protocol):
    """Another node's journal, open to be read."""

    @property
    def history(self) -> History:
        """It, to be read."""

    def standStill(self, epoch: int) -> Deferred[Hello]:
        """Have that node take nothing of earlier epochs for a while; fires with where its journal is then."""

    def close(self) -> None: ...


class IsUplink(Protocol):
    """What keeps a node linked to its primary: :class:`cftpcluster.cluster.uplink.Uplink`."""

    def start(self) -> None: ...

    def stop(self) -> Deferred[None]: ...

    def moved(self) -> None: ...

    def hurry(self) -> None: ...


class IsLookout(Protocol):
    """What looks for nodes that are not linked: :class:`cftpcluster.cluster.lookout.Lookout`."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


@define(eq=False, kw_only=True)
class Primacy:
    """
    :ivar node: this node's name.
    :ivar standing: see above; ``confirmed`` on a node that is not primary.
    :ivar oneByOne: held while what was heard is acted upon, or an operator is heard.
    :ivar survey: asks nodes where their journals are, so many seconds long; what those say that answer, by name.
    :ivar _read: opens another node's journal.
    :ivar _committed: told of each head that is durable here and did not come from the primary.
    :ivar _changed: told when standing or warnings changed.
    """

    node: str
    _clock: IReactorTime
    _journal: IJournal
    _publisher: Publisher
    _follower: Follower
    _uplink: IsUplink
    _lookout: IsLookout
    _inThread: Callable[..., Deferred[Any]]
    survey: Callable[[Sequence[str], float], Deferred[Mapping[str, Hello]]]
    _read: Callable[[str], Awaitable[Reading]]
    _committed: Callable[[Head], None]
    _notify: Notify
    _changed: Callable[[], None]
    standing: str = field(default="confirmed", init=False)
    _why: str = field(default="", init=False)
    _part: str = field(default="", init=False)
    _running: bool = field(default=False, init=False)
    _isSuspended: bool = field(default=False, init=False)
    _checking: Deferred[None] | None = field(default=None, init=False)
    _named: tuple[int, str] = field(init=False)
    _answered: dict[str, Hello] = field(factory=dict, init=False)
    _lacking: Hello | None = field(default=None, init=False)
    oneByOne: DeferredLock = field(factory=DeferredLock, init=False)

    def __attrs_post_init__(self) -> None:
        self._named = self._promotedIn(self._publisher.head)

    # --- the node's life

    def start(self) -> None:
        """Take part: publish after a look at the other nodes, or follow. Idempotent."""
        if self._running:
            return
        self._running = True
        if self._publisher.isPrimary and self.others():
            self._part = "primary"
            self._stand("checking", "")
            self._checking = Deferred.fromCoroutine(self._check())
            _ = self._checking.addErrback(_ended)
        else:
            self._takePart()

    def stop(self) -> None:
        """Take no part any more; the uplink is stopped by whoever made it."""
        self._running = False
        self._lookout.stop()
        if self._checking is not None:
            self._checking.cancel()

    def committed(self, head: Head) -> None:
        """A head is committed here, wherever it came from; the publisher knows it already."""
        named = self._promotedIn(head)
        if named != self._named:
            before, self._named = self._named, named
            epoch, name = named
            log.info("{name} is primary from epoch {epoch} on", name=name, epoch=epoch)
            self._notify(PrimaryChanged(name=name, epoch=epoch))
            if before[1]:
                self._uplink.moved()
            if self.standing == "disputed":
                self._stand("confirmed", "")
            # The answer to what was delivered goes out first.
            self._clock.callLater(0, self._takePart)
        elif self.standing == "unconfirmed":
            self._stand("unconfirmed", self._why)

    @staticmethod
    def _promotedIn(head: Head) -> tuple[int, str]:
        return head.document.promoted.epoch, head.document.promoted.name

    def _takePart(self) -> None:
        """Be what this node is by now: idempotent."""
        if not self._running or self._isSuspended:
            return
        part = "primary" if self._publisher.isPrimary else "secondary"
        if part == "primary" and self._part != part:
            _ = self._uplink.stop()
            self._stand("confirmed", "")
        if part == "primary":
            self._lookout.start()
        else:
            self._lookout.stop()
            if self._part == "primary":
                self._stand("confirmed", "")
            self._uplink.start()
        if part != self._part:
            self._part = part
            self._changed()

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        _ = Deferred.fromCoroutine(work).addErrback(lambda failure: log.failure("not done", failure))

    def others(self) -> list[str]:
        """The other nodes' names."""
        return sorted(set(self._publisher.head.document.nodes) - {self.node})

    # --- while an operator has it promoted

    def suspend(self) -> None:
        """Stay as it is, whatever is heard, until :meth:`settle`; nothing is appended meanwhile but what is asked for
        directly."""
        self._isSuspended = True
        self._publisher.turns.hold(f"{self.node} is being promoted")

    def settle(self, isConfirmed: bool) -> None:
        """Be what this node is by now.

        :param isConfirmed: whether an operator said that it may append.
        """
        self._isSuspended = False
        self._publisher.turns.release()
        self._takePart()
        if isConfirmed:
            self._lacking = None
            self._stand("confirmed", "")
            # Whoever hears of the new epoch follows it, and an old primary stops.
            self._later(self._announce())

    async def _announce(self) -> None:
        await self.survey(self.others(), CHECK_SECONDS)

    # --- whether it may append

    def _stand(self, standing: str, why: str) -> None:
        """:param why: for ``unconfirmed`` and ``disputed``, in the words of a warning."""
        before = self.standing, self._why, self._publisher.refusal
        self.standing, self._why = standing, why
        self._publisher.isChecking = standing == "checking"
        isAllowed = standing == "unconfirmed" and self._publisher.head.document.settings.appendUnconfirmed
        self._publisher.refusal = "" if isAllowed else why
        if standing == "checking":
            self._publisher.turns.hold(f"{self.node} is finding out whether it is still primary")
        elif not self._isSuspended:
            self._publisher.turns.release()
        if (standing, why, self._publisher.refusal) != before:
            if standing == "disputed":
                log.critical("{why}", why=why)
            elif why:
                log.warn("{why}", why=why)
            self._changed()

    @property
    def warnings(self) -> list[str]:
        """What an administrator should know."""
        publisher = self._publisher
        if publisher.isFenced:
            return [f"epoch {publisher.epoch} has begun elsewhere: {publisher.primary or 'another node'} was promoted"]
        return [self._why] if self._why else []

    # --- what others say

    def heard(self, hello: Hello) -> None:
        """Another node says where its journal is."""
        if not self._running or hello.node not in self._publisher.head.document.nodes:
            return
        if self.standing == "checking":
            self._answered[hello.node] = hello
        else:
            self._later(self._weighInTurn(hello))

    async def _weighInTurn(self, hello: Hello) -> None:
        await self.oneByOne.run(lambda: Deferred.fromCoroutine(self._weigh(hello)))

    def beyond(self, node: str, epoch: int, revision: int) -> None:
        """A node asked to follow that has more than this one."""
        if epoch > self._publisher.head.epoch:
            # It knows better, but not yet who is primary; that is asked for by dialling everybody.
            self._takePart()
        else:
            self._later(self._ask([node]))

    async def _ask(self, names: Sequence[str]) -> None:
        for hello in (await self.survey(names, CHECK_SECONDS)).values():
            self.heard(hello)

    async def _check(self) -> None:
        """Ask until somebody has answered, then judge."""
        until = self._clock.seconds() + CHECK_SECONDS
        while self._running and not self._answered and (left := until - self._clock.seconds()) > 0:
            self._answered.update(await self.survey(self.others(), left))
            if not self._answered:
                await deferLater(self._clock, min(AGAIN_SECONDS, max(until - self._clock.seconds(), 0.0)))
        answers, self._answered = self._answered, {}
        if not self._running:
            return
        for hello in foremost(answers.values()):
            await self._weigh(hello)
        if self.standing == "checking":
            isConfirmed = answers and not self._isLacking()
            self._stand(*(("confirmed", "") if isConfirmed else ("unconfirmed", self._unconfirmedText())))
        self._takePart()

    def _unconfirmedText(self) -> str:
        lacking = self._lacking
        if lacking is not None:
            return (
                f"unconfirmed: {lacking.node} has revision {lacking.revision} of epoch {lacking.epoch}, this node "
                f"{self._publisher.head.revision}, and the rest could not be fetched"
            )
        return (
            "unconfirmed: no other node has answered since the start, so that another may have been promoted; it takes "
            "changes when one answers, or after cftpctl node promote on it with --force"
        )

    async def _weigh(self, hello: Hello) -> None:
        publisher = self._publisher
        if not self._running or self._isSuspended:
            return
        standing = standingOf(hello, publisher.head, self.node)
        if standing is Standing.superseding:
            self._supersede(hello)
        elif standing is Standing.naming:
            await self._fetch(hello)
        elif publisher.isPrimary:
            await self._weighAsPrimary(hello, standing)

    async def _weighAsPrimary(self, hello: Hello, standing: Standing) -> None:
        if standing is Standing.rival:
            what = "is primary of it too" if hello.primary == hello.node else f"follows {hello.primary} in it"
            self._dispute(f"{hello.node} {what}, at revision {hello.revision}")
        elif standing is Standing.ahead:
            await self._fetch(hello)
        elif self.standing == "unconfirmed" and not self._isLacking():
            self._stand("confirmed", "")

    def _isLacking(self) -> bool:
        head, lacking = self._publisher.head, self._lacking
        if lacking is not None and (lacking.epoch, lacking.revision) <= (head.epoch, head.revision):
            self._lacking = lacking = None
        return lacking is not None

    def _dispute(self, what: str) -> None:
        if self.standing != "disputed":
            head = self._publisher.head
            self._stand(
                "disputed",
                f"two histories of epoch {head.epoch}: {what}; this node is at revision {head.revision}. Neither takes "
                "changes until one of them is promoted, on itself: cftpctl node promote NAME --force",
            )

    def _supersede(self, hello: Hello) -> None:
        """Another node was promoted: follow it."""
        publisher = self._publisher
        if hello.epoch < publisher.epoch or (hello.epoch == publisher.epoch and publisher.primary):
            return
        wasPrimary = publisher.isPrimary
        publisher.fence(hello.epoch, hello.primary)
        if wasPrimary:
            log.critical(
                "{primary} was promoted in epoch {epoch}, as {node} says: this node takes no more changes, and follows",
                primary=hello.primary,
                epoch=hello.epoch,
                node=hello.node,
            )
        self._uplink.moved()
        self._takePart()
        node = publisher.head.document.nodes.get(hello.primary)
        self._follower.superseded(NotPrimary(hello.epoch, hello.primary, node.address if node is not None else ""))
        self._uplink.hurry()
        self._changed()

    async def _fetch(self, hello: Hello) -> None:
        """A node has what this one must have before it appends."""
        before, why = self.standing, self._why
        self._stand("checking", "")
        self._lacking = hello
        await self._publisher.turns.quiet(REACH_SECONDS)
        try:
            isPart = await self.fetchFrom(hello.node)
        except ClusterError as error:
            log.warn("{node} could not be asked for what it has: {why}", node=hello.node, why=str(error))
            isPart = None
        if self.standing != "checking":
            return
        if isPart:
            self._isLacking()
            self._stand(before if before == "checking" else "confirmed", "")
            self._takePart()
        elif isPart is None:
            self._stand("unconfirmed", self._unconfirmedText())
        else:
            self._stand(before, why)
            self._lacking = None
            self._dispute(f"{hello.node} is at revision {hello.revision} of another one")

    async def standStill(self, node: str, epoch: int) -> Hello:
        """Have a node take nothing of earlier epochs for a while; where its journal is then."""
        reading = await self._read(node)
        try:
            return await reading.standStill(epoch)
        finally:
            reading.close()

    async def fetchFrom(self, node: str) -> bool:
        """Take what another node has and this one lacks; whether its history goes on where this one's ends."""
        before = self._publisher.head.revision
        reading = await self._read(node)
        try:
            done = await catchUp(self._journal, reading.history, self._inThread, self._committed)
        finally:
            reading.close()
        after = self._publisher.head.revision
        if after > before:
            log.info("took revisions {first} to {last} from {node}", first=before + 1, last=after, node=node)
        return done


def _ended(failure: Failure) -> None:
    if failure.check(CancelledError) is None:
        log.failure("the look at the other nodes broke", failure)


def foremost(hellos: Iterable[Hello]) -> list[Hello]:
    """The most advanced first."""
    return sorted(hellos, key=lambda hello: (-hello.epoch, -hello.revision, hello.node))
