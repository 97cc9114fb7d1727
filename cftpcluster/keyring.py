"""The keys of the document, opened: for TLS, for proving the host to SSH clients, and for signing sessions.

Which listener uses which of them is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from attrs import define, field
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .cluster.sealing import CannotOpen, Sealer
from .config.document import Certificate, Document, Secret
from .servers.tls import ServerTLS


@define(eq=False)
class Keyring:
    """
    :ivar hostKeys: the oldest first.
    :ivar _forgetProblems: what was wrong with the objects of a section, before they are looked at anew.
    :ivar _failed: told of an object, by section and name, and of what is wrong with it.
    """

    _sealer: Callable[[], Sealer]
    _forgetProblems: Callable[[str], None]
    _failed: Callable[[str, str, Exception], None]
    hostKeys: Sequence[bytes] = field(default=(), init=False, repr=False)
    _sessionKeys: tuple[bytes, ...] = field(default=(), init=False, repr=False)
    _derivedKeys: dict[str, Sequence[bytes]] = field(factory=dict, init=False, repr=False)
    _tls: dict[str, ServerTLS] = field(factory=dict, init=False)
    _served: dict[str, Certificate] = field(factory=dict, init=False)

    def take(self, before: Document, document: Document) -> AbstractSet[str]:
        """Open what a document has that the one before had not; answers the names of certificates there were none
        of."""
        known = set(self._tls)
        if document.certificates is not before.certificates or document.keys is not before.keys:
            self._openSessionKeys(document)
            self._openCertificates(document)
        if document.hostKeys is not before.hostKeys:
            opened = self._opened("hostKeys", document.hostKeys, lambda value: value.key)
            oldestFirst = sorted(opened, key=lambda name: document.hostKeys[name].since)
            self.hostKeys = tuple(opened[name] for name in oldestFirst)
        return self._tls.keys() - known

    def _opened(self, section: str, values: Mapping[str, Any], secret: Callable[[Any], Secret]) -> dict[str, bytes]:
        """The opened secrets of a section's objects, by name; one that does not open is a problem."""
        self._forgetProblems(section)
        opened = {}
        for name, value in sorted(values.items()):
            try:
                opened[name] = self._sealer().open(secret(value))
            except CannotOpen as error:
                self._failed(section, name, error)
        return opened

    # --- sessions

    def _openSessionKeys(self, document: Document) -> None:
        sessions = {name: key for name, key in document.keys.items() if name.startswith("sessions")}
        opened = self._opened("keys", sessions, lambda value: value.key)
        newestFirst = sorted(opened, key=lambda name: sessions[name].revision, reverse=True)
        self._sessionKeys = tuple(opened[name] for name in newestFirst)
        self._derivedKeys.clear()

    def sessionKeys(self, kind: str) -> Sequence[bytes]:
        """Keys to sign sessions with, for listeners of one kind alone; the newest first."""
        if kind not in self._derivedKeys:
            # Asked for at each request.
            self._derivedKeys[kind] = [
                HKDF(hashes.SHA256(), 32, None, b"cftpcluster sessions " + kind.encode("utf-8")).derive(key)
                for key in self._sessionKeys
            ]
        return self._derivedKeys[kind]

    # --- certificates

    def certificate(self, name: str) -> ServerTLS | None:
        """What a listener serves by that names it."""
        return self._tls.get(name)

    def _openCertificates(self, document: Document) -> None:
        for name, key in self._opened("certificates", document.certificates, lambda value: value.key).items():
            certificate = document.certificates[name]
            if self._served.get(name) != certificate:
                self._takeCertificate(certificate, key)

    def _takeCertificate(self, certificate: Certificate, key: bytes) -> None:
        name = certificate.name
        try:
            chain = certificate.chain.encode("ascii")
            if name in self._tls:
                self._tls[name].update(chain, key)
            else:
                self._tls[name] = ServerTLS(chain, key, self._certificateFor)
            self._served[name] = certificate
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one, the others are to be served
            self._failed("certificates", name, error)

    def _certificateFor(self, host: str) -> ServerTLS | None:
        """The first certificate that is for ``host``, whoever's listener asks."""
        return next((each for _, each in sorted(self._tls.items()) if each.isFor(host)), None)

    def forget(self, document: Document, used: AbstractSet[str]) -> None:
        """What was removed is kept only as long as a listener goes on with it: these are ``used``."""
        for name in self._tls.keys() - used - set(document.certificates):
            del self._tls[name], self._served[name]
