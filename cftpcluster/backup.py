"""The configuration of a cluster and what opens its secrets, as one file: made, proved, and brought back.

A backup holds the document of one revision, the cluster's keys, and key and certificate of the node that made it:
all that another machine needs to be that node. It holds no user's files and no history. In the file, which
:mod:`.archive` seals, a line of JSON says what it is, and where each part begins. How it is asked for is not known
here.
"""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from ._version import __version__
from .archive import openArchive, sealArchive
from .cluster.authority import openAuthority
from .cluster.membership import NodeIdentity
from .cluster.rotation import resealed, sealedObjects, secretsOf
from .cluster.sealing import Sealer
from .config.changes import Batch, Change, Put, Remove
from .config.codec import canonical, decodeDocument, encodeDocument, parse
from .config.document import SECTIONS, Admin, Document, Named, User
from .config.rollback import settingsChange
from .errors import ClusterError, Invalid, NewerFormat
from .founding import Membership
from .journal.entry import Head

FORMAT = 1

RESTORED = tuple(name for name, section in SECTIONS.items() if section.written and name != "nodes")
"""The sections that a running cluster gets back; who its nodes are, and its own keys, stay as they are."""


class BadBackup(ClusterError):
    """What a file holds is no backup that can be brought back."""


@frozen
class Backup:
    """What a backup says.

    :ivar time: when it was made, in seconds since the epoch.
    """

    node: str
    software: str
    time: float
    head: Head
    membership: Membership = field(repr=False)

    @property
    def document(self) -> Document:
        return self.head.document

    def describe(self) -> dict[str, Any]:
        """What it is of, for people and programs; no secret is in it."""
        document = self.document
        return {
            "node": self.node,
            "cluster": openAuthority(document, self.membership.sealer).fingerprint,
            "epoch": self.head.epoch,
            "revision": self.head.revision,
            "date": datetime.fromtimestamp(self.time, UTC).isoformat(timespec="seconds"),
            "version": self.software,
            "chainHash": self.head.chainHash.hex(),
            "objects": {name: len(objects) for name, objects in document.sections.items() if objects},
        }


# --- made and proved


def pack(head: Head, membership: Membership, now: float) -> bytes:
    """A backup in the clear."""
    if not head.revision:
        raise ClusterError("this node has no configuration yet")
    keys = [base64.b64encode(key).decode("ascii") for key in membership.clusterKeys]
    own = {"identity": membership.identity.toPem().decode("ascii"), "clusterKeys": keys}
    parts = {"document": encodeDocument(head.document), "membership": canonical(own)}
    manifest = {
        "format": FORMAT,
        "node": membership.identity.name,
        "software": __version__,
        "time": float(now),
        "epoch": head.epoch,
        "revision": head.revision,
        "chainHash": head.chainHash.hex(),
        "parts": [[name, len(data), hashlib.sha256(data).hexdigest()] for name, data in parts.items()],
    }
    return b"".join([canonical(manifest), b"\n", *parts.values()])


