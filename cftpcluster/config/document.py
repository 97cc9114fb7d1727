"""The configuration of a cluster as one immutable value.

Everything here is pure: equal documents encode to equal bytes on every node. What is local to a node (its state
folder, the address it binds, its own key) is not in the document.

A document is a set of *sections*, each a persistent map from name to value; :data:`SECTIONS` is the one table of them.
Options that belong to a kind of component (``root`` of a local backend, ``tls`` of an FTP listener) are kept as they
came, in ``options``, so that a node that lacks the plug-in, or is older, loses nothing.
"""

from __future__ import annotations

import datetime
import enum
import re
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from attrs import Factory, field, frozen
from rpds import HashTrieMap

from ..vocabulary import Permission

FORMAT_VERSION = 1
"""Version of the document's encoding; a node refuses a snapshot or entry of a higher one."""

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
"""What every name in a document must match, whole; names are case-sensitive."""

Options: TypeAlias = Mapping[str, Any]
"""Plain JSON values by key; never changed in place."""


@frozen
class Secret:
    """Key material, sealed with the cluster key (see :mod:`cftpcluster.cluster.sealing`); its repr hides it."""

    sealed: bytes = field(repr=False)


class Role(enum.Enum):
    """What an administrator may do: everything; users and groups; look only."""

    full = "full"
    users = "users"
    auditor = "auditor"


class Protocol(enum.Enum):
    ftp = "ftp"
    sftp = "sftp"
    https = "https"


class Method(enum.Enum):
    """How a user proves who it is: by an SSH key, by a TLS client certificate, by a password, or by a password that
    SSH's method ``keyboard-interactive`` asks for."""

    publickey = "publickey"
    certificate = "certificate"
    password = "password"
    keyboardInteractive = "keyboard-interactive"


class OwnPart(enum.Enum):
    """What users may be let change of themselves: their password, their SSH keys."""

    password = "password"
    publicKeys = "publicKeys"


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


@frozen(kw_only=True)
class Named:
    """What every object of a section has.

    :ivar name: names the object within its section.
    :ivar revision: the revision of its last change; never part of what an administrator writes.
    :ivar extra: keys that this version does not know, kept as they came.
    """

    name: str
    revision: int = 0
    extra: Options = Factory(dict)


@frozen(kw_only=True)
class Component(Named):
    """An object that a plug-in's factory of the same ``kind`` builds from ``options``.

    :ivar kind: what it is; decides which options it has.
    :ivar options: those of its kind, written beside its other keys.
    """

    kind: str
    options: Options = Factory(dict)


@frozen(kw_only=True)
class Backend(Component):
    """Storage for users' files.

    :ivar shared: every node sees the same files there.
    """

    shared: bool = False


@frozen(kw_only=True)
class Checker(Component):
    """Decides who may log in. Checkers are asked in the order of their names."""


@frozen(kw_only=True)
class Observer(Component):
    """Is told what happens on a node."""


@frozen(kw_only=True)
class Mount:
    """A folder of a backend, seen at ``path`` of a user's tree.

    :ivar path: where the user sees it, such as ``/`` or ``/in/box``.
    :ivar backend: the name of the backend.
    :ivar folder: the folder of the backend, made when it is missing; "" is all of it.
    :ivar permissions: what the user may do there.
    :ivar atomicUploads: others see an upload only when it is complete.
    :ivar extra: keys that this version does not know, kept as they came.
    """

    path: str
    backend: str
    folder: str = ""
    permissions: frozenset[Permission] = frozenset(set(Permission) - {Permission.links})
    atomicUploads: bool = True
    extra: Options = Factory(dict)


