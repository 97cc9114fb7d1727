"""SHA-512-crypt (``$6$``), the password hash of many Unix systems, for imported users.

After Ulrich Drepper's "Unix crypt using SHA-256 and SHA-512", version 0.6. Python's own ``crypt`` went with 3.13. It
only computes: texts are taken apart, and compared, by :mod:`cftpcluster.auth.passwords`.
"""

from __future__ import annotations

from hashlib import sha512

_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PERIOD = 42
"""After so many rounds (2, 3 and 7 multiplied) the order of the ingredients repeats."""


def sha512crypt(password: bytes, salt: bytes, rounds: int) -> str:
    """The last part of the text form, 86 characters."""
    digest = _start(password, salt)
    p = _stretch(sha512(password * len(password)).digest(), len(password))
    s = _stretch(sha512(salt * (16 + digest[0])).digest(), len(salt))
    around = [_aroundDigest(number, p, s) for number in range(_PERIOD)]
    for number in range(rounds):
        before, after = around[number % _PERIOD]
        digest = sha512(before + digest + after).digest()
    return _encode(digest)


def _start(password: bytes, salt: bytes) -> bytes:
    length = len(password)
    b = sha512(password + salt + password).digest()
    a = sha512(password + salt + _stretch(b, length))
    while length:
        a.update(b if length & 1 else password)
        length >>= 1
    return a.digest()


def _stretch(block: bytes, length: int) -> bytes:
    return (block * (length // len(block) + 1))[:length]


def _aroundDigest(number: int, p: bytes, s: bytes) -> tuple[bytes, bytes]:
    """What one round hashes before and after the digest of the round before."""
    middle = (s if number % 3 else b"") + (p if number % 7 else b"")
    return (p + middle, b"") if number & 1 else (b"", middle + p)


def _encode(digest: bytes) -> str:
    """Base 64 of its own, of bytes in an order of its own."""
    characters = []
    a, b, c = 0, 21, 42
    for _ in range(21):
        word = digest[a] << 16 | digest[b] << 8 | digest[c]
        characters += [_ALPHABET[word >> shift & 63] for shift in (0, 6, 12, 18)]
        a, b, c = b + 1, c + 1, a + 1
    characters += [_ALPHABET[digest[63] & 63], _ALPHABET[digest[63] >> 6]]
    return "".join(characters)
