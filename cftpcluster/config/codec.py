"""Values of the configuration to bytes, and back.

The bytes are lines of canonical JSON: keys sorted, nothing between the tokens. The first line has the format version
and all that is small; then each object of a document, sorted by section and name, or each change of a batch, is a line
of its own, so that no call into the JSON library holds the interpreter for long. Equal values are equal bytes.

What is read may come from a newer version: unknown keys are kept in ``extra``, and a change that this version does not
know or cannot read becomes :class:`~cftpcluster.config.changes.Unknown`. Files and networks are not known here.
"""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from rpds import HashTrieMap

from .._version import __version__
from ..errors import Invalid, NewerFormat
from ..vocabulary import Problem
from ._stored import structureLeniently, unstructure
from ._structure import structure
from .changes import Batch, Change, MergeSettings, Promote, Put, Rehash, Remove, Unknown, apply
from .document import FORMAT_VERSION, SECTIONS, Document, Options, Promoted, Settings, UnknownChange

__all__ = [
    "FORMAT_VERSION",
    "canonical",
    "decodeChange",
    "decodeDocument",
    "encodeChange",
    "encodeDocument",
    "parse",
    "structure",
    "unstructure",
]


def _refuseConstant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_DECODER = json.JSONDecoder(parse_constant=_refuseConstant)


def canonical(plain: Any) -> bytes:
    """The one encoding of plain JSON values."""
    return _ENCODER.encode(plain).encode("ascii")


def parse(data: bytes) -> Any:
    """Plain values from JSON.

    :raises Invalid: where the bytes are none.
    """
    try:
        text = data.decode("utf-8")
        plain, end = _DECODER.raw_decode(text)
        # Canonical text ends there; only other text needs a closer look at what follows.
        return plain if end == len(text) else _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise Invalid([Problem("", f"not JSON: {error}")]) from None


def encodeChange(change: Change) -> bytes:
    if isinstance(change, Batch):
        lines = [canonical(_plainChange(one)) for one in change.changes]
        return b"\n".join([canonical({"format": FORMAT_VERSION, "kind": "batch"}), *lines])
    return canonical({"format": FORMAT_VERSION, **_plainChange(change)})


def decodeChange(data: bytes) -> Change:
    """:raises NewerFormat: the encoding is newer than this software. :raises Invalid: these bytes are no change."""
    plain, lines = _versioned(data, "change")
    if lines or plain.get("kind") == "batch":
        plain["changes"] = [parse(line) for line in lines]
    return _changeFrom(plain)


def encodeDocument(document: Document) -> bytes:
    first = {
        **document.extra,
        "format": FORMAT_VERSION,
        "revision": document.revision,
        "promoted": unstructure(document.promoted),
        "settings": unstructure(document.settings),
        "lastNodeNumber": document.lastNodeNumber,
        "unknown": [{"revision": one.revision, "raw": one.raw} for one in document.unknown],
    }
    lines = [canonical(first)]
    for section in sorted(document.sections):
        objects = document.sections[section]
        lines += [canonical([section, unstructure(objects[name])]) for name in sorted(objects)]
    return b"\n".join(lines)


def decodeDocument(data: bytes) -> Document:
    """:raises NewerFormat: the encoding is newer than this software. :raises Invalid: these bytes are no document."""
    first, lines = _versioned(data, "document")
    try:
        return _documentFrom(first, lines)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Invalid([Problem("", f"not a document: {error}")]) from None


# --- changes


def _plainChange(change: Change) -> dict[str, Any]:
    match change:
        case Put(section, value):
            return {"kind": "put", "section": section, "value": unstructure(value)}
        case Remove(section, name):
            return {"kind": "remove", "section": section, "name": name}
        case MergeSettings(values):
            return {"kind": "mergeSettings", "values": values}
        case Rehash(name, before, after):
            return {"kind": "rehash", "name": name, "before": before, "after": after}
        case Promote(epoch, name, by):
            return {"kind": "promote", "epoch": epoch, "name": name, "by": by}
        case Batch(changes):
            return {"kind": "batch", "changes": [_plainChange(one) for one in changes]}
        case Unknown(raw):
            return dict(raw)


