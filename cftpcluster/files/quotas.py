"""Knows what users with a quota hold: counts it, adds what every node added since, and tells the others.

Storage that is a node's own is counted by that node alone, and only there. Of shared storage each node says in a shared
row how much it added and removed since it began, and one of them how much it found when it counted, with what all had
said by then: what is held is what was found, and what was said since. A row that is lost is so no more than what its
node did since the last count.

Counting is a walk through folders: at a user's first log-in, every night, and when something was refused that may have
room by now. It knows no protocol.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ..config.document import Quota, User
from ..errors import FileSystemError
from ..interfaces import IFileSystem, ISessionFiles, ISharedRows, IUsageReport
from ..vocabulary import Kind, Row, Usage, VirtualPath
from ._quotarows import Said, Scan, plainScan, plainUsage, saidBy, scanBy
from .allowance import NOTHING, Allowance
from .wrappers import ability

log = Logger()

QUOTA = "quota"

WAIT_SECONDS = 5.0
"""How long uploads wait at a user's first log-in until it is known what there is."""

PUBLISH_SECONDS = 1.0
ROW_SECONDS = 4 * 86400.0
RETRY_SECONDS = 60.0
RECOUNT_SECONDS = 600.0
"""When something is refused, what was counted longer ago than this is counted anew."""

NIGHT_HOURS = 1, 6
WAKE_SECONDS = 600.0
OLD_SECONDS = 12 * 3600.0
SHORT_SECONDS = 5.0
"""A count that took no longer is repeated where something changed meanwhile."""

COUNTS_AT_ONCE = 2
REPORT_SECONDS = 10.0


@frozen
class Storage:
    """A folder that belongs to a user.

    :ivar shared: whether all nodes see the same there.
    :ivar name: tells it from others.
    :ivar open: begins a session there.
    """

    shared: bool
    name: str
    open: Callable[[], IFileSystem]


@define(eq=False)
class Account:
    """:ivar countedAt: when it was counted here, by the reactor's clock; ``None`` before.
    :ivar failedAt: when that failed.
    """

    allowance: Allowance
    run: str
    usedAt: float
    places: str = ""
    scan: Scan | None = None
    countedAt: float | None = None
    failedAt: float | None = None
    counting: Deferred[None] | None = None
    publishing: IDelayedCall | None = None
    publishedAt: float = float("-inf")
    patience: IDelayedCall | None = None


