"""The keys that this server proves itself with. Knows no connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from attrs import define, field, frozen
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
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
    if not isinstance(key, (Ed25519PrivateKey, RSAPrivateKey, EllipticCurvePrivateKey)):
        raise UnusableKey("it is neither an Ed25519 nor an RSA or ECDSA key")
    own = Key(key)
    try:
        own.sshType()
    except KeyError:
        raise UnusableKey("its curve is not one of SSH's") from None
    return own


@frozen
class Identity:
    """One host key.

    :ivar blob: the public key's wire form.
    """

    key: Key = field(repr=False)
    blob: bytes

    @classmethod
    def of(cls, key: Key) -> Identity:
        return cls(key, key.public().blob())

    def sign(self, algorithm: bytes, message: bytes) -> bytes:
        signature: bytes = self.key.sign(message, signatureType=algorithm)
        return signature


@frozen
class HostKeys:
    """The host keys of one connection.

    Of several of one type the oldest is the one that clients know, so that one signs until it is removed; the others
    are told to clients who are logged in, so that they know them by then.

    :ivar identities: by the name of their type, the oldest first.
    """

    identities: Mapping[bytes, Sequence[Identity]]

    @property
    def algorithms(self) -> list[bytes]:
        """The signature algorithms to offer."""
        offered: list[bytes] = []
        for name in self.identities:
            offered += RSA_ALGORITHMS if name == b"ssh-rsa" else (name,)
        return offered

    @property
    def blobs(self) -> list[bytes]:
        """All public keys."""
        return [one.blob for several in self.identities.values() for one in several]

    def signer(self, algorithm: bytes) -> Identity:
        """The key that signs with ``algorithm``."""
        return self.identities[b"ssh-rsa" if algorithm in RSA_ALGORITHMS else algorithm][0]

    def prove(self, blob: bytes, message: bytes, agreed: bytes) -> bytes | None:
        """The signature of a message by the key with this public key; ``None`` where it is none of ours.

        :param agreed: the algorithm that the server signed its key exchange with.
        """
        for name, several in self.identities.items():
            for one in several:
                if one.blob == blob:
                    # An RSA key signs as the client has agreed to; where it did not say, as everybody can.
                    algorithm = (
                        name if name != b"ssh-rsa" else agreed if agreed in RSA_ALGORITHMS else RSA_ALGORITHMS[0]
                    )
                    return one.sign(algorithm, message)
        return None


@define(eq=False)
class HostKeyring:
    """Reads the host keys anew only when they have changed.

    :ivar pems: the private keys now, the oldest first.
    """

    _pems: Callable[[], Sequence[bytes]]
    _read: tuple[bytes, ...] = field(default=(), init=False, repr=False)
    _identities: Sequence[tuple[bytes, Identity]] = field(default=(), init=False)
    _log = Logger()

    def current(self, legacy: bool) -> HostKeys:
        """:param legacy: with ECDSA keys, too."""
        pems = tuple(self._pems())
        if pems != self._read:
            self._identities = list(self._loaded(pems))
            self._read = pems
        keys: dict[bytes, list[Identity]] = {}
        for name, identity in self._identities:
            several = keys.setdefault(name, []) if legacy or not name.startswith(b"ecdsa-") else None
            # Clients that are told of a key twice believe nothing of what they are told.
            if several is not None and all(one.blob != identity.blob for one in several):
                several.append(identity)
        return HostKeys(keys)

    def _loaded(self, pems: Sequence[bytes]) -> Iterator[tuple[bytes, Identity]]:
        for position, pem in enumerate(pems):
            try:
                key = loadHostKey(pem)
            except UnusableKey as error:
                self._log.warn("SSH host key {position} is not offered: {error}", position=position, error=error)
            else:
                yield key.sshType(), Identity.of(key)
