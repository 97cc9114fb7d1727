"""What two nodes say to each other, as values, and the plain forms in which these cross a link.

A plain form is made of ``None``, booleans, integers, bytes, ASCII text and lists; whatever may hold more than that
(names, texts, numbers with fractions) is canonical JSON in bytes, so that no byte of a name is lost. Everything that is
read is hostile: what does not fit is :class:`~cftpcluster.errors.Refused`. Neither links nor journals are known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from attrs import field, frozen

from .._version import __version__
from ..config.codec import FORMAT_VERSION, canonical, decodeChange, encodeChange, parse
from ..config.document import Options
from ..errors import Invalid, Refused
from ..journal.entry import Entry, Head, Proposal
from ..vocabulary import Author

PROTOCOLS = (1,)
"""Versions of the conversation that this software speaks."""

CHUNK_BYTES = 256 * 1024
"""The most that one message carries, so that nothing waits long behind it."""

_MOST_NAME = 64
_MOST_TEXT = 500
_MOST_PROBLEMS = 100

T = TypeVar("T")


@frozen
class Hello:
    """What both ends say first; the one that dialled begins.

    :ivar node: who speaks; the certificate must say the same.
    :ivar software: its version of cftpcluster.
    :ivar protocols: versions of the conversation that it speaks; in the answer, the one that was chosen.
    :ivar format: the version of the document's encoding that it writes.
    :ivar epoch: the epoch its journal is in; likewise ``revision`` and ``chainHash``.
    :ivar primary: the primary that its journal names.
    :ivar extra: what a newer version says besides.
    """

    node: str
    software: str
    protocols: tuple[int, ...]
    format: int
    epoch: int
    revision: int
    chainHash: bytes
    primary: str
    extra: Options = field(factory=dict)

    @classmethod
    def fromHead(cls, node: str, head: Head) -> Hello:
        """What this node says with its journal at ``head``."""
        primary = head.document.promoted.name
        return cls(node, __version__, PROTOCOLS, FORMAT_VERSION, head.epoch, head.revision, head.chainHash, primary)


def tooOld(hello: Hello) -> str:
    """Why a node cannot read what this software writes; "" where it can."""
    if hello.format >= FORMAT_VERSION:
        return ""
    return (
        f"{hello.node} runs cftpcluster {hello.software}, which reads the configuration up to format {hello.format}; "
        f"cftpcluster {__version__} writes format {FORMAT_VERSION}: upgrade {hello.node}"
    )


@frozen
class SnapshotOffer:
    """A snapshot that a follower may pull.

    :ivar id: what to ask for its chunks by.
    :ivar size: in bytes.
    :ivar diverged: whether the follower has what the publisher's history does not; else it is only far behind.
    """

    id: str
    size: int
    sha256: bytes
    epoch: int
    revision: int
    chainHash: bytes
    diverged: bool


@frozen
class FollowAnswer:
    """Where the publisher's head is. Without a snapshot, the entries up to it follow; with one, they cannot."""

    epoch: int
    revision: int
    chainHash: bytes
    snapshot: SnapshotOffer | None = None


# --- plain forms


def malformed(what: str) -> Refused:
    return Refused(f"malformed message: {what}")


def expect(value: Any, kind: type[T], what: str) -> T:
    """``value``, which must be of exactly that type; numbers must not be negative."""
    if type(value) is not kind or (isinstance(value, int) and value < 0):
        raise malformed(what)
    return value


def plainFromOptions(options: Mapping[str, Any]) -> bytes:
    """Plain JSON values, such as a status."""
    return canonical(options)


def optionsFromPlain(plain: Any, what: str) -> dict[str, Any]:
    try:
        options = parse(expect(plain, bytes, what))
    except Invalid:
        raise malformed(what) from None
    return expect(options, dict, what)


def plainFromHello(hello: Hello) -> bytes:
    fields = {
        "node": hello.node,
        "software": hello.software,
        "protocols": hello.protocols,
        "format": hello.format,
        "epoch": hello.epoch,
        "revision": hello.revision,
        "chainHash": hello.chainHash.hex(),
        "primary": hello.primary,
    }
    return canonical({**hello.extra, **fields})


def helloFromPlain(plain: Any) -> Hello:
    fields = optionsFromPlain(plain, "hello")
    return Hello(
        node=shortText(fields.pop("node", None), _MOST_NAME),
        software=shortText(fields.pop("software", None), _MOST_NAME),
        protocols=tuple(expect(one, int, "protocols") for one in expect(fields.pop("protocols", None), list, "hello")),
        format=expect(fields.pop("format", None), int, "format"),
        epoch=expect(fields.pop("epoch", None), int, "epoch"),
        revision=expect(fields.pop("revision", None), int, "revision"),
        chainHash=_hashFromHex(fields.pop("chainHash", None)),
        primary=shortText(fields.pop("primary", None), _MOST_NAME),
        extra=fields,
    )


def plainFromEntries(entries: Iterable[Entry]) -> list[list[bytes]]:
    return [[entry.body, entry.chainHash] for entry in entries]