def unpack(plain: bytes) -> Backup:
    """Read what :func:`pack` made, and prove all of it: sums, keys, and that every secret opens.

    :raises BadBackup: where it does not prove itself.
    :raises NewerFormat: where a newer version made it.
    """
    line, _, rest = plain.partition(b"\n")
    try:
        manifest = parse(line)
        if manifest["format"] > FORMAT:
            raise NewerFormat(
                f"this backup was made by cftpcluster {manifest['software']}, in format {manifest['format']}; "
                f"this version, {__version__}, knows up to {FORMAT}"
            )
        parts = dict(_parts(manifest["parts"], rest))
        document = decodeDocument(parts["document"])
        head = Head(manifest["epoch"], manifest["revision"], bytes.fromhex(manifest["chainHash"]), document)
        own = parse(parts["membership"])
        keys = tuple(base64.b64decode(key, validate=True) for key in own["clusterKeys"])
        membership = Membership(NodeIdentity.fromPem(own["identity"].encode("ascii")), Sealer(*keys).keys)
        backup = Backup(str(manifest["node"]), str(manifest["software"]), float(manifest["time"]), head, membership)
        datetime.fromtimestamp(backup.time, UTC)
        _prove(backup)
    except (Invalid, KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
        raise BadBackup(f"the backup cannot be read: {error}") from None
    return backup


def _parts(table: Any, data: bytes) -> Iterator[tuple[str, bytes]]:
    for name, size, digest in table:
        part, data = data[:size], data[size:]
        if hashlib.sha256(part).hexdigest() != digest:
            raise BadBackup(f"the backup's {name} is not as it was")
        yield name, part


def _prove(backup: Backup) -> None:
    head, document = backup.head, backup.document
    if (document.revision, document.promoted.epoch) != (head.revision, head.epoch) or len(head.chainHash) != 32:
        raise BadBackup("the backup's document is of another revision than it says")
    if backup.node not in document.nodes or backup.membership.identity.name != backup.node:
        raise BadBackup("the backup's node is not a member of its cluster")
    sealer = backup.membership.sealer
    for section, value in sealedObjects(document):
        for secret in secretsOf(value).values():
            try:
                sealer.open(secret)
            except ClusterError as error:
                raise BadBackup(f"the backup's keys do not open {section}/{value.name}: {error}") from None


def openBackup(data: bytes, passphrase: bytes) -> Backup:
    """Read a backup's file; ``ClusterError`` in one line where it cannot be."""
    return unpack(openArchive(data, passphrase))


# --- brought back to a running cluster


def restoring(backup: Backup, document: Document, sealer: Sealer) -> Change | None:
    """The change that makes a running cluster's document what the backup's was; ``None`` where it is that already."""
    changes: list[Change] = []
    if settings := settingsChange(document.settings, backup.document.settings):
        changes.append(settings)
    for section in RESTORED:
        changes += _sectionChanges(section, backup, document, sealer)
    return Batch(tuple(changes)) if changes else None


def _sectionChanges(section: str, backup: Backup, document: Document, sealer: Sealer) -> Iterator[Change]:
    present, wanted = document.sections[section], backup.document.sections[section]
    for name, value in sorted(wanted.items()):
        existing = present.get(name)
        if existing is None or not _isSame(value, backup.membership.sealer, existing, sealer):
            yield Put(section, resealed(value, backup.membership.sealer, sealer))
    for name in sorted(set(present) - set(wanted)):
        yield Remove(section, name)


def _isSame(value: Named, opening: Sealer, existing: Named, sealer: Sealer) -> bool:
    """Whether an object is as it was, whenever that was written and however its secrets are sealed."""
    secrets = secretsOf(existing)
    kept: dict[str, Any] = {**secrets, "revision": existing.revision}
    if isinstance(value, User | Admin) and isinstance(existing, User | Admin):
        kept["credentialsRevision"] = existing.credentialsRevision
    if isinstance(existing, Admin):
        kept["initialPassword"] = existing.initialPassword
    if secrets:
        try:
            opened = {name: opening.open(secret) for name, secret in secretsOf(value).items()}
            if opened != {name: sealer.open(secret) for name, secret in secrets.items()}:
                return False
        except ClusterError:
            # What cannot be opened here any more is to be replaced.
            return False
    return evolve(value, **kept) == existing


@define(eq=False, kw_only=True)
class Backups:
    """Makes backups of the node that it runs on, and reads them there.

    :ivar _head: the newest head.
    :ivar _membership: what the node is a member with now.
    """

    _head: Callable[[], Head]
    _membership: Callable[[], Membership]
    _reactor: Any
    _pool: Any

    def make(self, passphrase: bytes) -> Deferred[bytes]:
        """A backup's file, as things are now."""
        head, membership = self._head(), self._membership()

        def made() -> bytes:
            return sealArchive(pack(head, membership, time.time()), passphrase, os.urandom)

        return self._inThread(made)

    def restoring(self, data: bytes, passphrase: bytes) -> Deferred[Change | None]:
        """The change that brings back what a backup's file holds; everything of it is proved before."""
        document, sealer = self._head().document, self._membership().sealer
        return self._inThread(lambda: restoring(openBackup(data, passphrase), document, sealer))

    def _inThread(self, work: Callable[[], Any]) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._pool, work)