@frozen(kw_only=True)
class Group(Named):
    """Mounts that several users share.

    :ivar mounts: folders of backends that its users see; a user's own mount at the same path comes before.
    :ivar allow: client networks (CIDR) that log-ins of its users may come from; empty means any.
    :ivar deny: client networks that they may not come from; stronger than ``allow``.
    :ivar authentication: as a user's, for its users that have none; of several groups the first one that has some.
    :ivar mayChange: what its users may change of themselves besides what they are let as users.
    """

    mounts: tuple[Mount, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    authentication: tuple[tuple[Method, ...], ...] = ()
    mayChange: frozenset[OwnPart] = frozenset()


@frozen(kw_only=True)
class Quota:
    """How much a user's own mounts may hold.

    :ivar bytes: lengths of all files together, unfinished uploads among them; 0 is no limit.
    :ivar files: number of files, unfinished uploads among them; 0 is no limit.
    :ivar extra: keys that this version does not know, kept as they came.
    """

    bytes: int = 0
    files: int = 0
    extra: Options = Factory(dict)


@frozen(kw_only=True)
class Limits:
    """What a user may do at once.

    :ivar sessions: how many sessions at the same time, on all nodes and over all protocols together; 0 is no limit.
    :ivar downloadBytesPerSecond: how fast, all its sessions on one node together, at least 1024; 0 is no limit.
    :ivar uploadBytesPerSecond: as ``downloadBytesPerSecond``, the other way.
    :ivar extra: keys that this version does not know, kept as they came.
    """

    sessions: int = 0
    downloadBytesPerSecond: int = 0
    uploadBytesPerSecond: int = 0
    extra: Options = Factory(dict)


@frozen(kw_only=True)
class User(Named):
    """A user of the file services.

    :ivar passwordHash: argon2id, bcrypt or ``$6$`` in their usual text forms; "" when there is no password.
    :ivar publicKeys: lines as in ``authorized_keys``. Of the options ``from`` (addresses and networks, no names) and
        ``expiry-time`` (UTC) are kept, ``restrict`` and ``no-...`` always are; a line with others is refused.
    :ivar enabled: whether it may log in.
    :ivar expires: log-ins are refused from then on.
    :ivar protocols: what it may log in over; ``ftp`` with TLS and without.
    :ivar allow: client networks (CIDR) that log-ins may come from; empty means any.
    :ivar deny: client networks that they may not come from; stronger than ``allow``.
    :ivar authentication: what has to be proven, in order, to log in, such as ``[[publickey, password]]``; of several
        lists any one will do. Empty: what the groups say, else any one of ``publickey``, ``certificate``, ``password``
        and ``keyboard-interactive``. HTTPS takes a password and nothing else, so it needs the list ``[password]``; so
        does FTP, where it may be ``[certificate]`` or ``[certificate, password]``, too.
    :ivar mayChange: what it may change of itself over HTTPS: ``password``, ``publicKeys``; nothing unless it is said.
    :ivar groups: names of groups, the first one's mounts first.
    :ivar mounts: the folders that make up its tree.
    :ivar quota: how much its own mounts may hold.
    :ivar limits: what it may do at once.
    :ivar credentialsRevision: sessions that logged in before this revision have ended; set by ``apply`` alone.
    """

    passwordHash: str = field(default="", repr=False)
    publicKeys: tuple[str, ...] = ()
    enabled: bool = True
    expires: datetime.datetime | None = None
    protocols: frozenset[Protocol] = frozenset(Protocol)
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    authentication: tuple[tuple[Method, ...], ...] = ()
    groups: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    quota: Quota = Quota()
    limits: Limits = Limits()
    mayChange: frozenset[OwnPart] = frozenset()
    credentialsRevision: int = 0


@frozen(kw_only=True)
class Admin(Named):
    """An administrator.

    :ivar passwordHash: as a user's; "" when there is no password.
    :ivar role: ``full`` may do everything, ``users`` may change users and groups, ``auditor`` may look only.
    :ivar enabled: whether it may log in.
    :ivar credentialsRevision: as a user's.
    :ivar initialPassword: whether the password is the one that was made when the cluster was founded; ``apply`` ends
        that with the password, and nobody writes it.
    """

    passwordHash: str = field(default="", repr=False)
    role: Role = Role.auditor
    enabled: bool = True
    credentialsRevision: int = 0
    initialPassword: bool = False


@frozen(kw_only=True)
class Listener(Component):
    """A port that every node serves; ``options`` are those of its kind.

    :ivar port: the TCP port, on every node that has none of its own for this listener.
    :ivar allow: client networks (CIDR) that may connect; empty means any, but for the kinds ``manager`` and ``health``
        loopback and private networks.
    :ivar deny: client networks that may not; stronger than ``allow``.
    :ivar proxyProtocol: whether connections start with a PROXY header, which says who the client really is. ``off``:
        none does; ``optional``: those from ``trustedProxies`` must, within 5 seconds, others must not; ``required``:
        only ``trustedProxies`` may connect. Passive data ports of FTP follow.
    :ivar trustedProxies: networks (CIDR) of the balancers that are believed.
    :ivar certificate: name of the certificate for TLS.
    """

    port: int
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    proxyProtocol: Literal["off", "optional", "required"] = "off"
    trustedProxies: tuple[str, ...] = ()
    certificate: str = "default"


@frozen(kw_only=True)
class Certificate(Named):
    """A certificate for TLS.

    :ivar chain: PEM certificates, the server's own first.
    :ivar key: its private key, in PEM.
    """

    chain: str
    key: Secret


@frozen(kw_only=True)
class HostKey(Named):
    """An SSH host key, the same on every node: Ed25519 or RSA, or ECDSA for listeners with ``legacyAlgorithms``.

    :ivar key: the private key, OpenSSH's or PKCS#8, in PEM.
    :ivar since: the revision that it came with; of several keys of a type the oldest is in use. Set by ``apply`` alone.
    """

    key: Secret
    since: int = 0


@frozen(kw_only=True)
class Node(Named):
    """A member of the cluster. It comes by a join, never by being written.

    :ivar number: given once, never reused.
    :ivar address: where other nodes reach it.
    :ivar fingerprint: SHA-256 of its public key (SubjectPublicKeyInfo), lower-case hex.
    :ivar publicKey: that key, DER in base64: what is for this node alone is sealed for it.
    :ivar listeners: overrides by listener's name, such as ``{"ftp": {"port": 21}}``.
    """

    address: str
    number: int = 0
    fingerprint: str = ""
    publicKey: str = ""
    listeners: Mapping[str, Options] = Factory(dict)


@frozen(kw_only=True)
class ClusterKey(Named):
    """A key that the cluster made for itself: ``authority`` (the CA), ``sessions``, and what nodes need to follow when
    these are replaced.

    :ivar public: the public part, such as the CA's certificate (PEM).
    """

    public: str = ""
    key: Secret


@frozen(kw_only=True)
class JoinToken(Named):
    """A token's public half; the name is its id.

    :ivar node: the node's name that it is for.
    :ivar secretHash: SHA-256 of the token's secret, lower-case hex.
    :ivar expires: seconds since the epoch.
    :ivar boundTo: fingerprint of the first public key that used it; "" before.
    """

    node: str
    secretHash: str = field(repr=False)
    expires: float
    boundTo: str = ""


class Scope(enum.Enum):
    """What an API token is good for: looking; what role ``users`` may do; what role ``full`` may."""

    read = "read"
    users = "users"
    full = "full"


@frozen(kw_only=True)
class ApiToken(Named):
    """What the document keeps of an API token; the name is its id. Whoever has it may ask in place of the administrator
    who made it, for as long as that one has the same password and is enabled.

    :ivar label: what the administrator calls it.
    :ivar admin: the administrator's name.
    :ivar credentialsRevision: the administrator's when it was made.
    :ivar scopes: what it is good for, never more than its administrator's role.
    :ivar secretHash: SHA-256 of the token's secret, lower-case hex.
    :ivar created: seconds since the epoch, as ``expires``.
    :ivar expires: it is good until then.
    """

    label: str
    admin: str
    credentialsRevision: int
    scopes: tuple[Scope, ...]
    secretHash: str = field(repr=False)
    created: float
    expires: float


@frozen(kw_only=True)
class Promoted:
    """Who is primary, since which epoch, and who said so."""

    epoch: int = 0
    name: str = ""
    by: str = ""


@frozen(kw_only=True)
class Section:
    """One kind of named objects.

    :ivar name: the section's key in a document, such as ``users``.
    :ivar noun: one of its objects, as ``cftpctl`` names it, such as ``user``.
    :ivar valueClass: the class of its objects.
    :ivar written: whether administrators write it (``apply``, ``export``, REST); the rest the cluster keeps for itself.
    :ivar pruned: whether ``apply --prune`` may remove objects of it.
    """

    name: str
    noun: str
    valueClass: type[Named]
    written: bool = True
    pruned: bool = True


SECTIONS: Mapping[str, Section] = {
    section.name: section
    for section in (
        Section(name="backends", noun="backend", valueClass=Backend),
        Section(name="groups", noun="group", valueClass=Group),
        Section(name="users", noun="user", valueClass=User),
        Section(name="admins", noun="admin", valueClass=Admin),
        Section(name="certificates", noun="certificate", valueClass=Certificate, pruned=False),
        Section(name="hostKeys", noun="hostkey", valueClass=HostKey, pruned=False),
        Section(name="listeners", noun="listener", valueClass=Listener),
        Section(name="checkers", noun="checker", valueClass=Checker),
        Section(name="observers", noun="observer", valueClass=Observer),
        Section(name="nodes", noun="node", valueClass=Node, pruned=False),
        Section(name="keys", noun="key", valueClass=ClusterKey, written=False, pruned=False),
        Section(name="tokens", noun="token", valueClass=JoinToken, written=False, pruned=False),
        Section(name="apiTokens", noun="API token", valueClass=ApiToken, written=False, pruned=False),
    )
}


@frozen(kw_only=True)
class UnknownChange:
    """A change that a newer version made, and this one cannot apply.

    :ivar revision: the revision it made.
    :ivar raw: the change as it came.
    """

    revision: int
    raw: Options


def _emptySections() -> Mapping[str, HashTrieMap[str, Named]]:
    return {name: HashTrieMap() for name in SECTIONS}


@frozen(kw_only=True)
class Document:
    """The whole configuration at one revision.

    :ivar revision: how many changes made it.
    :ivar promoted: who is primary.
    :ivar sections: section name to its objects by name.
    :ivar lastNodeNumber: the highest number that a node was given; numbers are never reused.
    :ivar unknown: changes that this version does not know or cannot read, as they came, oldest first.
    :ivar extra: parts of the document that this version does not know, kept as they came.
    """

    revision: int = 0
    promoted: Promoted = Promoted()
    settings: Settings = Settings()
    sections: Mapping[str, HashTrieMap[str, Any]] = Factory(_emptySections)
    lastNodeNumber: int = 0
    unknown: tuple[UnknownChange, ...] = ()
    extra: Options = Factory(dict)

    @property
    def backends(self) -> HashTrieMap[str, Backend]:
        return self.sections["backends"]

    @property
    def groups(self) -> HashTrieMap[str, Group]:
        return self.sections["groups"]

    @property
    def users(self) -> HashTrieMap[str, User]:
        return self.sections["users"]

    @property
    def admins(self) -> HashTrieMap[str, Admin]:
        return self.sections["admins"]

    @property
    def certificates(self) -> HashTrieMap[str, Certificate]:
        return self.sections["certificates"]

    @property
    def hostKeys(self) -> HashTrieMap[str, HostKey]:
        return self.sections["hostKeys"]

    @property
    def listeners(self) -> HashTrieMap[str, Listener]:
        return self.sections["listeners"]

    @property
    def checkers(self) -> HashTrieMap[str, Checker]:
        return self.sections["checkers"]

    @property
    def observers(self) -> HashTrieMap[str, Observer]:
        return self.sections["observers"]

    @property
    def nodes(self) -> HashTrieMap[str, Node]:
        return self.sections["nodes"]

    @property
    def keys(self) -> HashTrieMap[str, ClusterKey]:
        return self.sections["keys"]

    @property
    def tokens(self) -> HashTrieMap[str, JoinToken]:
        return self.sections["tokens"]

    @property
    def apiTokens(self) -> HashTrieMap[str, ApiToken]:
        return self.sections["apiTokens"]
