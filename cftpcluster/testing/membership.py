"""A small cluster's authority, members and document, for tests of what members say to each other."""

from __future__ import annotations

from attrs import define, field

from ..cluster.authority import Authority, newNodeKey
from ..cluster.membership import NodeIdentity, keyFingerprint, publicKeyText
from ..cluster.sealing import Sealer, newClusterKey
from ..config.changes import Batch, Change, Promote, Put, apply
from ..config.document import Document, Node


@define(eq=False)
class SmallCluster:
    """A cluster as its document describes it, of which every private key is at hand.

    :ivar now: seconds since the epoch; certificates are made at this time.
    :ivar document: may be replaced.
    """

    now: float
    sealer: Sealer = field(init=False)
    authority: Authority = field(init=False)
    document: Document = field(factory=Document, init=False)

    def __attrs_post_init__(self) -> None:
        self.sealer = Sealer(newClusterKey())
        self.authority = Authority.new(self.now)
        self.change(Put("keys", self.authority.sealed(self.sealer)))

    def change(self, *changes: Change) -> int:
        """Apply changes as one revision."""
        self.document = apply(self.document, Batch(tuple(changes)))
        return self.document.revision

    def found(self, name: str, address: str = "127.0.0.1") -> NodeIdentity:
        """The first member, which is the primary."""
        identity = self.add(name, address)
        self.change(Promote(1, name, "test"))
        return identity

    def add(self, name: str, address: str = "127.0.0.1") -> NodeIdentity:
        """A further member."""
        identity = self.authority.identity(name, newNodeKey(), self.now)
        key = identity.certificate.public_key()
        node = Node(name=name, address=address, fingerprint=keyFingerprint(key), publicKey=publicKeyText(key))
        self.change(Put("nodes", node))
        return identity