@define(eq=False)
class Quotas:
    """The quotas of one node.

    :ivar _user: the user of that name in the document, now.
    :ivar _storages: the user's own folders, now, none within another.
    :ivar _now: seconds since the epoch.
    :ivar _random: from 0 to 1.
    :ivar _newId: a word that was never used before.
    """

    _rows: ISharedRows
    _node: str
    _clock: IReactorTime
    _user: Callable[[str], User | None]
    _storages: Callable[[User], Sequence[Storage]]
    _now: Callable[[], float]
    _random: Callable[[], float]
    _newId: Callable[[], str]
    _accounts: dict[str, Account] = field(factory=dict, init=False)
    _places: DeferredSemaphore = field(factory=lambda: DeferredSemaphore(COUNTS_AT_ONCE), init=False)
    _unwatch: Callable[[], None] | None = field(default=None, init=False)
    _waking: IDelayedCall | None = field(default=None, init=False)
    _recountedAt: float = field(default=0.0, init=False)
    _stopped: bool = field(default=False, init=False)

    def start(self) -> None:
        self._unwatch = self._rows.watch(QUOTA, self._rowChanged)
        self._recountedAt = self._now()
        self._wake()

    def stop(self) -> None:
        self._stopped = True
        if self._unwatch is not None:
            self._unwatch()
        for account in self._accounts.values():
            if account.publishing is not None:
                self._publish(account)
            self._forget(account)
        if self._waking is not None and self._waking.active():
            self._waking.cancel()

    def of(self, name: str) -> Allowance | None:
        """The allowance of a user; ``None`` for one without a quota."""
        user = self._user(name)
        if user is None or not (user.quota.bytes or user.quota.files):
            return None
        return self._account(user).allowance

    def refresh(self) -> None:
        """The document has changed: who has other folders is counted anew, who has no quota any more is forgotten."""
        for name, account in list(self._accounts.items()):
            user = self._user(name)
            if user is None or not (user.quota.bytes or user.quota.files):
                # what happens from now on is not counted
                self._forget(account)
                del self._accounts[name]
                self._rows.remove(QUOTA, name)
            elif _placesOf(self._storages(user)) != account.places:
                self._startCount(account, user)

    # --- accounts

    def _account(self, user: User) -> Account:
        account = self._accounts.get(user.name)
        if account is None:
            account = self._accounts[user.name] = self._newAccount(user.name)
            self._recompute(account)
            self._begin(account, user)
        account.usedAt = self._clock.seconds()
        if account.failedAt is not None and account.usedAt - account.failedAt >= RETRY_SECONDS:
            self._startCount(account, user)
        return account

    def _newAccount(self, name: str) -> Account:
        def quota() -> Quota:
            user = self._user(name)
            return Quota() if user is None else user.quota

        allowance = Allowance(name, quota, self._changed, self._refused)
        # what this node said before it was started anew still holds
        said = next((row for row in self._rows.get(QUOTA, name) if row.node == self._node), None)
        before = saidBy(said) if said is not None else None
        if before is not None:
            allowance.added = before.added
        return Account(allowance, before.run if before is not None else self._newId(), self._clock.seconds())

    def _begin(self, account: Account, user: User) -> None:
        storages = self._storages(user)
        account.places = _placesOf(storages)
        self._recompute(account)
        isCounted = account.scan is not None and account.scan.places == account.places
        if isCounted and all(storage.shared for storage in storages):
            self._goOn(account)
            if self._isOld(account):
                self._startCount(account, user)
            return
        account.patience = self._clock.callLater(WAIT_SECONDS, self._goOn, account)
        self._startCount(account, user, shared=not isCounted)

    def _goOn(self, account: Account) -> None:
        """Go by what is known."""
        if account.patience is not None and account.patience.active():
            account.patience.cancel()
        account.patience = None
        account.allowance.isKnown = True
        account.allowance.letGoOn()

    def _forget(self, account: Account) -> None:
        if account.publishing is not None and account.publishing.active():
            account.publishing.cancel()
        account.publishing = None
        # nobody is to wait for what is counted no more
        self._goOn(account)

    # --- counting

    def _startCount(self, account: Account, user: User, shared: bool = True) -> None:
        if account.counting is None and not self._stopped:
            account.failedAt = None
            counting = self._places.run(lambda: Deferred.fromCoroutine(self._count(account, user, shared)))
            account.counting = counting
            _ = counting.addBoth(self._counted, account)

    def _counted(self, failure: Any, account: Account) -> None:
        account.counting = None
        if failure is not None:
            account.failedAt = self._clock.seconds()
            if failure.check(FileSystemError):
                why = failure.getErrorMessage()
                log.info("{user!r}: what it holds could not be counted: {why}", user=account.allowance.user, why=why)
            else:
                log.failure("counting what {user!r} holds broke", failure, user=account.allowance.user)

    async def _count(self, account: Account, user: User, shared: bool) -> None:
        storages = self._storages(user)
        account.places = _placesOf(storages)
        shared = shared and any(storage.shared for storage in storages)
        found: dict[bool, Usage] = {}
        for _ in range(3):
            moves, begin = account.allowance.moves, self._clock.seconds()
            found = {True: NOTHING, False: NOTHING}
            for storage in storages:
                if shared or not storage.shared:
                    found[storage.shared] = found[storage.shared].plus(await _usageOf(storage))
            if moves == account.allowance.moves or self._clock.seconds() - begin > SHORT_SECONDS:
                break
        self._take(account, found[False], found[True] if shared else None)

    def _take(self, account: Account, local: Usage, shared: Usage | None) -> None:
        """So much was found."""
        allowance = account.allowance
        for growing in allowance.all():
            if growing.isGone:
                change = Usage(growing.cost(growing.size), 0)
            elif growing.isUpload:
                change = NOTHING.minus(growing.free)
            else:
                continue
            if not growing.key.shared:
                local = local.plus(change)
            elif shared is not None:
                shared = shared.plus(change)
        allowance.local = local
        if shared is not None:
            seen = {**self._othersSaid(account), self._node: Said(account.run, allowance.added)}
            account.scan = Scan(self._now(), account.places, shared, seen)
            self._publish(account)
        account.countedAt = self._clock.seconds()
        self._recompute(account)
        self._goOn(account)

    def _refused(self, allowance: Allowance) -> None:
        account, user = self._accounts.get(allowance.user), self._user(allowance.user)
        if account is None or user is None:
            return
        isCounted = account.countedAt is not None and self._clock.seconds() - account.countedAt < RECOUNT_SECONDS
        isScanned = account.scan is not None and self._now() - account.scan.time < RECOUNT_SECONDS
        if not (isCounted or isScanned):
            self._startCount(account, user)

    def _wake(self) -> None:
        """Every night, each node at a time of its own: whoever comes first counts what is shared."""
        self._waking = self._clock.callLater(WAKE_SECONDS * (0.5 + self._random()), self._wake)
        first, last = NIGHT_HOURS
        now = self._now()
        if first <= time.localtime(now).tm_hour < last and now - self._recountedAt >= OLD_SECONDS:
            self._recountedAt = now
            self._recount()

    def _recount(self) -> None:
        """Count anew what was used since the last time, and forget the rest."""
        now = self._clock.seconds()
        for name, account in list(self._accounts.items()):
            user = self._user(name)
            if user is None or now - account.usedAt > 2 * OLD_SECONDS:
                self._forget(account)
                del self._accounts[name]
                continue
            self._startCount(account, user, shared=self._isOld(account))
            self._publish(account)

    def _isOld(self, account: Account) -> bool:
        """Whether what is shared has not been counted since last night, by whatever node."""
        scan = account.scan
        return scan is None or scan.places != account.places or self._now() - scan.time >= OLD_SECONDS

    # --- what other nodes know

    def _rowChanged(self, before: Row | None, after: Row | None) -> None:
        row = after or before
        account = self._accounts.get(row.key) if row is not None else None
        if account is not None and row is not None and row.node != self._node:
            self._recompute(account)

    def _othersSaid(self, account: Account) -> dict[str, Said]:
        rows = self._rows.get(QUOTA, account.allowance.user)
        found = {row.node: saidBy(row) for row in rows if row.node != self._node}
        return {node: said for node, said in found.items() if said is not None}

    def _recompute(self, account: Account) -> None:
        """Put together what all nodes said."""
        allowance = account.allowance
        scans = [scanBy(row) for row in self._rows.get(QUOTA, allowance.user)]
        known = [scan for scan in [*scans, account.scan] if scan is not None]
        account.scan = scan = max(known, key=lambda scan: scan.time, default=None)
        seen = scan.seen if scan is not None else {}
        total = scan.total if scan is not None else NOTHING
        for node, said in self._othersSaid(account).items():
            total = total.plus(said.since(seen.get(node)))
        own = Said(account.run, allowance.added)
        allowance.elsewhere = total.plus(own.since(seen.get(self._node))).minus(own.added)

    def _changed(self, allowance: Allowance) -> None:
        account = self._accounts.get(allowance.user)
        if account is None or account.publishing is not None or self._stopped:
            return
        wait = account.publishedAt + PUBLISH_SECONDS - self._clock.seconds()
        if wait <= 0:
            self._publish(account)
        else:
            account.publishing = self._clock.callLater(wait, self._publish, account)

    def _publish(self, account: Account) -> None:
        call, account.publishing = account.publishing, None
        if call is not None and call.active():
            call.cancel()
        if account.scan is None and account.allowance.added == NOTHING:
            return
        account.publishedAt = self._clock.seconds()
        user = account.allowance.user
        value: dict[str, Any] = {"run": account.run, **plainUsage(account.allowance.added)}
        try:
            scan = {"scan": plainScan(account.scan)} if account.scan is not None else {}
            self._rows.put(QUOTA, user, {**value, **scan}, ROW_SECONDS)
        except ValueError:
            # very many nodes: each has to count for itself
            self._rows.put(QUOTA, user, value, ROW_SECONDS)

    # --- for administrators

    async def report(self, user: User) -> Mapping[str, Any]:
        """What a user holds, as this node counts it; counted first where that was not done yet."""
        account = self._account(user)
        if account.counting is not None:
            late = self._clock.callLater(REPORT_SECONDS, account.allowance.letGoOn)
            await account.allowance.known()
            if late.active():
                late.cancel()
        used = account.allowance.used
        return {
            "user": user.name,
            "node": self._node,
            "bytes": max(0, used.bytes),
            "files": max(0, used.files),
            "quota": {"bytes": user.quota.bytes, "files": user.quota.files},
            "complete": account.countedAt is not None or account.scan is not None,
        }


async def _usageOf(storage: Storage) -> Usage:
    files = storage.open()
    try:
        report = ability(IUsageReport, files)
        return await report.usage(()) if report is not None else await _listed(files)
    finally:
        session = ability(ISessionFiles, files)
        if session is not None:
            await session.close()


async def _listed(files: IFileSystem) -> Usage:
    """What can be listed: partials cannot."""
    total = NOTHING
    pending: list[VirtualPath] = [()]
    while pending:
        folder = pending.pop()
        listing = await files.list(folder)
        while batch := await listing.next():
            for entry in batch:
                if entry.stat.kind is Kind.file and not entry.link:
                    total = total.plus(Usage(entry.stat.size, 1))
                elif entry.stat.kind is Kind.folder and not entry.link:
                    pending.append((*folder, entry.name))
    return total


def _placesOf(storages: Sequence[Storage]) -> str:
    """A word for which shared folders these are."""
    names = sorted(storage.name for storage in storages if storage.shared)
    return hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()[:16]
