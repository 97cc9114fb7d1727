"""Whether key material that is written can be used, before it is sealed and nobody can look at it any more."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

from ..config.document import Certificate, HostKey
from ..config.written import OpenSecret, PendingSecret, WrittenObject
from ..errors import ClusterError
from ..servers.tls import checkPair
from ..vocabulary import Problem

KEYED_SECTIONS = frozenset({"certificates", "hostKeys"})

_LEAST_RSA_BITS = 2048
_LEAST_CURVE_BITS = 256
_CLOCK_SECONDS = 300
_CURVES = {"secp256r1", "secp384r1", "secp521r1"}


def keyProblems(
    one: WrittenObject,
    pending: PendingSecret | None,
    stored: Certificate | HostKey | None,
    openSecret: OpenSecret,
    legacy: bool,
    now: float,
) -> Iterator[Problem]:
    """What keeps a certificate or a host key from being served with. Takes its time; belongs in a thread.

    :param pending: the key that is written with it.
    :param stored: the object as it is now; its key stays where none is written.
    :param legacy: whether there is a listener that uses ECDSA host keys.
    :param now: seconds since the epoch.
    """
    try:
        key = pending.secret if pending is not None else openSecret(stored.key) if stored is not None else None
    except ClusterError:
        # It is a problem of this node already, and no fault of what is written.
        return
    if key is None:
        return
    found = []
    if isinstance(one.value, Certificate):
        found += checkPair(one.value.chain.encode(), key)
        # One that is there already may end: nobody's other changes are held up by that.
        if not found and (stored is None or getattr(stored, "chain", "") != one.value.chain):
            found += _chainFaults(one.value.chain.encode(), now)
    elif isinstance(one.value, HostKey):
        fault = _hostKeyFault(key, legacy)
        found += [Problem("key", fault)] if fault else []
    for problem in found:
        yield Problem(f"{one.path}.{problem.path}" if one.path else problem.path, problem.message)


def _chainFaults(chain: bytes, now: float) -> Iterator[Problem]:
    """What makes clients refuse a chain that fits together."""
    for number, certificate in enumerate(x509.load_pem_x509_certificates(chain), 1):
        which = f"certificate {number}"
        if certificate.not_valid_after_utc.timestamp() <= now:
            yield Problem("chain", f"{which} has expired, {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
        if certificate.not_valid_before_utc.timestamp() > now + _CLOCK_SECONDS:
            yield Problem("chain", f"{which} is good only from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")
        public = certificate.public_key()
        if isinstance(public, RSAPublicKey) and public.key_size < _LEAST_RSA_BITS:
            yield Problem("chain", f"{which} has an RSA key of {public.key_size} bits, not {_LEAST_RSA_BITS}")
        if isinstance(public, EllipticCurvePublicKey) and public.key_size < _LEAST_CURVE_BITS:
            yield Problem("chain", f"{which} has a key on a curve of {public.key_size} bits, not 256")
        algorithm = certificate.signature_hash_algorithm
        # Nobody looks at the signature of an authority under itself.
        if algorithm is not None and algorithm.name in ("md5", "sha1") and certificate.subject != certificate.issuer:
            yield Problem("chain", f"{which} is signed with {algorithm.name.upper()}, which nobody trusts")


def _hostKeyFault(pem: bytes, legacy: bool) -> str | None:
    load = load_ssh_private_key if b"BEGIN OPENSSH PRIVATE KEY" in pem else load_pem_private_key
    try:
        key = load(pem, None)
    except TypeError:
        return "is encrypted"
    except Exception:  # noqa: BLE001 - whatever the parser of a hostile text raises; its message could show the key
        return "is no private key in OpenSSH's format or PEM that can be read"
    if isinstance(key, RSAPrivateKey):
        return None if key.key_size >= _LEAST_RSA_BITS else f"an RSA key must have at least {_LEAST_RSA_BITS} bits"
    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return None if legacy else "an ECDSA key needs a listener with legacyAlgorithms; otherwise Ed25519 or RSA"
    return None if isinstance(key, Ed25519PrivateKey) else "must be an Ed25519 or RSA key"
