"""Tests of :mod:`cftpcluster.servers.ftp.options`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.codec import structure
from cftpcluster.errors import Invalid
from cftpcluster.servers.ftp import FTPOptions, PassiveAddress


class FTPOptionsTests(SynchronousTestCase):
    def problems(self, plain: dict[str, Any]) -> list[str]:
        error = self.assertRaises(Invalid, structure, FTPOptions, plain)
        return [problem.path for problem in error.problems]

    def test_theDefaultRequiresTLS(self) -> None:
        self.assertEqual(structure(FTPOptions, {}), FTPOptions(tls="required", requireCloseNotify=True))

    def test_everythingCanBeWritten(self) -> None:
        plain = {
            "implicit": True,
            "tls": "optional",
            "passivePorts": "2000",
            "passiveAddress": [{"network": "10.0.0.0/8", "address": "10.1.2.3"}],
            "requireCloseNotify": False,
        }
        options = structure(FTPOptions, plain)
        self.assertEqual(options.passiveAddress, (PassiveAddress(network="10.0.0.0/8", address="10.1.2.3"),))
        self.assertEqual(options.ports, range(2000, 2001))

    def test_onePassiveAddressIsForAll(self) -> None:
        options = structure(FTPOptions, {"passiveAddress": "192.0.2.1"})
        self.assertEqual(options.passiveAddressFor("10.0.0.1"), "192.0.2.1")

    def test_theFirstNetworkThatHoldsTheClientCounts(self) -> None:
        options = FTPOptions(
            passiveAddress=(
                PassiveAddress(network="10.0.0.0/8", address="10.1.2.3"),
                PassiveAddress(network="0.0.0.0/0", address="192.0.2.1"),
            )
        )
        self.assertEqual(options.passiveAddressFor("10.9.9.9"), "10.1.2.3")
        self.assertEqual(options.passiveAddressFor("192.0.2.9"), "192.0.2.1")
        self.assertEqual(options.passiveAddressFor("2001:db8::1"), "")

    def test_problemsAreTold(self) -> None:
        self.assertEqual(self.problems({"tls": "off", "implicit": True}), ["tls"])
        self.assertEqual(self.problems({"tls": "sometimes"}), ["tls"])
        for ports in ("", "0", "9-8", "1-70000", "1 - 2", "x", "٥"):
            self.assertEqual(self.problems({"passivePorts": ports}), ["passivePorts"], ports)
        self.assertEqual(self.problems({"passiveAddress": "ftp.example"}), ["passiveAddress"])
        self.assertEqual(self.problems({"passiveAddress": "::1"}), ["passiveAddress"])
        self.assertEqual(self.problems({"passiveAddress": "192.0.2.1%a"}), ["passiveAddress"])
        self.assertEqual(
            self.problems({"passiveAddress": [{"network": "10.0.0.1/8", "address": "x"}]}),
            ["passiveAddress[0].address", "passiveAddress[0].network"],
        )
