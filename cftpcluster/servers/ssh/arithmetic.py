"""The arithmetic of key exchanges (RFC 4253, section 8, with the groups of RFC 3526 and 8268; RFC 5656; RFC 8731;
draft-ietf-sshm-mlkem-hybrid-kex).

What a client sends is any bytes at all; ``ValueError`` where no secret may be shared with it. Knows no messages.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Generator, Mapping
from functools import cache
from typing import Any, TypeAlias, TypeVar

from attrs import frozen
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dh, ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .wire import string

T = TypeVar("T")


@frozen
class Shared:
    """All three as they are hashed.

    :ivar client: what the client sent.
    :ivar server: what we send.
    :ivar secret: what only these two know.
    """

    client: bytes
    server: bytes
    secret: bytes


Work: TypeAlias = Generator[None, None, Shared]
"""Work in pieces: others may have their turn where it yields."""


@frozen
class KeyExchange:
    """
    :ivar digest: makes the hash that the exchange is signed by, and the keys.
    :ivar work: shares a secret with a client that sent this.
    :ivar isHeavy: whether each piece of the work takes as long as a whole exchange of another kind.
    """

    digest: Callable[[bytes], Any]
    work: Callable[[bytes], Work]
    isHeavy: bool = False


def mpint(value: int) -> bytes:
    """A positive number (RFC 4251, section 5)."""
    return string(value.to_bytes(value.bit_length() // 8 + 1, "big")) if value else string(b"")


# --- curves


def _x25519(value: bytes) -> tuple[bytes, bytes]:
    """Our value, and the secret."""
    own = X25519PrivateKey.generate()
    return own.public_key().public_bytes_raw(), own.exchange(X25519PublicKey.from_public_bytes(value))


def _montgomery(value: bytes) -> Work:
    yield from ()  # it is one piece
    own, secret = _x25519(value)
    return Shared(string(value), string(own), mpint(int.from_bytes(secret, "big")))


def _weierstrass(curve: ec.EllipticCurve) -> Callable[[bytes], Work]:
    def work(value: bytes) -> Work:
        yield from ()
        if value[:1] != b"\4":
            raise ValueError("compressed")
        theirs = ec.EllipticCurvePublicKey.from_encoded_point(curve, value)
        own = ec.generate_private_key(curve)
        public = own.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        secret = own.exchange(ec.ECDH(), theirs)
        return Shared(string(value), string(public), mpint(int.from_bytes(secret, "big")))

    return work


# --- post-quantum

_MLKEM_BYTES = 1184


def _hybrid(value: bytes) -> Work:
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey

    yield from ()
    theirs = MLKEM768PublicKey.from_public_bytes(value[:_MLKEM_BYTES])
    own, classical = _x25519(value[_MLKEM_BYTES:])
    secret, ciphertext = theirs.encapsulate()
    return Shared(string(value), string(ciphertext + own), string(hashlib.sha256(secret + classical).digest()))


def _hasMLKEM() -> bool:
    try:
        from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

        MLKEM768PrivateKey.generate()
    except (ImportError, UnsupportedAlgorithm):
        return False
    return True


# --- finite fields


def _pi(bits: int) -> int:
    """Pi times 2 to the power of ``bits``, rounded down (John Machin, 1706)."""
    spare = 64
    one = 1 << (bits + spare)

    def inverseTangent(of: int) -> int:
        power = total = one // of
        divisor, sign = 1, -1
        while power:
            power //= of * of
            divisor += 2
            total += sign * (power // divisor)
            sign = -sign
        return total

    return 4 * (4 * inverseTangent(5) - inverseTangent(239)) >> spare


@cache
def prime(bits: int) -> int:
    """The modulus of a group of RFC 3526, made as told there."""
    addend = {2048: 124476, 4096: 240904, 8192: 4743158}[bits]
    return int((1 << bits) - (1 << (bits - 64)) - 1 + ((_pi(bits - 130) + addend) << 64))


@cache
def _group(bits: int) -> dh.DHParameters:
    return dh.DHParameterNumbers(prime(bits), 2).parameters()


def _undisturbed(function: Callable[[], T]) -> T:
    """These groups are offered for those who have nothing newer; nobody needs to be told that there is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function()


def _field(bits: int) -> Callable[[bytes], Work]:
    def work(value: bytes) -> Work:
        theirs = int.from_bytes(value, "big")
        # A negative number is none of the group's either.
        if value[:1] >= b"\x80" or not 1 < theirs < prime(bits) - 1:
            raise ValueError("out of range")
        own = _undisturbed(lambda: _group(bits).generate_private_key())
        yield
        public, secret = _undisturbed(lambda: _agreed(own, theirs))
        return Shared(mpint(theirs), mpint(public), mpint(secret))

    return work


def _agreed(own: dh.DHPrivateKey, theirs: int) -> tuple[int, int]:
    """Our value, and the secret."""
    numbers = own.public_key().public_numbers()
    secret = own.exchange(dh.DHPublicNumbers(theirs, numbers.parameter_numbers).public_key())
    return numbers.y, int.from_bytes(secret, "big")


KEY_EXCHANGES: Mapping[bytes, KeyExchange] = {
    **({b"mlkem768x25519-sha256": KeyExchange(hashlib.sha256, _hybrid)} if _hasMLKEM() else {}),
    b"curve25519-sha256": KeyExchange(hashlib.sha256, _montgomery),
    b"curve25519-sha256@libssh.org": KeyExchange(hashlib.sha256, _montgomery),
    b"diffie-hellman-group16-sha512": KeyExchange(hashlib.sha512, _field(4096), isHeavy=True),
    b"diffie-hellman-group18-sha512": KeyExchange(hashlib.sha512, _field(8192), isHeavy=True),
    b"ecdh-sha2-nistp256": KeyExchange(hashlib.sha256, _weierstrass(ec.SECP256R1())),
    b"ecdh-sha2-nistp384": KeyExchange(hashlib.sha384, _weierstrass(ec.SECP384R1())),
    b"ecdh-sha2-nistp521": KeyExchange(hashlib.sha512, _weierstrass(ec.SECP521R1())),
    b"diffie-hellman-group14-sha256": KeyExchange(hashlib.sha256, _field(2048)),
}
"""What can be done here, the best first. What is offered is less."""
