"""Which algorithms are offered, and which a client and this server agree on (RFC 4253, section 7.1). Pure."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import frozen
from twisted.conch.ssh.transport import MSG_KEXINIT

from . import arithmetic, ciphers
from .ciphers import AUTHENTICATED, CIPHERS
from .wire import Reader, boolean, names, uint32

LEGACY_KEY_EXCHANGES = (
    b"ecdh-sha2-nistp256",
    b"ecdh-sha2-nistp384",
    b"ecdh-sha2-nistp521",
    b"diffie-hellman-group14-sha256",
)
KEY_EXCHANGES = tuple(name for name in arithmetic.KEY_EXCHANGES if name not in LEGACY_KEY_EXCHANGES)

MACS = tuple(name for name in ciphers.MACS if name.endswith(b"-etm@openssh.com"))
LEGACY_MACS = tuple(name for name in ciphers.MACS if name not in MACS)

USER_KEY_ALGORITHMS = (
    b"ssh-ed25519",
    b"sk-ssh-ed25519@openssh.com",
    b"ecdsa-sha2-nistp256",
    b"ecdsa-sha2-nistp384",
    b"ecdsa-sha2-nistp521",
    b"sk-ecdsa-sha2-nistp256@openssh.com",
    b"rsa-sha2-512",
    b"rsa-sha2-256",
)
"""What users may sign with, whatever the host keys are."""

EXTENSIONS_CLIENT = b"ext-info-c"
EXTENSIONS_SERVER = b"ext-info-s"
STRICT_CLIENT = b"kex-strict-c-v00@openssh.com"
STRICT_SERVER = b"kex-strict-s-v00@openssh.com"

_COMPRESSIONS = (b"none",)


@frozen
class Agreement:
    """
    :ivar toServer: cipher and MAC of what the client sends; the MAC of a cipher that needs none is empty.
    :ivar toClient: cipher and MAC of what we send.
    :ivar strict: whether the client is strict about key exchanges; it says so in its first KEXINIT only.
    :ivar extensions: whether it takes EXT_INFO.
    :ivar wrongGuess: whether the key exchange message that follows is to be ignored.
    """

    exchange: bytes
    hostKey: bytes
    toServer: tuple[bytes, bytes]
    toClient: tuple[bytes, bytes]
    strict: bool
    extensions: bool
    wrongGuess: bool


@frozen
class ClientOffer:
    """A client's KEXINIT."""

    exchanges: Sequence[bytes]
    hostKeys: Sequence[bytes]
    ciphers: tuple[Sequence[bytes], Sequence[bytes]]
    macs: tuple[Sequence[bytes], Sequence[bytes]]
    compressions: tuple[Sequence[bytes], Sequence[bytes]]
    guessed: bool

    @classmethod
    def read(cls, payload: bytes) -> ClientOffer:
        """From everything after the message number; ``Truncated``."""
        reader = Reader(payload, 16)
        exchanges, hostKeys = reader.names(), reader.names()
        ciphers = reader.names(), reader.names()
        macs = reader.names(), reader.names()
        compressions = reader.names(), reader.names()
        reader.names(), reader.names()
        return cls(exchanges, hostKeys, ciphers, macs, compressions, reader.boolean())


@frozen
class Offer:
    """What this server offers.

    :ivar hostKeys: algorithms to sign with.
    """

    exchanges: Sequence[bytes]
    hostKeys: Sequence[bytes]
    macs: Sequence[bytes]

    @classmethod
    def of(cls, hostKeyAlgorithms: Sequence[bytes], legacy: bool) -> Offer:
        """:param legacy: also for clients that know nothing newer."""
        if not legacy:
            return cls(KEY_EXCHANGES, hostKeyAlgorithms, MACS)
        return cls((*KEY_EXCHANGES, *LEGACY_KEY_EXCHANGES), hostKeyAlgorithms, (*MACS, *LEGACY_MACS))

    def kexInit(self, first: bool) -> bytes:
        """Our KEXINIT, message number and all. Only the ``first`` says that we are strict."""
        markers = (EXTENSIONS_SERVER, STRICT_SERVER) if first else (EXTENSIONS_SERVER,)
        lists = [(*self.exchanges, *markers), self.hostKeys]
        for each in (CIPHERS, self.macs, _COMPRESSIONS, ()):
            lists += [each, each]
        return bytes((MSG_KEXINIT,)) + os.urandom(16) + b"".join(map(names, lists)) + boolean(False) + uint32(0)

    def agree(self, client: ClientOffer) -> Agreement | None:
        """What a client and we agree on; ``None`` where it is not everything."""
        exchange = _firstOf(client.exchanges, self.exchanges)
        hostKey = _firstOf(client.hostKeys, self.hostKeys)
        toServer, toClient = (self._protection(client.ciphers[way], client.macs[way]) for way in (0, 1))
        compressions = (_firstOf(each, _COMPRESSIONS) for each in client.compressions)
        if None in {exchange, hostKey, *toServer, *toClient, *compressions}:
            return None
        guess = (list(client.exchanges[:1]), list(client.hostKeys[:1]))
        return Agreement(
            exchange,
            hostKey,
            toServer,
            toClient,
            STRICT_CLIENT in client.exchanges,
            EXTENSIONS_CLIENT in client.exchanges,
            client.guessed and guess != (list(self.exchanges[:1]), list(self.hostKeys[:1])),
        )

    def _protection(self, ciphers: Sequence[bytes], macs: Sequence[bytes]) -> tuple[Any, Any]:
        cipher = _firstOf(ciphers, CIPHERS)
        return cipher, b"" if cipher in AUTHENTICATED else _firstOf(macs, self.macs)


def _firstOf(client: Iterable[bytes], server: Sequence[bytes]) -> Any:
    """The client's first choice that the server has too."""
    return next((name for name in client if name in server), None)
