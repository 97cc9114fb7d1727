"""A file that only a passphrase opens, whole or not at all.

It begins with two lines: ``cftpcluster-backup`` with its format and, in JSON, how the keys are derived from the
passphrase (scrypt, RFC 7914); and the HMAC-SHA256 of that line. Pieces of 64 KiB follow, each sealed by AES-256-GCM,
whose nonce is the piece's number and whether it is the last: so pieces can neither be changed, moved, left out nor
added.
What is in it is not known here. Sealing and opening take a second, and belong in a thread.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from .config.codec import canonical, parse
from .errors import ClusterError, Invalid, NewerFormat

FORMAT = 1
LEAST_PASSPHRASE_BYTES = 8

_MAGIC = b"cftpcluster-backup "
_PIECE_BYTES = 64 * 1024
_TAG_BYTES = 16
_SALT_BYTES = 32
_LONGEST_LINE = 1000
COST: Mapping[str, int] = {"n": 1 << 17, "r": 8, "p": 1}
"""Of scrypt: 128 MiB of memory, and some tenths of a second."""

_MOST: Mapping[str, int] = {"n": 1 << 20, "r": 16, "p": 4}
"""What a file may ask of whoever opens it: at most 2 GiB of memory."""


class NotAnArchive(ClusterError):
    """A file cannot be opened; the text says why, as far as it can be told."""


def sealArchive(
    plain: bytes, passphrase: bytes, randomBytes: Callable[[int], bytes], cost: Mapping[str, int] = COST
) -> bytes:
    """``plain`` as a file; ``ClusterError`` for a passphrase that is too short."""
    if len(passphrase) < LEAST_PASSPHRASE_BYTES:
        raise ClusterError(f"a passphrase has at least {LEAST_PASSPHRASE_BYTES} characters")
    salt = randomBytes(_SALT_BYTES)
    header = {"cipher": "AES-256-GCM", "kdf": "scrypt", **cost, "salt": base64.b64encode(salt).decode("ascii")}
    line = _MAGIC + b"%d " % FORMAT + canonical(header)
    lineKey, key = _keys(passphrase, salt, header)
    parts = [line, b"\n", _proof(lineKey, line), b"\n"]
    cipher = AESGCM(key)
    parts += [cipher.encrypt(nonce, piece, line) for nonce, piece in _pieces(plain, _PIECE_BYTES)]
    return b"".join(parts)


def openArchive(data: bytes, passphrase: bytes) -> bytes:
    """What was sealed; ``NotAnArchive`` where the passphrase is wrong or any bit of the file is not as it was."""
    line, _, rest = data[: _LONGEST_LINE + 100].partition(b"\n")
    proof, separator, _ = rest.partition(b"\n")
    header = _header(line)
    lineKey, key = _keys(passphrase, header["salt"], header)
    if not separator or not hmac.compare_digest(proof, _proof(lineKey, line)):
        raise NotAnArchive("the passphrase is wrong, or the beginning of the file is damaged")
    sealed = memoryview(data)[len(line) + len(proof) + 2 :]
    cipher = AESGCM(key)
    opened = []
    for number, (nonce, piece) in enumerate(_pieces(sealed, _PIECE_BYTES + _TAG_BYTES)):
        try:
            opened.append(cipher.decrypt(nonce, piece, line))
        except (InvalidTag, ValueError):
            raise NotAnArchive(f"the file is damaged, cut short or was altered, at piece {number + 1}") from None
    return b"".join(opened)


def _pieces(data: bytes | memoryview, size: int) -> Iterator[tuple[bytes, bytes | memoryview]]:
    """Each piece with its nonce; the last one may be short, and is told from the others."""
    count = max(1, -(-len(data) // size))
    for number in range(count):
        yield number.to_bytes(11, "big") + bytes([number == count - 1]), data[number * size : (number + 1) * size]


def _header(line: bytes) -> dict[str, Any]:
    if not line.startswith(_MAGIC):
        raise NotAnArchive("this is no backup of a cftpcluster")
    version, _, text = line.removeprefix(_MAGIC).partition(b" ")
    if not version.isdigit() or len(version) > 9 or len(line) > _LONGEST_LINE:
        raise NotAnArchive("the beginning of the file is damaged")
    if int(version) > FORMAT:
        raise NewerFormat(f"this backup has format {int(version)}; this version of cftpcluster knows up to {FORMAT}")
    try:
        header: dict[str, Any] = parse(text)
        header["salt"] = base64.b64decode(header["salt"], validate=True)
        known = (header["kdf"], header["cipher"]) == ("scrypt", "AES-256-GCM")
        bounded = all(type(header[name]) is int and 1 <= header[name] <= most for name, most in _MOST.items())
    except (Invalid, KeyError, TypeError, ValueError, binascii.Error):
        raise NotAnArchive("the beginning of the file is damaged") from None
    if not known or not bounded or header["n"] & (header["n"] - 1) or header["n"] < 2:
        raise NotAnArchive("the beginning of the file is damaged")
    return header


def _keys(passphrase: bytes, salt: bytes, cost: dict[str, Any]) -> tuple[bytes, bytes]:
    """For the header, and for the pieces."""
    derived = Scrypt(salt=salt, length=64, n=cost["n"], r=cost["r"], p=cost["p"]).derive(passphrase)
    return derived[:32], derived[32:]


def _proof(key: bytes, line: bytes) -> bytes:
    return hmac.digest(key, line, hashlib.sha256).hex().encode("ascii")
