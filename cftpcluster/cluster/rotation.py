"""Gives the cluster other keys: seals its secrets anew, and hands each node the new key so that only it can read it.

A new cluster key is sealed for the public key of each node that stays (ECDH with a key made for it alone, HKDF-SHA256,
AES-256-GCM), since whoever left knows the old one. What was sealed for the nodes stands in the document, beside the
keys it protects: so a node that was away gets the key with the change that needs it. The older keys follow sealed with
the new one: entries of the history were sealed with them.

Where the authority is replaced too, nodes trust the old and the new one until all have certificates of the new.

Pure values; who asks for it, and how a change becomes durable, is not known here.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from attrs import evolve, fields, frozen
from cryptography import x509
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
    load_ssh_private_key,
)

from ..config.changes import Batch, Change, Put, Remove
from ..config.codec import canonical, parse
from ..config.document import ClusterKey, Document, HostKey, Named, Node, Secret
from ..errors import ClusterError, Invalid
from .authority import AUTHORITY, Authority, makeHostKey
from .membership import removal
from .sealing import KEY_BYTES, CannotOpen, Sealer, keyId, newClusterKey

N = TypeVar("N", bound=Named)

CLUSTER_KEY = "cluster"
"""The name, among the document's keys, of what hands nodes the newest cluster key."""

PREVIOUS_AUTHORITY = "authority-previous"
"""The name of the authority that nodes trust besides, while certificates are replaced."""

SESSIONS = "sessions"
PREVIOUS_SESSIONS = "sessions-previous"
"""The key that signed sessions before. Who has it can make no session with it: of what it has signed, only sessions
that the nodes know of are good."""

_VERSION = b"\x01"
_NONCE = bytes(12)  # a key of its own for each message
_MOST_OLDER = 16


# --- secrets of the document


def secretsOf(value: Named) -> dict[str, Secret]:
    """The sealed attributes of an object, by name."""
    named = {one.name: getattr(value, one.name) for one in fields(type(value))}
    return {name: secret for name, secret in named.items() if isinstance(secret, Secret)}


def sealedObjects(document: Document) -> Iterator[tuple[str, Named]]:
    """Every object that holds a secret, with its section."""
    for section, objects in sorted(document.sections.items()):
        for _, value in sorted(objects.items()):
            if secretsOf(value):
                yield section, value


def resealed(value: N, opening: Sealer, sealing: Sealer) -> N:
    """The object with its secrets sealed anew; ``CannotOpen``."""
    sealed: dict[str, Any] = {name: sealing.seal(opening.open(secret)) for name, secret in secretsOf(value).items()}
    return evolve(value, **sealed)


# --- for one node alone


def sealFor(publicKey: str, plain: bytes, context: bytes) -> bytes:
    """Seal for the holder of a node's key; ``ClusterError`` for a key that nothing can be sealed for."""
    try:
        key = load_der_public_key(base64.b64decode(publicKey, validate=True))
    except (ValueError, UnsupportedAlgorithm):
        raise ClusterError("its public key is not known") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ClusterError("its public key is of a kind that nothing can be sealed for")
    own = ec.generate_private_key(key.curve)
    point = _point(own.public_key())
    cipher = _cipher(own.exchange(ec.ECDH(), key), point + _point(key) + context)
    return _VERSION + bytes([len(point)]) + point + cipher.encrypt(_NONCE, plain, context)


def openFor(privateKeyPem: bytes, sealed: bytes, context: bytes) -> bytes:
    """What was sealed for this node; ``CannotOpen``."""
    try:
        key = load_pem_private_key(privateKeyPem, password=None)
        size = sealed[1] if sealed[:1] == _VERSION else 0
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not size:
            raise CannotOpen("a key for this node is sealed in a way that this version does not know")
        point, rest = sealed[2 : 2 + size], sealed[2 + size :]
        other = ec.EllipticCurvePublicKey.from_encoded_point(key.curve, point)
        cipher = _cipher(key.exchange(ec.ECDH(), other), point + _point(key.public_key()) + context)
        return cipher.decrypt(_NONCE, rest, context)
    except (InvalidTag, ValueError, IndexError):
        raise CannotOpen("a key for this node was altered, or is for another one") from None


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _cipher(shared: bytes, information: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), 32, None, b"cftpcluster key for a node" + information).derive(shared))


# --- the cluster key


