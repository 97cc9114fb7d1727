"""How the cluster is, in the words of ``cftpctl status``: from what one node knows of itself and of the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from . import __version__
from .activity import DONE
from .config.document import Document
from .journal.entry import Head
from .peering import Peering
from .tables import ACTIVITY, NODES
from .telling import SAID

UNKNOWN = dict.fromkeys(DONE)
"""Of a node that cannot tell what it does."""


@frozen(kw_only=True)
class OwnStatus:
    """How a node is by itself.

    :ivar address: where others reach it, as it was started; the document's entry is stronger.
    :ivar live: the revision that its services have converged on.
    :ivar problems: what is wrong on it.
    :ivar remarks: what an administrator should know although all is well.
    """

    name: str
    address: str
    head: Head
    live: int
    draining: bool
    problems: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def document(self) -> Document:
        return self.head.document

    def report(self) -> dict[str, Any]:
        """What the node tells its primary."""
        own = {"state": "draining"} if self.draining else {}
        return {"live": self.live, "problems": list(self.problems), "version": __version__, **own}


def _row(name: str, own: OwnStatus) -> dict[str, Any]:
    """A node of which nothing is known but its entry in the document."""
    node = own.document.nodes.get(name)
    return {
        "name": name,
        "role": "primary" if name == own.document.promoted.name else "secondary",
        "state": "disconnected",
        "revision": 0,
        "chainHash": "",
        "live": 0,
        "lagSeconds": 0.0,
        "version": "",
        "address": node.address if node else "",
        "problems": [],
        **UNKNOWN,
    }


def ownRow(own: OwnStatus, peering: Peering) -> dict[str, Any]:
    """The row of this very node."""
    isPrimary, follower = peering.publisher.isPrimary, peering.follower
    return {
        **_row(own.name, own),
        "state": ownState(own.draining, peering),
        "revision": own.head.revision,
        "chainHash": own.head.chainHash.hex(),
        "live": own.live,
        "lagSeconds": ownLagSeconds(peering),
        "version": __version__,
        "address": _row(own.name, own)["address"] or own.address,
        "problems": [*([follower.problem] if follower.problem and not isPrimary else []), *own.problems],
        **_doing(own.name, peering),
    }


def ownLagSeconds(peering: Peering) -> float:
    """For how long this node has not had what the primary has."""
    return 0.0 if peering.publisher.isPrimary else peering.following.lagSeconds()


def ownState(isDraining: bool, peering: Peering) -> str:
    """The part that this node has."""
    if isDraining:
        return "draining"
    if not peering.publisher.isPrimary:
        return peering.follower.state
    return "primary" if peering.primacy.standing == "confirmed" else "unconfirmed"


def _rowsOfOthers(own: OwnStatus, peering: Peering) -> list[dict[str, Any]]:
    """What the primary knows, or last said, of the other nodes; without a link to it, what each says of itself that
    there is a link to."""
    if peering.publisher.isPrimary:
        return [_unlinked(row, peering) for row in peering.publisher.rows()]
    linked = peering.follower.publisher is not None
    told = _rowsByName(peering.clusterStatus.get("nodes"))
    rows = []
    for name in own.document.nodes:
        if name != own.name:
            row = {**_row(name, own), **_older(told.get(name, {}), peering.toldSeconds())}
            row = row if linked else {**row, "state": "disconnected", **_heard(name, peering), **UNKNOWN}
            rows.append({**row, **_doing(name, peering)})
    return rows


def _unlinked(row: dict[str, Any], peering: Peering) -> dict[str, Any]:
    """A row of the primary's; a node that does not follow may say itself why."""
    heard = _heard(row["name"], peering) if row["state"] == "disconnected" else {}
    return {**row, **heard, **UNKNOWN, **_doing(row["name"], peering)}


