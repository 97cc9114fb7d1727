"""The configuration of a cluster as one immutable value.

Everything here is pure: equal documents encode to equal bytes on every node. What is local to a node (its state
folder, the address it binds, its own key) is not in the document.

A document is a set of *sections*, each a persistent map from name to value; :data:`SECTIONS` is the one table of them.
Options that belong to a kind of component (``root`` of a local backend, ``tls`` of an FTP listener) are kept as they
came, in ``options``, so that a node that lacks the plug-in, or is older, loses nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Literal

from attrs import Factory, field, frozen
from rpds import HashTrieMap

from .named import NAME_PATTERN, Component, Named, Options, Secret
from .settings import Branding, Settings
from .users import Group, Limits, Method, Mount, OwnPart, Protocol, Quota, User

__all__ = [
    "FORMAT_VERSION",
    "NAME_PATTERN",
    "SECTIONS",
    "Admin",
    "ApiToken",
    "Backend",
    "Branding",
    "Certificate",
    "Checker",
    "ClusterKey",
    "Component",
    "Document",
    "Group",
    "HostKey",
    "JoinToken",
    "Limits",
    "Listener",
    "Method",
    "Mount",
    "Named",
    "Node",
    "Observer",
    "Options",
    "OwnPart",
    "Promoted",
    "Protocol",
    "Quota",
    "Role",
    "Scope",
    "Secret",
    "Section",
    "Settings",
    "UnknownChange",
    "User",
]

FORMAT_VERSION = 1
"""Version of the document's encoding; a node refuses a snapshot or entry of a higher one."""

_SETTINGS = Settings()


class Role(enum.Enum):
    """What an administrator may do: everything; users and groups; look only."""

    full = "full"
    users = "users"
    auditor = "auditor"


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
    settings: Settings = _SETTINGS
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
