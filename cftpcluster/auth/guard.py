"""Keeps out who guesses passwords: bans of addresses, delays for names, rates of log-ins; alike on every node.

What happens to a log-in is heard as events, whatever protocol they come from. A ban takes effect where connections are
accepted (:meth:`Guard.refusal`), and for log-ins on connections that stood before it; sessions go on.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ..config.document import Document, Settings
from ..errors import ClusterError
from ..events import Event, LoggedIn, LoginFailed
from ..interfaces import ISharedRows
from ..networks import AddressRule, Network, Networks, countedAs, parseNetwork
from ..vocabulary import Row
from .bans import Ban, Bans, bannedNetwork, networkText
from .counting import SharedCounts
from .credentials import LONGEST_NAME_TOLD, TurnedAway

ADDRESS_FAILURES = "addressFailures"
NAME_FAILURES = "nameFailures"
ARRIVALS = "arrivals"

MOST_COUNTED = 10_000
"""Addresses, and names, whose failures this node remembers."""

FREE_FAILURES = 5
"""So many failures of a name delay nobody."""

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 8.0
"""Each failure beyond doubles the delay, up to this."""

ARRIVAL_SECONDS = 40 * 24 * 3600.0
"""An address where a user logged in is not delayed for so long: longer than from one month's end to the next."""

MINUTE = 60.0

USERS = "users"
ADMINISTRATORS = "administrators"
"""Whose names are meant: users and administrators of one name are not the same."""

ADMINISTRATORS_PROTOCOL = "manager"
"""What events of administrators have in the place of a protocol."""


