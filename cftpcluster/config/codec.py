"""Values of the configuration to bytes, and back.

The bytes are canonical JSON: keys sorted, nothing between the tokens, objects of a section sorted by name. Equal values
are equal bytes. What is read may come from a newer version: unknown keys are kept in ``extra``, and a change that this
version does not know or cannot read becomes :class:`~cftpcluster.config.changes.Unknown`. Files and networks are not
known here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import evolve
from rpds import HashTrieMap

from ..errors import Invalid, NewerFormat
from ..vocabulary import Problem
from ._structure import structure, structureLeniently, unstructure
from .changes import Batch, Change, MergeSettings, Promote, Put, Remove, Unknown, apply
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


def canonical(plain: Any) -> bytes:
    """The one encoding of plain JSON values."""
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def parse(data: bytes) -> Any:
    """Plain values from JSON.

    :raises Invalid: where the bytes are none.
    """
    try:
        return json.loads(data, parse_constant=_refuseConstant)
    except (ValueError, RecursionError) as error:
        raise Invalid([Problem("", f"not JSON: {error}")]) from None


def encodeChange(change: Change) -> bytes:
    return canonical({"format": FORMAT_VERSION, **_plainChange(change)})


def decodeChange(data: bytes) -> Change:
    """:raises NewerFormat: the encoding is newer than this software. :raises Invalid: these bytes are no change."""
    return _changeFrom(_versioned(data, "change"))


def encodeDocument(document: Document) -> bytes:
    sections = {
        name: [unstructure(value) for _, value in sorted(objects.items())]
        for name, objects in document.sections.items()
        if objects
    }
    return canonical(
        {
            **document.extra,
            "format": FORMAT_VERSION,
            "revision": document.revision,
            "promoted": unstructure(document.promoted),
            "settings": unstructure(document.settings),
            "sections": {**document.extra.get("sections", {}), **sections},
            "lastNodeNumber": document.lastNodeNumber,
            "unknown": [{"revision": one.revision, "raw": one.raw} for one in document.unknown],
        }
    )


def decodeDocument(data: bytes) -> Document:
    """:raises NewerFormat: the encoding is newer than this software. :raises Invalid: these bytes are no document."""
    plain = _versioned(data, "document")
    try:
        return _documentFrom(plain)
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


def _readPromote(plain: Options) -> Change:
    _onlyKeys(plain, "epoch", "name", "by")
    texts = [structureLeniently(str, plain[key]) for key in ("name", "by")]
    return Promote(structureLeniently(int, plain["epoch"]), *texts)


def _readBatch(plain: Options) -> Change:
    _onlyKeys(plain, "changes")
    return Batch(tuple(_changeFrom(one) for one in plain["changes"]))


_READERS = {
    "put": _readPut,
    "remove": _readRemove,
    "mergeSettings": _readSettings,
    "promote": _readPromote,
    "batch": _readBatch,
}


def _onlyKeys(plain: Options, *keys: str) -> None:
    """A change that says more than this version understands must not be applied in part."""
    if plain.keys() - {"format", "kind", *keys}:
        raise ValueError("unknown keys")


# --- documents


def _documentFrom(plain: dict[str, Any]) -> Document:
    unread: list[UnknownChange] = []
    sections: dict[str, HashTrieMap[str, Any]] = {}
    for name, section in SECTIONS.items():
        objects = {}
        for raw in plain["sections"].pop(name, ()):
            try:
                value = structureLeniently(section.valueClass, raw)
                objects[value.name] = value
            except ValueError:
                kept = {"kind": "put", "section": name, "value": raw}
                unread.append(UnknownChange(revision=raw["revision"], raw=kept))
        sections[name] = HashTrieMap(objects)
    unread += [UnknownChange(**one) for one in plain["unknown"]]
    document = Document(
        revision=structureLeniently(int, plain["revision"]),
        promoted=structureLeniently(Promoted, plain["promoted"]),
        settings=structureLeniently(Settings, plain["settings"]),
        sections=sections,
        lastNodeNumber=structureLeniently(int, plain["lastNodeNumber"]),
        extra={key: value for key, value in plain.items() if key not in _KEYS},
    )
    if plain["sections"]:
        document = evolve(document, extra={**document.extra, "sections": plain["sections"]})
    return _withUnread(document, unread)


_KEYS = {"format", "revision", "promoted", "settings", "sections", "lastNodeNumber", "unknown"}


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


def _versioned(data: bytes, what: str) -> dict[str, Any]:
    plain = parse(data)
    version = plain.get("format") if isinstance(plain, Mapping) else None
    if not isinstance(plain, dict) or type(version) is not int:
        raise Invalid([Problem("", f"not a {what}: it has no format version")])
    if version > FORMAT_VERSION:
        raise NewerFormat(f"this {what} has format {version}; this version of cftpcluster knows up to {FORMAT_VERSION}")
    return plain


def _refuseConstant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")