def entriesFromPlain(plain: Any) -> list[Entry]:
    entries = []
    for one in expect(plain, list, "entries"):
        body, chainHash = _parts(one, 2, "entry")
        try:
            entries.append(Entry.fromBody(expect(body, bytes, "entry"), expectHash(chainHash)))
        except Invalid:
            raise malformed("entry") from None
    return entries


def batches(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Cut what was read from a journal into pieces that fit one message; an entry that is larger goes alone."""
    start = size = 0
    for index, entry in enumerate(entries):
        size += len(entry.body)
        if index > start and size > CHUNK_BYTES:
            yield entries[start:index]
            start, size = index, len(entry.body)
    if start < len(entries):
        yield entries[start:]


def plainFromAnswer(answer: FollowAnswer) -> list[Any]:
    offer = answer.snapshot
    plainOffer = (
        None
        if offer is None
        else [offer.id, offer.size, offer.sha256, offer.epoch, offer.revision, offer.chainHash, offer.diverged]
    )
    return [answer.epoch, answer.revision, answer.chainHash, plainOffer]


def answerFromPlain(plain: Any) -> FollowAnswer:
    epoch, revision, chainHash, plainOffer = _parts(plain, 4, "answer")
    offer = None
    if plainOffer is not None:
        offerId, size, sha256, offerEpoch, offerRevision, offerHash, diverged = _parts(plainOffer, 7, "offer")
        offer = SnapshotOffer(
            shortText(offerId, _MOST_NAME),
            expect(size, int, "size"),
            expectHash(sha256),
            expect(offerEpoch, int, "epoch"),
            expect(offerRevision, int, "revision"),
            expectHash(offerHash),
            expect(diverged, bool, "offer"),
        )
    return FollowAnswer(expect(epoch, int, "epoch"), expect(revision, int, "revision"), expectHash(chainHash), offer)


def plainFromAuthor(author: Author) -> dict[str, str]:
    plain = {"name": author.name, "role": author.role, "address": author.address}
    return {**plain, "token": author.token, "tokenLabel": author.tokenLabel} if author.token else plain


def authorFromPlain(plain: Any) -> Author:
    fields = expect(plain, dict, "author")
    keys = ("name", "role", "address", *(("token", "tokenLabel") if "token" in fields else ()))
    return Author(*(shortText(fields.get(key), _MOST_TEXT) for key in keys))


def plainFromProposal(proposal: Proposal) -> bytes:
    """A line of JSON, then the encoded change. Encoding many users takes a while: not for the reactor's thread."""
    header = {
        "expected": [[section, name, revision] for (section, name), revision in proposal.expected.items()],
        "author": plainFromAuthor(proposal.author),
        "node": proposal.node,
        "requestId": proposal.requestId,
        "time": float(proposal.time),
    }
    return canonical(header) + b"\n" + encodeChange(proposal.change)


def proposalFromPlain(plain: Any) -> Proposal:
    """As slow as :func:`plainFromProposal`."""
    line, _, change = expect(plain, bytes, "proposal").partition(b"\n")
    header = optionsFromPlain(line, "proposal")
    expected = {}
    for one in expect(header.get("expected"), list, "proposal"):
        section, name, revision = _parts(one, 3, "proposal")
        expected[shortText(section, _MOST_NAME), expect(name, str, "proposal")] = expect(revision, int, "proposal")
    return Proposal(
        change=decodeChange(change),
        expected=expected,
        author=authorFromPlain(header.get("author")),
        node=shortText(header.get("node"), _MOST_NAME),
        requestId=shortText(header.get("requestId"), _MOST_TEXT),
        time=float(expect(header.get("time"), float, "proposal")),
    )


def tidyReport(report: Mapping[str, Any]) -> dict[str, Any]:
    """What a follower says of itself, bounded, and without whatever does not fit."""
    problems = report.get("problems", [])
    live = report.get("live")
    return {
        "state": _textOr(report.get("state"), ""),
        "live": live if type(live) is int and 0 <= live < 2**63 else 0,
        "version": _textOr(report.get("version"), ""),
        "problems": [_textOr(one, "") for one in problems[:_MOST_PROBLEMS]] if isinstance(problems, list) else [],
    }


def shortText(value: Any, most: int) -> str:
    """Text that must not be longer than ``most``."""
    if len(expect(value, str, "text")) > most:
        raise malformed("text is too long")
    return str(value)


def expectHash(value: Any) -> bytes:
    """A SHA-256."""
    if len(expect(value, bytes, "hash")) != 32:
        raise malformed("hash")
    return bytes(value)


def _hashFromHex(value: Any) -> bytes:
    try:
        return expectHash(bytes.fromhex(expect(value, str, "hash")))
    except ValueError:
        raise malformed("hash") from None


def _textOr(value: Any, otherwise: str) -> str:
    return value[:_MOST_TEXT] if isinstance(value, str) else otherwise


def _parts(value: Any, count: int, what: str) -> list[Any]:
    if len(expect(value, list, what)) < count:
        raise malformed(what)
    # A newer version may add to the end.
    return list(value[:count])
