"""Join tokens: one word that lets one new node in, made on the primary and carried to the new node by an operator.

A token's text holds where the primary is, the fingerprint of the authority that the new node is to trust, the token's
id and its secret; the document holds the id, a hash of the secret, the node's name and the expiry. A token belongs to
the first public key that uses it: that key may use it again until it expires, so a join that broke off is repeated,
and nobody else can use what leaked afterwards.

The text is ``cftpjoin1-`` and, in base64url, the authority's fingerprint (32 bytes), the id (8), the secret (20), the
port (2), the host, and the first 4 bytes of the SHA-256 of all that, which tells a typing error from a wrong token.
How a token travels is not known here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import re
import secrets

from attrs import field, frozen

from ..config.changes import Remove
from ..config.document import Document, JoinToken
from ..errors import ClusterError, Refused

EXPIRE_SECONDS = 24 * 3600
"""How long a token is good unless the operator says otherwise."""

_PREFIX = "cftpjoin"
_VERSION = "1"
_FINGERPRINT_BYTES = 32
_ID_BYTES = 8
_SECRET_BYTES = 20
_PORT_BYTES = 2
_CHECK_BYTES = 4
_FIXED_BYTES = _FINGERPRINT_BYTES + _ID_BYTES + _SECRET_BYTES + _PORT_BYTES + _CHECK_BYTES
_MOST_CHARACTERS = 1024
_FORGET_SECONDS = 7 * 24 * 3600
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_ADDRESS = re.compile(r"[0-9A-Za-z:.]{1,45}(%[0-9A-Za-z._-]{1,32})?")
_NO_HASH = hashlib.sha256(b"").hexdigest()


class NotAToken(ClusterError):
    """A text is no join token that this version can use; the error says what is wrong with it, never the secret."""


@frozen
class JoinTokenText:
    """What a join token's text says.

    :ivar caFingerprint: SHA-256 of the authority's certificate, lower-case hex.
    """

    host: str
    port: int
    caFingerprint: str
    tokenId: str
    secret: bytes = field(repr=False)

    def render(self) -> str:
        """The token's text, one word."""
        fields = bytes.fromhex(self.caFingerprint) + bytes.fromhex(self.tokenId) + self.secret
        body = fields + self.port.to_bytes(_PORT_BYTES, "big") + self.host.encode("ascii")
        return f"{_PREFIX}{_VERSION}-" + base64.urlsafe_b64encode(body + _check(body)).rstrip(b"=").decode("ascii")

    @classmethod
    def parse(cls, text: str) -> JoinTokenText:
        """What ``text`` says; :class:`NotAToken` with one clear line otherwise."""
        word = text.strip()
        head, _, encoded = word.partition("-")
        if not head.startswith(_PREFIX) or not head.removeprefix(_PREFIX).isdecimal():
            raise NotAToken(f"not a join token: one begins with {_PREFIX}{_VERSION}-")
        if head.removeprefix(_PREFIX) != _VERSION:
            raise NotAToken(
                f"a join token of format {head.removeprefix(_PREFIX)[:9]}, which this version does not know"
            )
        damaged = NotAToken("the join token is damaged: a character was changed, or a part is missing")
        try:
            if len(word) > _MOST_CHARACTERS or not encoded.isascii():
                raise damaged
            # Python's decoder skips what is not base64 unless told otherwise.
            padded = encoded.translate(str.maketrans("-_+/", "+/!!")) + "=" * (-len(encoded) % 4)
            decoded = base64.b64decode(padded, validate=True)
        except (binascii.Error, ValueError):
            raise damaged from None
        body, check = decoded[:-_CHECK_BYTES], decoded[-_CHECK_BYTES:]
        if len(decoded) < _FIXED_BYTES or not hmac.compare_digest(_check(body), check):
            raise damaged
        return cls._fromBody(body)

    @classmethod
    def _fromBody(cls, body: bytes) -> JoinTokenText:
        fields = []
        for length in (_FINGERPRINT_BYTES, _ID_BYTES, _SECRET_BYTES, _PORT_BYTES):
            fields.append(body[:length])
            body = body[length:]
        fingerprint, tokenId, secret, port = fields
        host = body.decode("ascii", "replace")
        if not isHost(host) or not any(port):
            raise NotAToken("the join token names no address that a node can be at")
        return cls(host, int.from_bytes(port, "big"), fingerprint.hex(), tokenId.hex(), secret)


def isHost(text: str) -> bool:
    """Whether ``text`` is an IP address or can be a host name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return len(text) <= 253 and _HOST_NAME.fullmatch(text) is not None
    # A zone, which may follow an IPv6 address, can hold any character.
    return _ADDRESS.fullmatch(text) is not None


def newToken(
    nodeName: str, host: str, port: int, caFingerprint: str, now: float, expireSeconds: float
) -> tuple[str, JoinToken]:
    """A token for one node: its text, for the operator, and what the document keeps of it.

    :param host: where the primary is reached: an IP address or a host name, with its cluster port.
    """
    if not isHost(host):
        raise ClusterError(f"{host!r} is neither an IP address nor a host name")
    text = JoinTokenText(host, port, caFingerprint, secrets.token_hex(_ID_BYTES), secrets.token_bytes(_SECRET_BYTES))
    record = JoinToken(name=text.tokenId, node=nodeName, secretHash=_hash(text.secret), expires=now + expireSeconds)
    return text.render(), record


def checkedToken(
    document: Document, tokenId: str, secret: bytes, nodeName: str, fingerprint: str, now: float
) -> JoinToken:
    """The token that lets the key ``fingerprint`` in as node ``nodeName``; :class:`Refused` with the reason.

    Whoever does not know the secret learns nothing: a forged one and an unknown token get the same answer.
    """
    token = document.tokens.get(tokenId)
    expected = token.secretHash if token is not None else _NO_HASH
    if not hmac.compare_digest(expected, _hash(secret)) or token is None:
        raise Refused("no such join token")
    if now >= token.expires:
        raise Refused("the join token expired")
    if nodeName != token.node:
        raise Refused(f'the join token is for node "{token.node}", not "{nodeName}"')
    if token.boundTo not in ("", fingerprint):
        raise Refused("the join token was used by another key")
    return token


def staleTokens(document: Document, now: float) -> tuple[Remove, ...]:
    """Changes that forget the tokens that expired a week ago; until then their users are told that they expired."""
    stale = (token.name for token in document.tokens.values() if now - token.expires > _FORGET_SECONDS)
    return tuple(Remove("tokens", name) for name in sorted(stale))


def _check(body: bytes) -> bytes:
    return hashlib.sha256(_PREFIX.encode("ascii") + body).digest()[:_CHECK_BYTES]


def _hash(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()