@define(eq=False)
class Guard:
    """
    :ivar document: the document that is live here.
    :ivar newId: an id that nothing else has.
    :ivar refused: connections refused so far.
    """

    _rows: ISharedRows
    _node: str
    _clock: IReactorTime
    _document: Callable[[], Document]
    _newId: Callable[[], str]
    refused: int = field(default=0, init=False)
    _bans: Bans = field(init=False)
    _byAddress: SharedCounts = field(init=False)
    _byName: SharedCounts = field(init=False)
    _spent: OrderedDict[str, tuple[float, float]] = field(factory=OrderedDict, init=False)
    _exempt: tuple[tuple[object, ...], Networks] | None = field(default=None, init=False)
    _rule: tuple[Settings, AddressRule] | None = field(default=None, init=False)
    _ends: list[Callable[[], None]] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._bans = Bans(self._rows, self._node, self._clock, self._newId)
        self._byAddress = self._counts(ADDRESS_FAILURES)
        self._byName = self._counts(NAME_FAILURES)

    def _counts(self, table: str) -> SharedCounts:
        def windowSeconds() -> float:
            return float(self._settings.banWindowSeconds)

        return SharedCounts(self._rows, table, self._node, self._clock, windowSeconds, MOST_COUNTED)

    def start(self) -> None:
        """Take part in what the nodes know."""
        self._bans.start()
        self._ends = [self._bans.stop, self._rows.watch(ADDRESS_FAILURES, self._heard)]

    def stop(self) -> None:
        while self._ends:
            self._ends.pop()()

    @property
    def _settings(self) -> Settings:
        return self._document().settings

    # --- connections

    def refusal(self, address: str) -> str:
        """Why a connection from ``address`` is refused; "" where it may come in. Cheap, and asked at each."""
        reason = ""
        if self._bans.refuses(address) and not self.exempts(address):
            reason = "banned"
        elif not self.rule.admits(address):
            reason = "network is not allowed"
        self.refused += bool(reason)
        return reason

    @property
    def rule(self) -> AddressRule:
        """The settings' own rule of networks."""
        settings = self._settings
        if self._rule is None or self._rule[0] is not settings:
            rule = AddressRule(Networks(tuple(_networks(settings.allow))), Networks(tuple(_networks(settings.deny))))
            self._rule = (settings, rule)
        return self._rule[1]

    def exempts(self, address: str) -> bool:
        """Whether nothing is ever held against ``address``: neverBan, balancers, probes, and the nodes themselves."""
        document = self._document()
        parts = (document.settings, document.nodes, document.listeners)
        if self._exempt is None or any(one is not other for one, other in zip(self._exempt[0], parts, strict=True)):
            self._exempt = (parts, Networks(tuple(_networks(_exemptions(document)))))
        return address in self._exempt[1]

    # --- log-ins

    def turnAway(self, address: str) -> None:
        """Called once for each log-in, before anything is computed for it.

        :raises TurnedAway: where the address is banned, or logs in too often.
        """
        if self.exempts(address):
            return
        if self._bans.holds(address):
            raise TurnedAway("this address is banned after failed log-ins")
        if not self._spend(countedAs(address), self._settings.loginsPerMinute):
            raise TurnedAway("too many log-ins from this address, try again in a minute")

    def _spend(self, source: str, perMinute: int) -> bool:
        """Take one of the log-ins that ``source`` may make now; they come back evenly, up to a minute's."""
        if not perMinute:
            return True
        now = self._clock.seconds()
        left, since = self._spent.pop(source, (float(perMinute), now))
        left = min(left + (now - since) * perMinute / MINUTE, float(perMinute))
        self._spent[source] = (max(left - 1, 0.0) if left >= 1 else left, now)
        if len(self._spent) > MOST_COUNTED:
            self._spent.popitem(last=False)
        return left >= 1

    def hold(self, whose: str, name: str, address: str) -> Deferred[None]:
        """Fires when a password of ``name`` may be looked at: at once, unless there were many wrong ones lately and
        nobody of that name has logged in from ``address`` before. Whether there is such a name makes no difference."""
        failures = self._byName.total(_digest(whose, name))
        if failures <= FREE_FAILURES or self._hasArrived(whose, name, address) or self.exempts(address):
            return succeed(None)
        doublings = min(failures - FREE_FAILURES - 1, 16)
        return deferLater(self._clock, min(FIRST_DELAY_SECONDS * 2**doublings, LONGEST_DELAY_SECONDS))

    def _hasArrived(self, whose: str, name: str, address: str) -> bool:
        return bool(self._rows.get(ARRIVALS, _digest(whose, name, countedAs(address))))

    def observe(self, event: Event) -> None:
        """Something happened on this node."""
        if isinstance(event, LoginFailed):
            self._failed(_whose(event), event.user, event.origin.address)
        elif isinstance(event, LoggedIn):
            self._arrived(_whose(event), event.user, event.origin.address)

    def _failed(self, whose: str, name: str, address: str) -> None:
        if self.exempts(address):
            return
        digest = _digest(whose, name)
        self._byName.add(digest)
        if self._bans.holds(address):
            return
        source = countedAs(address)
        self._judge(source, self._byAddress.add(source, digest))

    def _heard(self, before: Row | None, after: Row | None) -> None:
        """Another node counted a failure: together with those here it may be enough. Without any here it is for others
        to see that."""
        if after is not None and after.node != self._node and self._byAddress.isCounted(after.key):
            self._judge(after.key, self._byAddress.total(after.key))

    def _judge(self, source: str, failures: int) -> None:
        settings = self._settings
        if not settings.banAfterFailures or failures < settings.banAfterFailures:
            return
        try:
            network = bannedNetwork(source)
        except ValueError:
            return
        address = str(network.network_address)
        # What led to a ban does not lead to another one after it.
        self._byAddress.forget(source)
        if not self._bans.holds(address) and not self.exempts(address):
            reason = f"{failures} failed log-ins within {settings.banWindowSeconds} s"
            self._bans.ban(network, settings.banSeconds, reason)

    def _arrived(self, whose: str, name: str, address: str) -> None:
        # A client that tries all its keys before the right one is no guesser.
        self._byAddress.forgive(countedAs(address), _digest(whose, name))
        key = _digest(whose, name, countedAs(address))
        half = self._clock.seconds() + ARRIVAL_SECONDS / 2
        if not any(row.expires > half for row in self._rows.get(ARRIVALS, key)):
            self._rows.put(ARRIVALS, key, {}, ARRIVAL_SECONDS)

    # --- for administrators

    def bans(self) -> Sequence[Ban]:
        """Those that hold, by network."""
        return sorted(self._bans.listed(), key=lambda ban: ban.network)

    def ban(self, text: str, seconds: float | None, reason: str, by: str) -> Ban:
        """Ban an address or network. ``ClusterError`` for what is none, or is never banned."""
        network = self._network(text)
        if network.num_addresses == 1 and self.exempts(str(network.network_address)):
            raise ClusterError(f"{text} is never banned: it is a node, a balancer, a probe, or in neverBan")
        self._bans.ban(network, seconds or self._settings.banSeconds, reason or "by hand", by)
        return next(ban for ban in self._bans.listed() if ban.network == networkText(network))

    def lift(self, text: str) -> bool:
        """Whether ``text`` was banned, and is no more. ``ClusterError`` for what is no address or network."""
        network = self._network(text)
        self._byAddress.forget(networkText(network))
        return self._bans.lift(network)

    def covering(self, text: str) -> str:
        """The banned network that an address lies in; "" where there is none."""
        try:
            return next((ban.network for ban in self._bans.listed() if text in Networks.parse([ban.network])), "")
        except ValueError:
            return ""

    def _network(self, text: str) -> Network:
        try:
            return bannedNetwork(text)
        except ValueError:
            raise ClusterError(f"{text!r} is neither an address nor a network such as 192.0.2.0/24") from None


def _whose(event: LoginFailed | LoggedIn) -> str:
    return ADMINISTRATORS if event.origin.protocol == ADMINISTRATORS_PROTOCOL else USERS


def _digest(*texts: str) -> str:
    """A key of bounded length for whatever clients call themselves."""
    parts = (text[:LONGEST_NAME_TOLD].encode("utf-8", "surrogatepass") for text in texts)
    return hashlib.sha256(b"".join(b"%d:%s" % (len(part), part) for part in parts)).hexdigest()[:32]


def _exemptions(document: Document) -> Iterator[str]:
    yield from document.settings.neverBan
    yield from document.settings.probeNetworks
    for node in document.nodes.values():
        yield node.address
        for overrides in node.listeners.values():
            given = overrides.get("trustedProxies")
            yield from given if isinstance(given, list | tuple) else ()
    for listener in document.listeners.values():
        yield from listener.trustedProxies


def _networks(texts: Iterator[str] | Sequence[str]) -> Iterator[Network]:
    """Those that are networks; a node's address may be a name."""
    for text in texts:
        try:
            yield parseNetwork(text)
        except (ValueError, TypeError):
            continue
