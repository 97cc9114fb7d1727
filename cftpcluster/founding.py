"""The first start of a node: a primary founds a cluster, a secondary joins one.

Both are atomic: a state folder *has a node* from the moment its journal holds the first revision (a primary) or the
answer to its join is on disk (a secondary). Killed before that, the next start begins anew; nothing is half done.
"""

from __future__ import annotations

import base64
import os
import secrets
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from argon2 import PasswordHasher
from attrs import field, frozen

from .cluster.authority import Authority, makeHostKeys, makeServiceCertificate, newNodeKey
from .cluster.join import Joined
from .cluster.membership import NodeIdentity, keyFingerprint, publicKeyText
from .cluster.sealing import Sealer, newClusterKey
from .config.changes import Batch, Change, Promote, Put
from .config.defaults import defaultChanges
from .config.document import Admin, Certificate, ClusterKey, HostKey, Node, Role
from .errors import ClusterError
from .journal.entry import Proposal
from .state import RESTORING, StateDirectory
from .vocabulary import Author

T = TypeVar("T")

IDENTITY = "node.pem"
PRIVATE_KEY = "node.key"
CLUSTER_KEYS = "cluster.keys"
PEERS = "peers.json"

HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

SYSTEM = Author("system", "full", "local")
"""The author of what a node does of itself."""


@frozen
class Membership:
    """What a state folder says of its node.

    :ivar identity: the node's key and certificate.
    :ivar clusterKeys: what opens the document's secrets, the newest first.
    :ivar peers: the nodes that the join named, the primary first; used for as long as there is no document.
    :ivar clusterPort: the port to reach them at, likewise.
    :ivar epoch: that of the journal that this node had and lost; nothing earlier is taken in its place.
    """

    identity: NodeIdentity
    clusterKeys: tuple[bytes, ...] = field(repr=False)
    peers: tuple[Node, ...] = ()
    clusterPort: int = 0
    epoch: int = 0

    @property
    def sealer(self) -> Sealer:
        return Sealer(*self.clusterKeys)

    @property
    def peerNodes(self) -> Mapping[str, Node]:
        return {node.name: node for node in self.peers}


def load(state: StateDirectory) -> Membership | None:
    """What the state folder holds, complete or not; ``None`` where a founding or a join has still to be done.
    ``ClusterError`` where a file is damaged, or a restore into this folder broke off."""
    if state.read(RESTORING) is not None and not state.journal.exists():
        raise ClusterError(f"a restore into {state.path} broke off; repeat it: cftpctl restore --new")
    identity = state.read(IDENTITY)
    if identity is None or state.read(CLUSTER_KEYS) is None:
        return None
    nodes, port, epoch = _read(state, PEERS, _peersFromPlain) if hasJoined(state) else ((), 0, 0)
    clusterKeys = _read(state, CLUSTER_KEYS, _keysFromPlain)
    return Membership(NodeIdentity.fromPem(identity), clusterKeys, nodes, port, epoch)


def _read(state: StateDirectory, name: str, meaning: Callable[[Any], T]) -> T:
    try:
        return meaning(state.readJSON(name))
    except (ValueError, TypeError, KeyError) as error:
        raise ClusterError(f"{state.path / name} is damaged: {error}") from None


def _keysFromPlain(plain: Any) -> tuple[bytes, ...]:
    keys = tuple(base64.b64decode(key, validate=True) for key in plain)
    return Sealer(*keys).keys


def _peersFromPlain(plain: Any) -> tuple[tuple[Node, ...], int, int]:
    return tuple(Node(**peer) for peer in plain["nodes"]), int(plain["port"]), int(plain.get("epoch", 0))


def hasJoined(state: StateDirectory) -> bool:
    """Whether this folder's node came by a join; its journal may still be empty."""
    return state.read(PEERS) is not None


def store(state: StateDirectory, membership: Membership) -> None:
    """Write what :func:`load` reads; the peers last, since they tell that a join is complete."""
    state.writeJSON(CLUSTER_KEYS, [base64.b64encode(key).decode("ascii") for key in membership.clusterKeys])
    state.write(IDENTITY, membership.identity.toPem())
    if membership.peers:
        peers = [{"name": one.name, "address": one.address, "fingerprint": one.fingerprint} for one in membership.peers]
        state.writeJSON(PEERS, {"nodes": peers, "port": membership.clusterPort, "epoch": membership.epoch})


def prepareFounding(
    state: StateDirectory, name: str, address: str, password: bytes | None
) -> tuple[Membership, Proposal]:
    """Make a new cluster's keys, write this node's files, and answer with the first entry to append. Blocks, for a
    second or two: belongs in a thread."""
    now = time.time()
    authority = Authority.new(now)
    identity = authority.identity(name, newNodeKey(), now)
    membership = Membership(identity, (newClusterKey(),))
    isInitial = password is None
    if password is None:
        password = secrets.token_urlsafe(18).encode("ascii")
        state.write(state.adminPassword.name, password + b"\n")
    else:
        # An earlier founding may have broken off.
        state.adminPassword.unlink(missing_ok=True)
    chosen = Admin(name="admin", role=Role.full, passwordHash=HASHER.hash(password), initialPassword=isInitial)
    change = _foundingChange(membership, authority, name, address, chosen, now)
    store(state, membership)
    return membership, Proposal(change, {}, SYSTEM, name, uuid.uuid4().hex, now)


def _foundingChange(
    membership: Membership, authority: Authority, name: str, address: str, admin: Admin, now: float
) -> Change:
    sealer = membership.sealer
    chain, key = makeServiceCertificate([socket.gethostname(), address], now)
    public = membership.identity.certificate.public_key()
    own = Node(name=name, address=address, fingerprint=keyFingerprint(public), publicKey=publicKeyText(public))
    return Batch(
        (
            Promote(1, name, "system"),
            Put("nodes", own),
            Put("keys", authority.sealed(sealer)),
            Put("keys", ClusterKey(name="sessions", key=sealer.seal(os.urandom(32)))),
            Put("certificates", Certificate(name="default", chain=chain.decode("ascii"), key=sealer.seal(key))),
            *(Put("hostKeys", HostKey(name=each, key=sealer.seal(pem))) for each, pem in makeHostKeys().items()),
            *defaultChanges(),
            Put("admins", admin),
        )
    )


def privateKeyForJoining(state: StateDirectory) -> bytes:
    """The key that a join is done with: stored before its first use, so that a join that broke off can be repeated."""
    key = state.read(PRIVATE_KEY)
    if key is None:
        key = newNodeKey()
        state.write(PRIVATE_KEY, key)
    return key


def completeJoin(state: StateDirectory, joined: Joined, port: int) -> Membership:
    """Write what a join gave; ``port`` is where its token led."""
    if not joined.nodes:
        raise ClusterError("the primary named no node to follow")
    membership = Membership(joined.identity, joined.clusterKeys, joined.nodes, port)
    store(state, membership)
    return membership
