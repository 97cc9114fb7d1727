"""Public keys of users, written as lines of ``authorized_keys`` (sshd(8)).

An option is kept or it is refused; none is passed over. What a key of some type has to look like is not known here.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import re
from collections.abc import Iterator

from attrs import frozen

from ..networks import Network, parseAddress, parseNetwork
from ._messages import shown

KEY_TYPES = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)

KEPT_ANYHOW = frozenset(
    {"restrict", "no-agent-forwarding", "no-port-forwarding", "no-pty", "no-user-rc", "no-x11-forwarding"}
)
"""Options that forbid what this server never does."""

_OPTION = re.compile(r'(?P<name>[A-Za-z0-9-]+)(="(?P<value>(?:[^"\\]|\\.)*)")?(?:,|(?P<end>[ \t]+))')
_TIME = re.compile(r"(?P<day>[0-9]{8})(?P<time>[0-9]{4}|[0-9]{6})?Z?")
_WILD = re.compile(r"[0-9A-Fa-f.:*?]*[*?][0-9A-Fa-f.:*?]*")


@frozen
class Source:
    """One pattern of ``from``.

    :ivar negated: whether who matches may not come in.
    :ivar place: a network, or what an address written out has to match.
    """

    negated: bool
    place: Network | re.Pattern[str]

    def matches(self, address: str) -> bool:
        try:
            parsed = parseAddress(address)
        except ValueError:
            return False
        if isinstance(self.place, re.Pattern):
            return self.place.fullmatch(str(parsed)) is not None
        return parsed in self.place


@frozen
class PublicKey:
    """
    :ivar kind: the type, such as ``ssh-ed25519``.
    :ivar blob: the wire form.
    :ivar sources: where its user may come from with it; none is anywhere.
    :ivar expires: it is worthless from then on.
    """

    kind: str
    blob: bytes
    sources: tuple[Source, ...] = ()
    expires: datetime.datetime | None = None

    @classmethod
    def parse(cls, line: str) -> PublicKey:
        """:raises ValueError: says what is wrong with a line."""
        line = line.strip()
        sources: tuple[Source, ...] = ()
        expires: datetime.datetime | None = None
        if line.split(None, 1)[:1] not in [[kind] for kind in KEY_TYPES]:
            position, sources, expires = _options(line)
            line = line[position:]
        words = line.split(None, 2)
        if len(words) < 2 or words[0] not in KEY_TYPES:
            expected = f"expected a type ({', '.join(KEY_TYPES)}), then the key in base64"
            raise ValueError(f"{shown(line)} is not a public key: {expected}")
        try:
            blob = base64.b64decode(words[1], validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(f"the {words[0]} key is damaged") from None
        # The type stands in the wire form too; a line that contradicts itself is no key.
        if not blob.startswith(len(words[0]).to_bytes(4, "big") + words[0].encode()):
            raise ValueError(f"the {words[0]} key is damaged")
        return cls(words[0], blob, sources, expires)

    def objection(self, address: str, now: float) -> str:
        """Why it does not let in somebody from ``address`` now; "" where it does."""
        if self.expires is not None and self.expires.timestamp() <= now:
            return "the key has expired"
        matching = [source for source in self.sources if source.matches(address)]
        if self.sources and (not matching or any(source.negated for source in matching)):
            return "the key is not good from there"
        return ""


def _options(line: str) -> tuple[int, tuple[Source, ...], datetime.datetime | None]:
    """Where the key begins, and what the options before it say."""
    sources: tuple[Source, ...] = ()
    expires: datetime.datetime | None = None
    position = 0
    seen = set()
    while True:
        option = _OPTION.match(line, position)
        if option is None:
            raise ValueError(f'{shown(line)} is not a public key with options: they are written name or name="value"')
        position = option.end()
        name, value = option["name"].lower(), option["value"]
        if name in seen:
            raise ValueError(f"option {name} is written twice")
        seen.add(name)
        if name == "from" and value is not None:
            sources = tuple(_sources(value.replace('\\"', '"')))
        elif name == "expiry-time" and value is not None:
            expires = _expiry(value)
        elif name not in KEPT_ANYHOW or value is not None:
            known = ", ".join(['from="..."', 'expiry-time="..."', *sorted(KEPT_ANYHOW)])
            raise ValueError(f"option {shown(option['name'])} is not one that is kept here; known: {known}")
        if option["end"]:
            return position, sources, expires


def _sources(patterns: str) -> Iterator[Source]:
    for pattern in patterns.split(","):
        text = pattern.strip()
        negated, text = text.startswith("!"), text.removeprefix("!")
        if _WILD.fullmatch(text):
            expression = re.escape(text.lower()).replace(r"\*", ".*").replace(r"\?", ".")
            yield Source(negated, re.compile(expression))
            continue
        try:
            yield Source(negated, parseNetwork(text))
        except ValueError:
            wanted = "an address, a network such as 192.0.2.0/24, or addresses with * and ?; names are not looked up"
            raise ValueError(f"from: {shown(pattern)} is not {wanted}") from None


def _expiry(text: str) -> datetime.datetime:
    """In UTC, whether it says so (``Z``) or not: nodes may be anywhere."""
    found = _TIME.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        return datetime.datetime.strptime(found["day"] + (found["time"] or "").ljust(6, "0"), "%Y%m%d%H%M%S").replace(
            tzinfo=datetime.UTC
        )
    except ValueError:
        raise ValueError(f"expiry-time: {shown(text)} is not YYYYMMDD or YYYYMMDDHHMM[SS], in UTC") from None
