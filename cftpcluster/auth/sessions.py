"""The live sessions of all nodes: who is in, how many they may be, and how one is ended from anywhere.

Each node writes a row for each of its sessions. A session of a connection (FTP, SFTP) lives as long as its node says
so, by a row of its own that is written again and again; one over HTTP, which any node serves, as long as it is in use.
A session is ended by a row that says so: every node ends what it has of it, and refuses the cookie until nobody would
take it any more. Who may have a session, and what it reaches, is not known here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ..config.document import Document, Settings, User
from ..errors import ClusterError
from ..interfaces import ISharedRows
from ..networks import countedAs
from ..vocabulary import Origin, Row, publicId
from .account import Account
from .credentials import TurnedAway
from .guard import ADMINISTRATORS_PROTOCOL

log = Logger()

SESSIONS = "sessions"
PRESENCE = "presence"
ENDED = "endedSessions"

PRESENCE_SECONDS = 60.0
"""The sessions of a node that is gone are forgotten after so long."""

REFRESH_SECONDS = 15.0
CONNECTION_SECONDS = 600.0
"""For how long a connection's row is written, at least; renewed long before. That a row was withdrawn is remembered for
as long, so this bounds what many short connections take."""

KICK_SECONDS = 600.0
"""For how long a connection is known to have been ended: until every node must have heard of it."""

MOST_ENDED_OF_A_USER = 500
"""Sessions over HTTP that a user may end before their time is over; nobody may use up what is remembered for all."""

LONGEST_SOFTWARE = 100

SEEN_SECONDS = 60.0
"""How often it is told at most that a session over HTTP is in use."""


@define(eq=False)
class _Session:
    """A session that this node serves now.

    :ivar due: when its row is to be written again.
    :ivar revision: of the document, when it was last let in; ``None`` for an administrator.
    """

    name: str
    origin: Origin
    since: float
    due: float
    revision: int | None = None
    accounts: set[Account] = field(factory=set)


@define(eq=False)
class LiveSessions:
    """
    :ivar node: this one.
    :ivar document: the one that is live here.
    :ivar isExempt: whether an address has no limit.
    :ivar now: the time of day, to be shown.
    :ivar incarnation: what no earlier process of this node had.
    """

    _rows: ISharedRows
    node: str
    _clock: IReactorTime
    _document: Callable[[], Document]
    _isExempt: Callable[[str], bool]
    _now: Callable[[], float]
    _incarnation: str
    _here: dict[str, _Session] = field(factory=dict, init=False)
    _known: dict[str, dict[str, Row]] = field(factory=dict, init=False)
    _byUser: dict[str, set[str]] = field(factory=dict, init=False)
    _byAddress: dict[str, set[str]] = field(factory=dict, init=False)
    _endedBy: Counter[str] = field(factory=Counter, init=False)
    _refreshing: LoopingCall = field(init=False)
    _ends: list[Callable[[], None]] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._refreshing = LoopingCall(self._refresh)
        self._refreshing.clock = self._clock

    @property
    def _settings(self) -> Settings:
        return self._document().settings

    def start(self) -> None:
        """Take part in what the nodes know."""
        self._ends = [self._rows.watch(SESSIONS, self._changed), self._rows.watch(ENDED, self._heardOfEnd)]
        for row in self._rows.rows(SESSIONS):
            if row.node == self.node:
                self._rows.remove(SESSIONS, row.key)
            else:
                self._changed(None, row)
        self._endedBy.update(str(row.value.get("by", "")) for row in self._rows.rows(ENDED) if row.value.get("by"))
        _ = self._refreshing.start(REFRESH_SECONDS).addErrback(
            lambda failure: log.failure("sessions are told no more", failure)
        )

    def stop(self) -> None:
        if self._refreshing.running:
            self._refreshing.stop()
        while self._ends:
            self._ends.pop()()
        # Whoever still has them would count them for a minute.
        self._rows.remove(PRESENCE, self.node)

    # --- who is in

    def admit(self, user: User, origin: Origin) -> None:
        """Called before a session begins, or goes on.

        :raises TurnedAway: where there are as many as may be.
        """
        if self._isLive(publicId(origin.session)):
            return
        if user.limits.sessions and self._count(self._byUser, user.name) >= user.limits.sessions:
            raise TurnedAway("too many sessions of this user")
        most = self._settings.sessionsPerAddress
        source = countedAs(origin.address)
        if most and self._count(self._byAddress, source) >= most and not self._isExempt(origin.address):
            raise TurnedAway("too many sessions from this address")

    def begin(self, account: Account) -> None:
        """Somebody is in, until the account's logout (and for a while after it, where the origin says so)."""
        self._touch(publicId(account.origin.session), account.name, account.origin, account.revision).accounts.add(
            account
        )
        account.left = self._left

    def visit(self, name: str, origin: Origin) -> None:
        """A session over HTTP that needs no account is in use."""
        key = publicId(origin.session)
        if not self._touch(key, name, origin).accounts:
            del self._here[key]

    def _touch(self, key: str, name: str, origin: Origin, revision: int | None = None) -> _Session:
        session = self._here.get(key)
        if session is None:
            session = self._here[key] = _Session(name, origin, *self._sinceAndDue(key, origin))
        session.origin, session.revision = origin, revision
        # What stood for it may do so no more: its user's password is another one since.
        if self._clock.seconds() >= session.due or not self._isLive(key):
            self._write(key, session)
        return session

    def _sinceAndDue(self, key: str, origin: Origin) -> tuple[float, float]:
        rows = self._known.get(key, {})
        begun = [float(row.value["since"]) for row in rows.values() if isinstance(row.value.get("since"), int | float)]
        own = rows.get(self.node)
        due = own.expires - _keptSeconds(origin) + _toldSeconds(origin) if own and origin.lingerSeconds else 0.0
        return min(begun, default=self._now()), due

    def _write(self, key: str, session: _Session) -> None:
        origin = session.origin
        value = {
            "user": session.name,
            "protocol": origin.protocol,
            "listener": origin.listener,
            "address": origin.address,
            "software": origin.software[:LONGEST_SOFTWARE],
            "since": round(session.since, 3),
            "seen": round(self._now(), 3),
            "revision": session.revision,
            "of": "" if origin.lingerSeconds else self._incarnation,
        }
        session.due = self._clock.seconds() + _toldSeconds(origin)
        self._rows.put(SESSIONS, key, value, _keptSeconds(origin))

    def _left(self, account: Account) -> None:
        key = publicId(account.origin.session)
        session = self._here.get(key)
        if session is None:
            return
        session.accounts.discard(account)
        if not session.accounts:
            del self._here[key]
            if not account.origin.lingerSeconds:
                self._rows.remove(SESSIONS, key)

    def accounts(self) -> list[Account]:
        """Whoever is in on this node."""
        return [account for session in self._here.values() for account in session.accounts]

    def _refresh(self) -> None:
        self._rows.put(PRESENCE, self.node, {"incarnation": self._incarnation}, PRESENCE_SECONDS)
        now = self._clock.seconds()
        for key, session in list(self._here.items()):
            if now >= session.due:
                self._write(key, session)

    # --- what all nodes know

    def _changed(self, before: Row | None, after: Row | None) -> None:
        row = after or before
        assert row is not None
        rows = self._known.setdefault(row.key, {})
        for gone in [before] if before else []:
            rows.pop(gone.node, None)
        if after is not None:
            rows[after.node] = after
        for index, name in ((self._byUser, _userOf(row)), (self._byAddress, _sourceOf(row))):
            keys = index.setdefault(name, set())
            (keys.add if rows else keys.discard)(row.key)
            if not keys:
                del index[name]
        if not rows:
            del self._known[row.key]

    def _isLive(self, key: str) -> bool:
        return any(self._stands(row) for row in self._known.get(key, {}).values())

    def isKnown(self, session: str) -> bool:
        """Whether some node has told of that session."""
        return self._isLive(publicId(session))

    def _stands(self, row: Row) -> bool:
        """Whether the node that wrote the row is still the process that wrote it, if that matters, and its user may go
        on with it."""
        if self._wasEnded(row) or not self._isOfToday(row):
            return False
        incarnation = row.value.get("of")
        if not incarnation or row.node == self.node:
            return not incarnation or incarnation == self._incarnation
        return any(
            presence.node == row.node and presence.value.get("incarnation") == incarnation
            for presence in self._rows.get(PRESENCE, row.node)
        )

    def _wasEnded(self, row: Row) -> bool:
        """Whether it was ended after it was in use last: the node that wrote the row may not have heard yet. Who gives
        a password with each request may begin anew."""
        seen = row.value.get("seen", float("inf"))
        return any(end.value.get("at", 0.0) >= seen for end in self._rows.get(ENDED, row.key))

    def _isOfToday(self, row: Row) -> bool:
        revision = row.value.get("revision")
        if not isinstance(revision, int):
            return True
        user: User | None = self._document().users.get(_userOf(row))
        return user is not None and user.enabled and revision >= user.credentialsRevision

    def isCutOff(self) -> bool:
        """Whether no other node was heard of for a minute, though there are others: sessions may have been ended since
        without this node knowing."""
        if not set(self._document().nodes) - {self.node}:
            return False
        return all(row.node == self.node for row in self._rows.rows(PRESENCE))

    def _count(self, index: Mapping[str, set[str]], name: str) -> int:
        return sum(map(self._isLive, index.get(name, ())))

    def listed(self) -> Sequence[Mapping[str, Any]]:
        """Every live session of the cluster, oldest first, as plain values."""
        return sorted(self._described(self._known), key=lambda one: (one["since"], one["id"]))

    def listedOf(self, name: str) -> Sequence[Mapping[str, Any]]:
        """Those of one user."""
        return sorted(self._described(self._byUser.get(name, ())), key=lambda one: (one["since"], one["id"]))

    def whose(self, key: str) -> str:
        """Who is in the session of that public id; "" where there is none."""
        return next((one["user"] for one in self._described({key} & self._known.keys())), "")

    def _described(self, keys: Iterable[str]) -> Iterator[dict[str, Any]]:
        for key in keys:
            standing = [row for row in self._known[key].values() if self._stands(row)]
            if standing:
                # Of several nodes that serve it, the one that did so last.
                row = max(standing, key=lambda each: each.expires)
                shown = {name: row.value.get(name, "") for name in ("user", "protocol", "listener", "address")}
                since, seen = row.value.get("since"), row.value.get("seen")
                shown["since"] = since if isinstance(since, int | float) else 0.0
                # A connection is there now.
                isSeen = isinstance(seen, int | float) and not row.value.get("of")
                shown["seen"] = seen if isSeen else round(self._now())
                yield {"id": key, **shown, "node": row.node, "software": row.value.get("software", "")}

    # --- ending

    def kick(self, key: str, reason: str) -> bool:
        """End the session of that public id, wherever it is; whether there is one."""
        if not self._isLive(key):
            return False
        ofConnection = any(row.value.get("of") for row in self._known[key].values())
        self._end(key, "", reason, KICK_SECONDS if ofConnection else self._settings.sessionAbsoluteSeconds)
        return True

    def revoke(self, name: str, session: str, reason: str) -> None:
        """Its user ends a session over HTTP for good: its cookie is refused by every node.

        :raises ClusterError: where the user has done so too often.
        """
        self.endOwn(name, publicId(session), reason)

    def endOwn(self, name: str, key: str, reason: str) -> None:
        """A user ends a session of theirs, by its public id.

        :raises ClusterError: where the user has done so too often.
        """
        if self._endedBy[name] >= MOST_ENDED_OF_A_USER:
            raise ClusterError("too many sessions were ended before their time")
        self._end(key, name, reason, self._settings.sessionAbsoluteSeconds)

    def endAllOf(self, name: str, reason: str) -> int:
        """End whatever sessions a user has, those that no node remembers among them; how many there were.

        :raises ClusterError: where too many sessions were ended before their time.
        """
        value = {"reason": reason, "user": name, "before": int(self._clock.seconds())}
        self._rows.put(ENDED, _allOf(name), value, self._settings.sessionAbsoluteSeconds)
        live = [one["id"] for one in self.listedOf(name)]
        for key in live:
            # What is above holds for those that began in an earlier second, by this node's clock.
            self._end(key, "", reason, KICK_SECONDS)
        return len(live)

    def endedBefore(self, name: str) -> int:
        """Sessions of a user that began before this second have ended."""
        befores = [row.value.get("before") for row in self._rows.get(ENDED, _allOf(name))]
        return max((before for before in befores if isinstance(before, int)), default=0)

    def isRevoked(self, session: str) -> bool:
        """Whether a cookie of that session must not be taken any more."""
        return bool(self._rows.get(ENDED, publicId(session)))

    def _end(self, key: str, by: str, reason: str, seconds: float) -> None:
        self._rows.put(ENDED, key, {"reason": reason, "by": by, "at": round(self._now(), 3)}, seconds)

    def _heardOfEnd(self, before: Row | None, after: Row | None) -> None:
        for row, more in ((before, -1), (after, 1)):
            if row is not None and row.value.get("by"):
                self._endedBy[row.value["by"]] += more
        if before is not None and not self._endedBy[before.value.get("by", "")]:
            del self._endedBy[before.value.get("by", "")]
        if after is None:
            return
        self._rows.remove(SESSIONS, after.key)
        session = self._here.get(after.key)
        for account in list(session.accounts) if session else []:
            account.end(str(after.value.get("reason", "ended")))


def _keptSeconds(origin: Origin) -> float:
    """How long a session's row is good for."""
    return (origin.lingerSeconds or CONNECTION_SECONDS) * 1.25


def _toldSeconds(origin: Origin) -> float:
    """After how long it is written again, at the soonest."""
    return min(origin.lingerSeconds / 4, SEEN_SECONDS) if origin.lingerSeconds else CONNECTION_SECONDS / 4


def _allOf(name: str) -> str:
    """What stands for all sessions of a user, among those that were ended."""
    return f"user {name}"


def _userOf(row: Row) -> str:
    """As whose session a row counts; administrators have no limit, and are no users."""
    return "" if row.value.get("protocol") == ADMINISTRATORS_PROTOCOL else str(row.value.get("user", ""))


def _sourceOf(row: Row) -> str:
    return countedAs(str(row.value.get("address", "")))