def handedOver(document: Document, node: str, privateKeyPem: bytes, keys: Sequence[bytes]) -> tuple[bytes, ...]:
    """The cluster keys that a node has with this document, the newest first.

    :param keys: those that it has already.
    :raises CannotOpen: where there is a newer one that is not for this node.
    """
    record = document.keys.get(CLUSTER_KEY)
    if record is None:
        return tuple(keys)
    identifier, sealed = _read(record)
    if any(keyId(key) == identifier for key in keys):
        return tuple(keys)
    if node not in sealed:
        raise CannotOpen("the cluster has a new key, which was not handed to this node; it has to join anew")
    newest = openFor(privateKeyPem, sealed[node], _context(node, identifier))
    if keyId(newest) != identifier:
        raise CannotOpen("the cluster key that was handed to this node is not the new one")
    older = Sealer(newest).open(record.key)
    known = [older[start : start + KEY_BYTES] for start in range(0, len(older), KEY_BYTES)]
    return tuple(dict.fromkeys([newest, *known, *keys]))


def handedTo(document: Document, sealer: Sealer, node: Node) -> Iterator[Put]:
    """The change, if there is one to be made, that hands the newest cluster key to a node that joins."""
    record = document.keys.get(CLUSTER_KEY)
    if record is None:
        return
    identifier, sealed = _read(record)
    newest = sealer.keys[0]
    if keyId(newest) != identifier:
        raise ClusterError("this node does not have the newest cluster key")
    sealed[node.name] = sealFor(node.publicKey, newest, _context(node.name, identifier))
    yield Put("keys", evolve(record, public=_written(identifier, sealed)))


def _record(sealing: Sealer, nodes: Iterable[Node]) -> tuple[ClusterKey, tuple[str, ...]]:
    """What hands the newest key of ``sealing`` to those nodes, and the names of those it cannot be handed to."""
    newest, older = sealing.keys[0], sealing.keys[1 : 1 + _MOST_OLDER]
    identifier = keyId(newest)
    sealed, left = {}, []
    for node in nodes:
        try:
            sealed[node.name] = sealFor(node.publicKey, newest, _context(node.name, identifier))
        except ClusterError:
            left.append(node.name)
    key = Sealer(newest).seal(b"".join(older))
    return ClusterKey(name=CLUSTER_KEY, public=_written(identifier, sealed), key=key), tuple(left)


def _context(node: str, identifier: bytes) -> bytes:
    return b"%s %s" % (node.encode("utf-8"), identifier.hex().encode("ascii"))


def _written(identifier: bytes, sealed: dict[str, bytes]) -> str:
    texts = {name: base64.b64encode(one).decode("ascii") for name, one in sealed.items()}
    return canonical({"id": identifier.hex(), "nodes": texts}).decode("ascii")


def _read(record: ClusterKey) -> tuple[bytes, dict[str, bytes]]:
    try:
        plain = parse(record.public.encode("utf-8"))
        sealed = {name: base64.b64decode(text, validate=True) for name, text in plain["nodes"].items()}
        return bytes.fromhex(plain["id"]), sealed
    except (Invalid, ValueError, KeyError, TypeError, AttributeError):
        raise CannotOpen("the record of the cluster key is in a form that this version does not know") from None


# --- putting a node out


@frozen
class Rotation:
    """A change of keys.

    :ivar left: members that the new key cannot be handed to; they have to join anew.
    :ivar byHand: what the operator has to replace, a sentence each.
    """

    change: Batch
    left: tuple[str, ...]
    byHand: tuple[str, ...] = ()


def newSessionKey(document: Document, opening: Sealer, sealing: Sealer, *, keepsOld: bool) -> Batch:
    """A new key that signs sessions over HTTP.

    :param keepsOld: sessions go on, as far as the nodes know of them; else all of them have ended.
    """
    made: list[Put] = [Put("keys", ClusterKey(name=SESSIONS, key=sealing.seal(os.urandom(32))))]
    old = document.keys.get(SESSIONS)
    if keepsOld and old is not None:
        # One that this node cannot open signs nothing here either.
        with suppress(CannotOpen):
            made.append(Put("keys", ClusterKey(name=PREVIOUS_SESSIONS, key=sealing.seal(opening.open(old.key)))))
    others = {name for name in document.keys if name.startswith(SESSIONS)} - {put.value.name for put in made}
    return Batch((*(Remove("keys", name) for name in sorted(others)), *made))


def putOut(document: Document, name: str, opening: Sealer) -> Rotation:
    """Remove a node, and give the others a new cluster key and new session keys."""
    if name not in document.nodes:
        return Rotation(removal(document, name), ())
    sealing = Sealer(newClusterKey(), *opening.keys)
    sessions = newSessionKey(document, opening, sealing, keepsOld=True)
    changes, left = _rotated(document, name, opening, sealing, sessions, kept=lambda section, value: True)
    return Rotation(Batch((*removal(document, name).changes, *changes)), left)