def _changeFrom(plain: Options) -> Change:
    read = _READERS.get(plain.get("kind", "")) if isinstance(plain.get("kind"), str) else None
    if read is not None:
        try:
            return read(plain)
        except (KeyError, TypeError, ValueError, AttributeError):
            # A newer version wrote what this one cannot read: it is kept, and shown as this node's problem.
            pass
    return Unknown({key: value for key, value in plain.items() if key != "format"})


def _readPut(plain: Options) -> Change:
    _onlyKeys(plain, "section", "value")
    return Put(plain["section"], structureLeniently(SECTIONS[plain["section"]].valueClass, plain["value"]))


def _readRemove(plain: Options) -> Change:
    _onlyKeys(plain, "section", "name")
    if plain["section"] not in SECTIONS:
        raise ValueError("unknown section")
    return Remove(plain["section"], structureLeniently(str, plain["name"]))


def _readSettings(plain: Options) -> Change:
    _onlyKeys(plain, "values")
    structureLeniently(Settings, {key: value for key, value in plain["values"].items() if value is not None})
    return MergeSettings(plain["values"])


def _readRehash(plain: Options) -> Change:
    _onlyKeys(plain, "name", "before", "after")
    return Rehash(*(structureLeniently(str, plain[key]) for key in ("name", "before", "after")))


def _readPromote(plain: Options) -> Change:
    _onlyKeys(plain, "epoch", "name", "by")
    texts = [structureLeniently(str, plain[key]) for key in ("name", "by")]
    return Promote(structureLeniently(int, plain["epoch"]), *texts)


def _readBatch(plain: Options) -> Change:
    _onlyKeys(plain, "changes")
    return Batch(tuple([_changeFrom(_mapping(one)) for one in plain["changes"]]))


_READERS = {
    "put": _readPut,
    "remove": _readRemove,
    "mergeSettings": _readSettings,
    "rehash": _readRehash,
    "promote": _readPromote,
    "batch": _readBatch,
}


def _onlyKeys(plain: Options, *keys: str) -> None:
    """A change that says more than this version understands must not be applied in part."""
    if plain.keys() - {"format", "kind", *keys}:
        raise ValueError("unknown keys")


# --- documents


def _documentFrom(first: dict[str, Any], lines: list[bytes]) -> Document:
    unread: list[UnknownChange] = []
    sections: dict[str, HashTrieMap[str, Any]] = {name: HashTrieMap() for name in SECTIONS}
    for line in lines:
        section, raw = parse(line)
        try:
            value = structureLeniently(SECTIONS[section].valueClass, raw)
            sections[section] = sections[section].insert(value.name, value)
        except (ValueError, KeyError):
            unread.append(
                UnknownChange(revision=raw["revision"], raw={"kind": "put", "section": section, "value": raw})
            )
    unread += [UnknownChange(**one) for one in first["unknown"]]
    document = Document(
        revision=structureLeniently(int, first["revision"]),
        promoted=structureLeniently(Promoted, first["promoted"]),
        settings=structureLeniently(Settings, first["settings"]),
        sections=sections,
        lastNodeNumber=structureLeniently(int, first["lastNodeNumber"]),
        extra={key: value for key, value in first.items() if key not in _KEYS},
    )
    return _withUnread(document, unread)


_KEYS = {"format", "revision", "promoted", "settings", "lastNodeNumber", "unknown"}


def _withUnread(document: Document, unread: list[UnknownChange]) -> Document:
    """Objects that an older version could not read are put in place by one that can; the rest stays unknown."""
    kept = []
    revision = document.revision
    for one in unread:
        change = _changeFrom(one.raw)
        if isinstance(change, Put):
            document = apply(evolve(document, revision=one.revision - 1), change)
        else:
            kept.append(one)
    return evolve(document, revision=revision, unknown=tuple(kept))


# --- both


def _versioned(data: bytes, what: str) -> tuple[dict[str, Any], list[bytes]]:
    """The first line, and the others unread."""
    first, *lines = data.split(b"\n")
    plain = _mapping(parse(first))
    version = plain.get("format")
    if type(version) is not int:
        raise Invalid([Problem("", f"not a {what}: it has no format version")])
    if version > FORMAT_VERSION:
        raise NewerFormat(
            f"this {what} has format {version}, of a newer version; "
            f"cftpcluster {__version__} knows up to {FORMAT_VERSION}"
        )
    return plain, lines


def _mapping(plain: Any) -> dict[str, Any]:
    if not isinstance(plain, dict):
        raise Invalid([Problem("", "expected a mapping")])
    return plain
