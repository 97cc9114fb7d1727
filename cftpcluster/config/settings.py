"""What holds for the whole cluster, as values: the settings, and what the file manager looks like.

What else a document holds is not known here.
"""

from __future__ import annotations

from attrs import Factory, field, frozen

from .named import Options


@frozen(kw_only=True)
class Branding:
    """What the file manager looks like.

    :ivar name: stands at the head of its pages, at most 60 characters; "" for ``Files``.
    :ivar logo: a PNG or SVG picture of at most 64 KiB, in base64; shown 28 pixels high. "" for the built-in one.
    :ivar accentColor: of links and buttons, as ``#rrggbb``; made darker or lighter where it could not be read. ""
        for the built-in one.
    :ivar extra: keys that this version does not know, kept as they came.
    """

    name: str = ""
    logo: str = field(default="", repr=False)
    accentColor: str = ""
    extra: Options = Factory(dict)


@frozen(kw_only=True)
class Settings:
    """Settings of the whole cluster.

    :ivar synchronousFollowers: a change is acknowledged when it is durable on the primary and on so many other nodes; 0
        does not wait for others.
    :ivar drainSeconds: a node that is drained or stopped goes on with transfers for so long, then it ends them.
    :ivar drainGraceSeconds: for the first of these seconds it takes new connections too, while balancers find out by
        ``/readyz`` that it is going.
    :ivar allow: client networks (CIDR) that may connect to listeners for users and administrators; empty means any.
        What listeners, users and groups allow and deny holds besides.
    :ivar deny: client networks that may not; stronger than ``allow``.
    :ivar banAfterFailures: so many failed log-ins of one address (IPv6: of one /64), over all protocols and nodes, ban
        it; 0 bans nobody.
    :ivar banWindowSeconds: within this time.
    :ivar banSeconds: for so long.
    :ivar neverBan: networks (CIDR) that are never banned, delayed or limited by address.
    :ivar sessionsPerAddress: how many sessions one address (IPv6: one /64) may have at the same time, on all nodes; 0
        is no limit.
    :ivar loginsPerMinute: how many log-ins one address may try on one node; 0 is no limit.
    :ivar sessionIdleSeconds: a web session ends when it was not used for so long.
    :ivar sessionAbsoluteSeconds: a web session ends so long after its log-in, however much it is used.
    :ivar leastPasswordCharacters: how long a password has to be that a user chooses; those that administrators give are
        not measured by it.
    :ivar partialSeconds: how long the beginning of a broken upload is kept.
    :ivar historyRevisions: so many revisions stay in the journal; what is older is known only as part of its result.
    :ivar appendUnconfirmed: whether a primary that nobody confirms takes changes: none of the other nodes has answered
        since it started, so one of them may have been promoted meanwhile. What it took then may end as a divergent
        branch.
    :ivar probeNetworks: networks (CIDR) of whoever looks whether ports answer: what comes from there without logging in
        is neither logged nor counted as a failure.
    :ivar auditSeconds: how long each node keeps what happened on it.
    :ivar auditBytes: so much of that at most, on each node's disk; the oldest goes first.
    :ivar branding: what the file manager looks like.
    :ivar revision: the revision of their last change.
    :ivar extra: settings that this version does not know, kept as they came.
    """

    synchronousFollowers: int = 0
    drainSeconds: int = 30
    drainGraceSeconds: int = 5
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    banAfterFailures: int = 10
    banWindowSeconds: int = 600
    banSeconds: int = 3600
    neverBan: tuple[str, ...] = ()
    sessionsPerAddress: int = 0
    loginsPerMinute: int = 0
    sessionIdleSeconds: int = 1800
    sessionAbsoluteSeconds: int = 43200
    leastPasswordCharacters: int = 12
    partialSeconds: int = 86400
    historyRevisions: int = 10000
    appendUnconfirmed: bool = False
    probeNetworks: tuple[str, ...] = ()
    auditSeconds: int = 90 * 86400
    auditBytes: int = 1_000_000_000
    branding: Branding = Branding()
    revision: int = 0
    extra: Options = Factory(dict)
