"""Seals the secrets of the document with the cluster key, which every node receives when it joins.

A sealed secret is a version byte, the id of its key (8 bytes), a nonce (12 bytes), and AES-256-GCM's ciphertext and
tag; version and key id are authenticated with it. What is sealed, and for what, is not known here.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping

from attrs import field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..config.document import Secret
from ..errors import ClusterError

KEY_BYTES = 32
_VERSION = b"\x01"
_KEY_ID_BYTES = 8
_NONCE_BYTES = 12
_HEADER_BYTES = len(_VERSION) + _KEY_ID_BYTES


class CannotOpen(ClusterError):
    """A sealed secret could not be opened; the text says why."""


def newClusterKey() -> bytes:
    """A new random cluster key."""
    return os.urandom(KEY_BYTES)


def keyId(key: bytes) -> bytes:
    """What a cluster key is known by; it tells nothing of the key."""
    return hmac.digest(key, b"cftpcluster key id", hashlib.sha256)[:_KEY_ID_BYTES]


@frozen(init=False, eq=False)
class Sealer:
    """Seals with the newest of its keys, and opens what any of them sealed.

    :ivar keys: the cluster keys, the newest first.
    """

    keys: tuple[bytes, ...] = field(repr=False)
    _byId: Mapping[bytes, AESGCM] = field(repr=False)
    _newest: bytes = field(repr=False)

    def __init__(self, newest: bytes, *older: bytes) -> None:
        keys = (newest, *older)
        if any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"a cluster key has {KEY_BYTES} bytes")
        self.__attrs_init__(keys, {keyId(key): AESGCM(key) for key in keys}, keyId(newest))

    def seal(self, plain: bytes) -> Secret:
        """Seal ``plain``; two seals of the same bytes differ."""
        header, nonce = _VERSION + self._newest, os.urandom(_NONCE_BYTES)
        return Secret(header + nonce + self._byId[self._newest].encrypt(nonce, plain, header))

    def open(self, secret: Secret) -> bytes:
        """What was sealed; :class:`CannotOpen` under another key, or when a byte of it was altered."""
        sealed = secret.sealed
        header, nonce = sealed[:_HEADER_BYTES], sealed[_HEADER_BYTES : _HEADER_BYTES + _NONCE_BYTES]
        if len(nonce) < _NONCE_BYTES:
            raise CannotOpen("a sealed secret is cut short")
        if header[:1] != _VERSION:
            raise CannotOpen(f"a secret was sealed in format {header[0]}, which this version does not know")
        key = self._byId.get(header[1:])
        if key is None:
            raise CannotOpen(f"a secret was sealed with cluster key {header[1:].hex()}, which this node does not have")
        try:
            return key.decrypt(nonce, sealed[_HEADER_BYTES + _NONCE_BYTES :], header)
        except InvalidTag:
            raise CannotOpen("a sealed secret was altered") from None
