"""The route that tells what certificates and host keys are: names, ends, kinds of keys, fingerprints, users.

Private keys are opened for that, and never shown.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPublicKey
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)
from twisted.internet.threads import deferToThreadPool

from ..config.document import Certificate, Document, HostKey, Role, Secret
from ..errors import ClusterError
from ..interfaces import IAdministration
from ..servers.http import jsonAnswer
from ..vocabulary import Author
from ._routes import Body, Route, Routes

INVENTORY = Route(
    method="GET",
    path="/keys",
    text="Tell what the certificates and the SSH host keys are, by name, and what uses them; never a private key.",
    role=Role.auditor,
    tag="certificates",
    answer=Body("Keys"),
)

WITHOUT_TLS = frozenset({"cluster", "health", "sftp"})
"""Kinds of listeners that serve with no certificate of the document."""


@define(eq=False)
class InventoryRoutes:
    _administration: IAdministration
    _openSecret: Callable[[Secret], bytes]
    _reactor: Any
    _pool: Any

    def add(self, routes: Routes) -> None:
        routes.add(INVENTORY, self._tell)

    async def _tell(self, request: Any, author: Author) -> bytes:
        document = self._administration.document()
        found = await deferToThreadPool(self._reactor, self._pool, inventory, document, self._openSecret)
        return jsonAnswer(request, found)


def inventory(document: Document, openSecret: Callable[[Secret], bytes]) -> dict[str, Any]:
    """Blocks."""
    users = _listenersByCertificate(document)
    certificates = [
        _certificate(one, sorted(users.get(name, ()))) for name, one in sorted(document.certificates.items())
    ]
    hostKeys = [_hostKey(one, openSecret) for _, one in sorted(document.hostKeys.items())]
    known: set[str] = set()
    for one in sorted(hostKeys, key=lambda one: (bool(one["problem"]), one["since"], one["name"])):
        # Of several of one kind, the oldest proves the host.
        one["inUse"] = not one["problem"] and one["type"] not in known
        known.add(one["type"])
    return {"certificates": certificates, "hostKeys": hostKeys}


def _listenersByCertificate(document: Document) -> Mapping[str, set[str]]:
    users: dict[str, set[str]] = {}
    for name, listener in document.listeners.items():
        if listener.kind in WITHOUT_TLS:
            continue
        users.setdefault(listener.certificate, set()).add(name)
    return users


def _certificate(certificate: Certificate, listeners: list[str]) -> dict[str, Any]:
    told: dict[str, Any] = {"name": certificate.name, "revision": certificate.revision, "listeners": listeners}
    try:
        chain = x509.load_pem_x509_certificates(certificate.chain.encode("utf-8", "replace"))
        own = chain[0]
        return {
            **told,
            "names": _namesOf(own),
            "subject": own.subject.rfc4514_string(),
            "issuer": own.issuer.rfc4514_string(),
            "selfSigned": own.issuer == own.subject,
            "begins": own.not_valid_before_utc.timestamp(),
            "ends": min(one.not_valid_after_utc.timestamp() for one in chain),
            "chainLength": len(chain),
            "keyType": keyText(own.public_key()),
            "fingerprint": own.fingerprint(SHA256()).hex(),
            "problem": "",
        }
    except Exception:  # noqa: BLE001 - whatever the parser raises of one, the others are told
        return {**told, "problem": "it cannot be read"}


def _namesOf(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def _hostKey(key: HostKey, openSecret: Callable[[Secret], bytes]) -> dict[str, Any]:
    told = {"name": key.name, "revision": key.revision, "since": key.since}
    try:
        pem = openSecret(key.key)
        load = load_ssh_private_key if b"BEGIN OPENSSH PRIVATE KEY" in pem else load_pem_private_key
        public = load(pem, None).public_key()
        line = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")
    except ClusterError as error:
        return {**told, "type": "", "keyType": "", "fingerprint": "", "publicKey": "", "problem": str(error)}
    except Exception:  # noqa: BLE001 - as above; the message could show the key
        return {**told, "type": "", "keyType": "", "fingerprint": "", "publicKey": "", "problem": "it cannot be read"}
    kind, blob = line.split()[:2]
    digest = base64.b64encode(hashlib.sha256(base64.b64decode(blob)).digest()).decode("ascii").rstrip("=")
    shown = {"type": kind, "keyType": keyText(public), "fingerprint": f"SHA256:{digest}", "publicKey": line}
    return {**told, **shown, "problem": ""}


def keyText(key: Any) -> str:
    """A public key's kind and length, for people."""
    if isinstance(key, RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, EllipticCurvePublicKey):
        return f"ECDSA {_CURVES.get(key.curve.name, key.curve.name)}"
    if isinstance(key, DSAPublicKey):
        return f"DSA {key.key_size}"
    return type(key).__name__.removeprefix("_").removesuffix("PublicKey")


_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