def _older(row: dict[str, Any], seconds: float) -> dict[str, Any]:
    """What was told so long ago: who lagged then does so still, as far as is known here."""
    lag = row.get("lagSeconds")
    isNumber = isinstance(lag, int | float) and not isinstance(lag, bool)
    return {**row, "lagSeconds": round(lag + seconds, 3)} if isNumber and lag else row


def _doing(name: str, peering: Peering) -> dict[str, int]:
    """What a node does, in numbers, where it is this one or there is a link to it."""
    if name != peering.name and name not in peering.mesh.linked():
        return {}
    said = next((row.value for row in peering.rows.get(ACTIVITY, name) if row.node == name), {})
    return {key: said[key] for key in DONE if type(said.get(key)) is int}


def _heard(name: str, peering: Peering) -> dict[str, Any]:
    """What of a node's own word can be shown, where there is a link to it."""
    if name not in peering.mesh.linked():
        return {}
    said = next((row.value for row in peering.rows.get(NODES, name) if row.node == name), {})
    return {key: said[key] for key, kind in SAID.items() if type(said.get(key)) is kind}


def _rowsByName(told: Any) -> dict[str, dict[str, Any]]:
    """What of the primary's word can be shown."""
    rows = [row for row in told if isinstance(row, dict)] if isinstance(told, list) else []
    return {row["name"]: row for row in rows if isinstance(row.get("name"), str)}


def clusterStatus(own: OwnStatus, peering: Peering) -> dict[str, Any]:
    """The cluster as this node knows it."""
    rows = [ownRow(own, peering), *_rowsOfOthers(own, peering)]
    return {
        "node": own.name,
        "role": "primary" if peering.publisher.isPrimary else "secondary",
        "primary": peering.publisher.primary,
        "epoch": own.head.epoch,
        "revision": own.head.revision,
        "chainHash": own.head.chainHash.hex(),
        "warnings": [*warnings(own, peering), *initialPasswords(own.document)],
        "nodes": sorted(rows, key=lambda row: str(row["name"])),
    }


def warnings(own: OwnStatus, peering: Peering) -> list[str]:
    """What an administrator should know although the node serves."""
    found = []
    publisher, state = peering.publisher, peering.follower.state
    if not publisher.isPrimary and state != "following":
        found.append(f"{state}: not following the primary, {publisher.primary or 'unknown'}")
    return [*found, *peering.warnings, *own.remarks]


MOST_NAMED = 5
"""So many parts of a newer version are named; the others are counted."""


def newerParts(document: Document) -> list[str]:
    """What a newer version wrote, and this one keeps without doing anything about it. Looks at every object: belongs in
    a thread."""
    found = [f"a part {key!r}" for key in sorted(document.extra)]
    found += [f"settings: key {key!r}" for key in sorted(document.settings.extra)]
    for section, objects in sorted(document.sections.items()):
        for name in sorted(objects):
            found += [f"{section}/{name}: key {key!r}" for key in sorted(objects[name].extra)]
    more = [f"{len(found) - MOST_NAMED} more such keys"] if len(found) > MOST_NAMED else []
    return [f"{one}, which this version does not know" for one in [*found[:MOST_NAMED], *more]]


def initialPasswords(document: Document) -> list[str]:
    """Warnings of administrators who still have the password that their cluster was founded with; for administrators
    alone, not for whoever may ask whether a node is ready."""
    return [
        f"administrator {name} still has the initial password"
        for name, admin in sorted(document.admins.items())
        if admin.initialPassword
    ]


def unsharedBackends(document: Document) -> list[str]:
    """Warnings of backends that users reach and that differ by node. Looks at every user: belongs in a thread."""
    if len(document.nodes) < 2:
        return []
    owners: tuple[Mapping[str, Any], ...] = (document.groups, document.users)
    mounted = {mount.backend for each in owners for owner in each.values() for mount in owner.mounts}
    return [
        f"backend {name} is not shared between the {len(document.nodes)} nodes: its files differ by node"
        for name, backend in sorted(document.backends.items())
        if not backend.shared and name in mounted
    ]
