"""Whether a node that claims to be primary is believed, and what another node's place in the history means to this one:
the rules that fence off whoever was promoted no longer.

Pure: neither links nor journals are known here.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from ..config.changes import Batch, Change, Promote
from ..config.codec import decodeChange
from ..errors import ClusterError, Refused
from ..journal.entry import Entry, Head
from .messages import FollowAnswer, Hello

MOST_PROMOTION_BYTES = 1024 * 1024


class Standing(enum.Enum):
    """What another node is, by what it says of itself, to this one."""

    behind = "behind"
    """It has nothing that is missing here, as far as can be told."""
    ahead = "ahead"
    """It has more of the same epoch, of the same primary."""
    forked = "forked"
    """It has another history of the same epoch and primary, of the same length."""
    rival = "rival"
    """It has another primary for the same epoch."""
    naming = "naming"
    """It is in a later epoch, whose primary is this node."""
    superseding = "superseding"
    """It is in a later epoch, whose primary is another node."""


def standingOf(hello: Hello, head: Head, node: str) -> Standing:
    """What the node that says ``hello`` is to ``node``, whose journal is at ``head``."""
    if hello.epoch > head.epoch:
        return Standing.naming if hello.primary == node else Standing.superseding
    if hello.epoch < head.epoch or not head.revision:
        return Standing.behind
    if hello.primary != head.document.promoted.name:
        return Standing.rival
    if hello.revision == head.revision:
        return Standing.behind if hello.chainHash == head.chainHash else Standing.forked
    return Standing.ahead if hello.revision > head.revision else Standing.behind


def requireClaim(own: Head, node: str, claimant: str, answer: FollowAnswer, resync: bool, leastEpoch: int = 0) -> bool:
    """Check what ``claimant`` answered to this ``node``, whose journal is at ``own``. True where this journal names it
    as the primary of that epoch already; else the record that does is still to be shown.

    :param resync: whether the operator wants this node to take what the primary has, even if that is less.
    :param leastEpoch: that of the journal that this node had and lost; it counts while the new one is empty.
    :raises Refused: where it is not believed.
    """
    named = own.document.promoted.name
    if answer.epoch < own.epoch:
        raise Refused(f"{claimant} is in epoch {answer.epoch}, before this node's {own.epoch}")
    if answer.epoch < leastEpoch and not own.revision:
        raise Refused(f"{claimant} is in epoch {answer.epoch}, before {leastEpoch}, which this node's lost journal had")
    if answer.epoch == own.epoch and own.revision and claimant != named:
        raise Refused(f"{claimant} claims to be primary of epoch {own.epoch}, whose primary is {named}")
    offer = answer.snapshot
    if offer is not None:
        if (offer.epoch, offer.revision) > (answer.epoch, answer.revision) or offer.epoch < own.epoch:
            raise Refused(f"{claimant} offers a snapshot of epoch {offer.epoch}, revision {offer.revision}")
        # A primary that was superseded gives up what only it had; everybody else keeps what the claimant lacks.
        wasPrimary = named == node and answer.epoch > own.epoch
        if offer.revision < own.revision and not wasPrimary and not resync:
            raise Refused(
                f"{claimant} has revision {offer.revision} only, this node has {own.revision}; "
                "resync makes this node take it all the same"
            )
    return answer.epoch == own.epoch and claimant == named


def promotes(entries: Iterable[Entry], own: Head, claimant: str, epoch: int) -> bool:
    """Whether these entries, which follow on ``own``, hold the record that makes ``claimant`` primary of ``epoch``."""
    before = own.epoch
    for entry in entries:
        if entry.epoch != before and len(entry.change) <= MOST_PROMOTION_BYTES:
            before = entry.epoch
            if entry.epoch == epoch and any(one.name == claimant for one in _promotions(entry)):
                return True
    return False


def _promotions(entry: Entry) -> list[Promote]:
    try:
        return list(_promotionsIn(decodeChange(entry.change)))
    except ClusterError:
        # The journal will say what is wrong with it.
        return []


def _promotionsIn(change: Change) -> Iterable[Promote]:
    if isinstance(change, Promote):
        yield change
    elif isinstance(change, Batch):
        for one in change.changes:
            yield from _promotionsIn(one)
