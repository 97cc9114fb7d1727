"""The keys that this server proves itself with. Knows no connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import define, field, frozen
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key
from twisted.conch.ssh.keys import Key
from twisted.logger import Logger

RSA_ALGORITHMS = (b"rsa-sha2-512", b"rsa-sha2-256")

MINIMUM_RSA_BITS = 2048
"""Shorter keys are neither offered nor accepted."""


class UnusableKey(Exception):
    """A host key that this server does not offer; the text says why, and names no secret."""


def loadHostKey(pem: bytes) -> Key:
    """A private key in OpenSSH's, PKCS#8 or a traditional format; ``UnusableKey``."""
    load = load_ssh_private_key if b"BEGIN OPENSSH PRIVATE KEY" in pem else load_pem_private_key
    try:
        # Checking the arithmetic of an RSA key takes a tenth of a second, and these keys are our own.
        key = load(pem, None, unsafe_skip_rsa_key_validation=True)
    except Exception as error:  # noqa: BLE001 - the libraries beneath fail in many ways
        # Their texts may quote the key.
        raise UnusableKey(f"it cannot be read ({type(error).__name__})") from None
    if isinstance(key, RSAPrivateKey) and key.key_size < MINIMUM_RSA_BITS:
        raise UnusableKey(f"an RSA key of {key.key_size} bits is too short")
    if not isinstance(key, (Ed25519PrivateKey, RSAPrivateKey)):
        raise UnusableKey("it is neither an Ed25519 nor an RSA key")
    return Key(key)


@frozen
class HostKeys:
    """The host keys of one connection: the first of each type, in the order given.

    :ivar keys: private keys by the name of their type.
    """

    keys: Mapping[bytes, Key]

    @property
    def algorithms(self) -> list[bytes]:
        """The signature algorithms to offer."""
        offered: list[bytes] = []
        for name in self.keys:
            offered += RSA_ALGORITHMS if name == b"ssh-rsa" else (name,)
        return offered

    def signer(self, algorithm: bytes) -> Key:
        """The private key that signs with ``algorithm``."""
        return self.keys[b"ssh-rsa" if algorithm in RSA_ALGORITHMS else algorithm]


@define(eq=False)
class HostKeyring:
    """Reads the host keys anew only when they have changed.

    :ivar pems: the private keys now.
    """

    _pems: Callable[[], Sequence[bytes]]
    _read: tuple[bytes, ...] = field(default=(), init=False, repr=False)
    _keys: HostKeys = field(factory=lambda: HostKeys({}), init=False)
    _log = Logger()

    def current(self) -> HostKeys:
        pems = tuple(self._pems())
        if pems != self._read:
            keys: dict[bytes, Key] = {}
            for position, pem in enumerate(pems):
                try:
                    key = loadHostKey(pem)
                except UnusableKey as error:
                    self._log.warn("SSH host key {position} is not offered: {error}", position=position, error=error)
                else:
                    keys.setdefault(key.sshType(), key)
            self._read, self._keys = pems, HostKeys(keys)
        return self._keys
