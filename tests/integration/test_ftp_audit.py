"""What an auditor of TLS finds on the FTP ports of a real node, explicit and implicit: what ``sslyze`` looks for.

``sslyze`` itself wants a ``cryptography`` that is older than ours, so it is not among what tests install.
"""

from __future__ import annotations

import ssl
import subprocess
import warnings

from twisted.trial.unittest import SynchronousTestCase

from ..sharedclusters import ALONE
from .clients import needs
from .ftpserver import Talker, clientContext

EXPLICIT, IMPLICIT = 2121, 2990
SUITES = {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"}
"""Those of TLS 1.2 that are for a node's own certificate."""


def contextOf(version: ssl.TLSVersion, suites: str = "ALL:COMPLEMENTOFALL") -> ssl.SSLContext:
    """A client that speaks this version alone, and takes whatever it knows."""
    context = clientContext()
    context.set_ciphers(f"{suites}:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    return context


@needs("openssl")
class ExplicitAuditTests(SynchronousTestCase):
    port = EXPLICIT

    def setUp(self) -> None:
        self.address = ALONE.get().primary.address

    def agreed(self, context: ssl.SSLContext) -> str:
        """The suite of a handshake; "" where there was none."""
        try:
            with Talker(self.port, host=self.address, implicit=self.port == IMPLICIT, context=context) as client:
                if self.port == EXPLICIT:
                    client.secure()
                assert isinstance(client.socket, ssl.SSLSocket)
                return (client.socket.cipher() or ("",))[0]
        except OSError:
            return ""

    def openssl(self, *switches: str) -> str:
        start = ("-starttls", "ftp") if self.port == EXPLICIT else ()
        command = ["openssl", "s_client", "-connect", f"{self.address}:{self.port}", *start, *switches]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
        return (done.stdout + done.stderr).decode("utf-8", "replace")

    def test_nothingOlderThanTLS12(self) -> None:
        versions = ssl.TLSVersion
        found = [bool(self.agreed(contextOf(each))) for each in (versions.TLSv1, versions.TLSv1_1)]
        self.assertEqual(found, [False, False])
        self.assertTrue(self.agreed(contextOf(versions.TLSv1_3)).startswith("TLS_"))

    def test_onlyGoodSuites(self) -> None:
        suites, found = "ALL:COMPLEMENTOFALL", set()
        while suite := self.agreed(contextOf(ssl.TLSVersion.TLSv1_2, suites)):
            found.add(suite)
            suites += f":!{suite}"
        self.assertEqual(found, SUITES)

    def test_onlyGoodGroups(self) -> None:
        found = {}
        for name in ("prime256v1", "secp384r1", "secp521r1"):
            context = contextOf(ssl.TLSVersion.TLSv1_3)
            context.set_ecdh_curve(name)
            found[name] = bool(self.agreed(context))
        self.assertEqual({name for name, isTaken in found.items() if isTaken}, {"prime256v1", "secp384r1"})

    def test_whatProtectsOlderHandshakes(self) -> None:
        said = self.openssl("-tls1_2")
        for line in ("Secure Renegotiation IS supported", "Compression: NONE", "Extended master secret: yes"):
            self.assertIn(line, said)
        self.assertIn("inappropriate fallback", self.openssl("-tls1_2", "-fallback_scsv"))


class ImplicitAuditTests(ExplicitAuditTests):
    port = IMPLICIT
