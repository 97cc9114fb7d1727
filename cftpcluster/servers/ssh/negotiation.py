"""Which algorithms are offered, and which a client and this server agree on (RFC 4253, section 7.1). Pure."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import frozen
from twisted.conch.ssh.transport import MSG_KEXINIT, SSHServerTransport

from .ciphers import AUTHENTICATED, CIPHERS, MACS
from .wire import Reader, boolean, names, uint32

KEY_EXCHANGES = tuple(
    name
    for name in (b"mlkem768x25519-sha256", b"curve25519-sha256", b"curve25519-sha256@libssh.org")
    if name in SSHServerTransport.supportedKeyExchanges
)

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


def makeKexInit(hostKeyAlgorithms: Sequence[bytes], first: bool) -> bytes:
    """Our KEXINIT, message number and all. Only the ``first`` says that we are strict."""
    marker = (STRICT_SERVER,) if first else ()
    exchanges, hostKeys = names((*KEY_EXCHANGES, EXTENSIONS_SERVER, *marker)), names(hostKeyAlgorithms)
    ciphers, macs, compressions, languages = names(CIPHERS), names(MACS), names(_COMPRESSIONS), names(())
    pairs = b"".join(each + each for each in (ciphers, macs, compressions, languages))
    return bytes((MSG_KEXINIT,)) + os.urandom(16) + exchanges + hostKeys + pairs + boolean(False) + uint32(0)


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
        ciphers, macs, compressions = (
            (reader.names(), reader.names()),
            (reader.names(), reader.names()),
            (
                reader.names(),
                reader.names(),
            ),
        )
        reader.names(), reader.names()
        return cls(exchanges, hostKeys, ciphers, macs, compressions, reader.boolean())

    def agree(self, hostKeyAlgorithms: Sequence[bytes]) -> Agreement | None:
        """What this client and we agree on; ``None`` where it is not everything."""
        exchange = _firstOf(self.exchanges, KEY_EXCHANGES)
        hostKey = _firstOf(self.hostKeys, hostKeyAlgorithms)
        toServer, toClient = (_protection(self.ciphers[way], self.macs[way]) for way in (0, 1))
        compressions = (_firstOf(each, _COMPRESSIONS) for each in self.compressions)
        if None in {exchange, hostKey, *toServer, *toClient, *compressions}:
            return None
        guess = (list(self.exchanges[:1]), list(self.hostKeys[:1]))
        return Agreement(
            exchange,
            hostKey,
            toServer,
            toClient,
            STRICT_CLIENT in self.exchanges,
            EXTENSIONS_CLIENT in self.exchanges,
            self.guessed and guess != ([KEY_EXCHANGES[0]], list(hostKeyAlgorithms[:1])),
        )


def _firstOf(client: Iterable[bytes], server: Sequence[bytes]) -> Any:
    """The client's first choice that the server has too."""
    return next((name for name in client if name in server), None)


def _protection(ciphers: Sequence[bytes], macs: Sequence[bytes]) -> tuple[Any, Any]:
    cipher = _firstOf(ciphers, CIPHERS)
    return cipher, b"" if cipher in AUTHENTICATED else _firstOf(macs, MACS)
