"""Certificate signing requests: the cluster makes the key, and no key ever leaves it.

A request for a name that there is no certificate of makes a key, and a certificate that the key has signed itself, so
that listeners can serve with it until an authority has signed. What the authority signed is then uploaded alone: the
key stays where none is written. A request for one that is there is for its key.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Callable
from typing import Any

from attrs import define
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID
from twisted.internet.threads import deferToThreadPool

from ..config.document import NAME_PATTERN, Role, Secret
from ..errors import ClusterError
from ..interfaces import IAdministration
from ..servers.http import HTTPProblem, jsonAnswer
from ..vocabulary import Author, Problem
from ._formed import formedBody
from ._routes import Body, Route, Routes
from ._writes import Writes
from .writing import Preparation, Prepared

PLACEHOLDER_DAYS = 60
"""How long a certificate serves that nobody has signed; some weeks before, it is a warning."""

MOST_NAMES = 100
_BODY_BYTES = 64 * 1024
_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_NAME = re.compile(NAME_PATTERN.pattern)

REQUEST = Route(
    method="POST",
    path="/certificates/<name>/csr",
    text="Make a certificate signing request, and a key where there is no such certificate. Upload what the authority"
    " signed as the `chain` alone: the key stays.",
    role=Role.full,
    tag="certificates",
    body=Body(
        {
            "type": "object",
            "required": ["names"],
            "additionalProperties": False,
            "properties": {
                "names": {
                    "type": "array",
                    "items": {"type": "string", "maxLength": 253},
                    "minItems": 1,
                    "maxItems": MOST_NAMES,
                    "description": "Host names and addresses that it is to be for, the first as its subject.",
                }
            },
        },
        {"names": ["files.example.org"]},
    ),
    answer=Body("SigningRequest"),
)


@define(eq=False)
class SigningRoutes:
    _administration: IAdministration
    _preparation: Preparation
    _writes: Writes
    _openSecret: Callable[[Secret], bytes]
    _wallTime: Callable[[], float]
    _reactor: Any
    _pool: Any

    def add(self, routes: Routes) -> None:
        routes.add(REQUEST, self._request)

    async def _request(self, request: Any, author: Author, name: str) -> bytes:
        body = await formedBody(request, REQUEST, _BODY_BYTES)
        if not _NAME.fullmatch(name):
            raise HTTPProblem(422, "nothing was made", problems=[Problem("name", "is no name of a certificate")])
        names = _generalNames(body["names"])
        document = self._administration.document()
        existing = document.certificates.get(name)
        if existing is not None:
            key = load_pem_private_key(self._openSecret(existing.key), None)
            csr = await deferToThreadPool(self._reactor, self._pool, _csr, key, names)
            return jsonAnswer(request, {"csr": csr, "made": False, "revision": document.revision})
        chain, pem, csr = await deferToThreadPool(self._reactor, self._pool, _made, names, self._wallTime())

        async def prepare() -> Prepared:
            written = {"chain": chain, "key": {"secret": pem}}
            return await self._preparation.put("certificates", written, name, self._administration.document())

        revision, _ = await self._writes.propose(prepare, author, expected={("certificates", name): 0})
        return jsonAnswer(request, {"csr": csr, "made": True, "revision": revision})


def _generalNames(texts: list[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    found = []
    for number, text in enumerate(texts):
        try:
            names.append(_generalName(text))
        except ClusterError as error:
            found.append(Problem(f"names[{number}]", str(error)))
    if found:
        raise HTTPProblem(422, "nothing was made", problems=found)
    return names


def _generalName(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    labels = text.removeprefix("*.").split(".")
    if not all(map(_LABEL.fullmatch, labels)):
        raise ClusterError(f"{text!r} is no host name and no address")
    return x509.DNSName(text)


def _subject(names: list[x509.GeneralName]) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(names[0].value)[:64])])


def _csr(key: Any, names: list[x509.GeneralName]) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(names))
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    algorithm = None if isinstance(key, Ed25519PrivateKey) else SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM).decode("ascii")


def _made(names: list[x509.GeneralName], now: float) -> tuple[str, str, str]:
    """A certificate, its key and its signing request, all PEM."""
    key = generate_private_key(SECP256R1())
    begin = datetime.datetime.fromtimestamp(now, datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_subject(names))
        .issuer_name(_subject(names))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - datetime.timedelta(hours=1))
        .not_valid_after(begin + datetime.timedelta(days=PLACEHOLDER_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
    return certificate.public_bytes(Encoding.PEM).decode("ascii"), pem, _csr(key, names)
