"""The syntax of single values: names, networks, paths, hashes, keys, certificates.

Each function answers with what is wrong, or ``None``. What else there is in the document is not known here.
"""

from __future__ import annotations

import re

from cryptography import x509

from ..networks import parseNetwork
from ._messages import shown
from .document import NAME_PATTERN
from .publickeys import PublicKey

RESERVED_PREFIX = ".cftpcluster-"
"""Names of files that the server keeps for itself start so."""

_PATH_CHARACTERS = 4096
_NAME_BYTES = 255
_KEY_LINE_CHARACTERS = 16384
_RSA_BYTES = (2048 // 8, 16384 // 8)

_ARGON = re.compile(
    r"\$argon2id\$v=19\$m=(?P<kibibytes>[0-9]{1,7}),t=(?P<passes>[0-9]{1,3}),p=(?P<lanes>[0-9]{1,2})"
    r"\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{16,172}"
)
_BCRYPT = re.compile(r"\$2[abxy]\$(?P<cost>[0-9]{2})\$[./A-Za-z0-9]{53}")
_SHA512 = re.compile(r"\$6\$(rounds=(?P<rounds>[1-9][0-9]{3,8})\$)?[^$:\s]{0,16}\$[./A-Za-z0-9]{86}")
_ARGON_KIBIBYTES = 1024 * 1024
_BCRYPT_COSTS = range(4, 17)
_SHA512_ROUNDS = 1_000_000

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ZONE = re.compile(r"[A-Za-z0-9._-]{1,32}")
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")


def nameFault(name: str) -> str | None:
    if NAME_PATTERN.fullmatch(name):
        return None
    return f"{shown(name)} is not a name: letters, digits and . _ @ -, at most 64, starting with a letter or digit"


def networkFault(text: str) -> str | None:
    try:
        parseNetwork(text)
    except ValueError:
        return f"{shown(text)} is not a network such as 192.0.2.0/24"
    return None


def addressFault(text: str) -> str | None:
    """Of a host: an IP address or a name."""
    address, zone, interface = text.partition("%")
    if (
        not networkFault(address)
        and "/" not in address
        and (not zone or (":" in address and _ZONE.fullmatch(interface)))
    ):
        return None
    return None if _HOST.fullmatch(text) else f"{shown(text)} is not an address or host name"


def portFault(port: int) -> str | None:
    return None if 1 <= port <= 65535 else f"{port} is not a port: expected 1 to 65535"


def fingerprintFault(text: str) -> str | None:
    return None if re.fullmatch(r"[0-9a-f]{64}", text) else f"{shown(text)} is not a SHA-256 in lower-case hex"


def mountPathFault(path: str) -> str | None:
    if not path.startswith("/"):
        return f"{shown(path)} must be absolute: it starts with /"
    if path == "/":
        return None
    return _namesFault(path, path[1:])


def folderFault(folder: str) -> str | None:
    if not folder:
        return None
    if folder.startswith("/"):
        return f"{shown(folder)} must be relative to the backend's root"
    return _namesFault(folder, folder)


def _namesFault(whole: str, relative: str) -> str | None:
    names = relative.split("/")
    if "" in names:
        return f"{shown(whole)} has an empty name in it"
    if "." in names or ".." in names:
        return f"{shown(whole)} must not contain . or .."
    if "\0" in whole:
        return f"{shown(whole)} contains NUL"
    if any(name.startswith(RESERVED_PREFIX) for name in names):
        return f"{shown(whole)} contains a reserved name"
    if len(whole) > _PATH_CHARACTERS or any(len(name.encode()) > _NAME_BYTES for name in names):
        return f"{shown(whole)} is too long"
    return None


def passwordHashFault(text: str) -> str | None:
    """The hash itself is never shown. Costs are bounded, so that no hash can keep a node busy."""
    if not text:
        return None
    if found := _ARGON.fullmatch(text):
        kibibytes, passes, lanes = (int(found[part]) for part in ("kibibytes", "passes", "lanes"))
        fits = 8 * lanes <= kibibytes <= _ARGON_KIBIBYTES and 1 <= passes <= 100 and 1 <= lanes <= 16
    elif found := _BCRYPT.fullmatch(text):
        fits = int(found["cost"]) in _BCRYPT_COSTS
    elif found := _SHA512.fullmatch(text):
        fits = int(found["rounds"] or 5000) <= _SHA512_ROUNDS
    else:
        return "is not a password hash: argon2id ($argon2id$v=19$...), bcrypt ($2b$...) and $6$ are known"
    return None if fits else "is a password hash with parameters out of bounds"


# --- keys and certificates


def publicKeyFault(line: str) -> str | None:
    """One line as in ``authorized_keys``."""
    if len(line) > _KEY_LINE_CHARACTERS or not line.isprintable():
        return "is not one line of text"
    try:
        key = PublicKey.parse(line)
    except ValueError as error:
        return str(error)
    try:
        fields = _wireFields(key.blob)
    except ValueError:
        return f"the {key.kind} key is damaged"
    if len(fields) != _KEY_FIELDS[key.kind] or not _plausible(key.kind, fields):
        return f"the {key.kind} key is damaged, or too short to be safe"
    return None


_KEY_FIELDS = {
    "ssh-ed25519": 2,
    "ssh-rsa": 3,
    "ecdsa-sha2-nistp256": 3,
    "ecdsa-sha2-nistp384": 3,
    "ecdsa-sha2-nistp521": 3,
    "sk-ssh-ed25519@openssh.com": 3,
    "sk-ecdsa-sha2-nistp256@openssh.com": 4,
}
"""Types of public keys, and how many fields their wire form has (RFC 4253, 5656 and 8709; OpenSSH's PROTOCOL.u2f)."""

_POINT_BYTES = {b"nistp256": 65, b"nistp384": 97, b"nistp521": 133}


def _wireFields(blob: bytes) -> list[bytes]:
    fields = []
    while blob:
        length = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + length:
            raise ValueError("short")
        fields.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return fields


def _plausible(kind: str, fields: list[bytes]) -> bool:
    if kind == "ssh-rsa":
        return _RSA_BYTES[0] <= len(fields[2].lstrip(b"\0")) <= _RSA_BYTES[1]
    if "ed25519" in kind:
        return len(fields[1]) == 32
    curve, point = fields[1], fields[2]
    return kind.partition("@")[0].endswith(curve.decode("ascii", "replace")) and len(point) == _POINT_BYTES.get(curve)


def chainFault(chain: str) -> str | None:
    """Certificates in PEM, the server's own first."""
    try:
        x509.load_pem_x509_certificates(chain.encode())
    except ValueError:
        return "is not a chain of certificates in PEM"
    return None