def putOutCompromised(document: Document, name: str, opening: Sealer, now: float) -> Rotation:
    """As :func:`putOut` for a node whose keys are in wrong hands: the authority, and with it the nodes' certificates,
    and the host keys are replaced, too; no token is good any more. Making keys takes seconds."""
    if name not in document.nodes:
        return Rotation(removal(document, name), ())
    sealing = Sealer(newClusterKey(), *opening.keys)
    replaced = {("keys", AUTHORITY), ("keys", PREVIOUS_AUTHORITY)}
    hostKeys = dict(_newHostKeys(document, opening, sealing))
    replaced |= {("hostKeys", each) for each in hostKeys}
    # It has seen the cookies that came to it.
    sessions = newSessionKey(document, opening, sealing, keepsOld=False)
    changes, left = _rotated(
        document, name, opening, sealing, sessions, kept=lambda section, value: (section, value.name) not in replaced
    )
    trusted = "".join(key.public for key in _authorities(document))
    change = Batch(
        (
            *removal(document, name).changes,
            *(Remove("tokens", token) for token in sorted(document.tokens) if document.tokens[token].node != name),
            *(Remove("apiTokens", token) for token in sorted(document.apiTokens)),
            *changes,
            Put("keys", Authority.new(now).sealed(sealing)),
            Put("keys", ClusterKey(name=PREVIOUS_AUTHORITY, public=trusted, key=sealing.seal(b""))),
            *(Put("hostKeys", key) for key in hostKeys.values()),
        )
    )
    return Rotation(change, left, tuple(_byHand(document, hostKeys)))


def _rotated(
    document: Document, name: str, opening: Sealer, sealing: Sealer, sessions: Batch, kept: Any
) -> tuple[list[Change], tuple[str, ...]]:
    changes: list[Change] = []
    for section, value in sealedObjects(document):
        if section == "keys" and (value.name.startswith(SESSIONS) or value.name == CLUSTER_KEY):
            continue
        if kept(section, value):
            try:
                changes.append(Put(section, resealed(value, opening, sealing)))
            except CannotOpen:
                # It is this node's problem already; the node that is put out must not stay because of it.
                continue
    changes += sessions.changes
    others = [node for other, node in sorted(document.nodes.items()) if other != name]
    record, left = _record(sealing, others)
    return [*changes, Put("keys", record)], left


def _newHostKeys(document: Document, opening: Sealer, sealing: Sealer) -> Iterator[tuple[str, HostKey]]:
    for name, hostKey in sorted(document.hostKeys.items()):
        try:
            pem = opening.open(hostKey.key)
            load = load_ssh_private_key if b"BEGIN OPENSSH PRIVATE KEY" in pem else load_pem_private_key
            old: Any = load(pem, None)
        except (ClusterError, ValueError, TypeError, UnsupportedAlgorithm):
            old = None
        isElliptic = isinstance(old, ec.EllipticCurvePrivateKey)
        kind = "rsa" if isinstance(old, rsa.RSAPrivateKey) else old.curve.name if isElliptic else "ed25519"
        yield name, HostKey(name=name, key=sealing.seal(makeHostKey(kind)))


def _byHand(document: Document, hostKeys: dict[str, HostKey]) -> Iterator[str]:
    for name in sorted(document.certificates):
        yield f'TLS certificate "{name}": its private key was on that node; have it issued anew with another key'
    if hostKeys:
        yield f"SSH host keys {', '.join(hostKeys)} are new: tell users, whose clients will warn of them"
    for section, what in (("admins", "administrators"), ("users", "users")):
        hashed = sum(1 for each in document.sections[section].values() if each.passwordHash)
        if hashed:
            yield f"passwords of {hashed} {what}: their hashes were on that node; set new ones"
    if document.apiTokens:
        yield f"{len(document.apiTokens)} API tokens, which are not good any more: scripts need new ones"
    for name, backend in sorted(document.backends.items()):
        if backend.shared:
            yield f'backend "{name}": whatever lets nodes reach its storage was on that node'
    if document.checkers or document.observers:
        yield "credentials in the options of checkers and observers, where there are any"


# --- the authority


def _authorities(document: Document) -> Iterator[ClusterKey]:
    for name in (AUTHORITY, PREVIOUS_AUTHORITY):
        key = document.keys.get(name)
        if key is not None:
            yield key


def trustedAuthorities(document: Document) -> bytes:
    """The certificates (PEM) of those whose word counts; b"" where the document has no authority."""
    return "".join(key.public for key in _authorities(document)).encode("ascii")


def isOfAuthority(certificate: x509.Certificate, document: Document) -> bool:
    """Whether a node's certificate is of the authority that issues them now."""
    authority = document.keys.get(AUTHORITY)
    if authority is None:
        return True
    issuer = x509.load_pem_x509_certificate(authority.public.encode("ascii"))
    return certificate.issuer == issuer.subject
