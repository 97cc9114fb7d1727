"""Certificates that end soon are told of in time."""

from __future__ import annotations

import time
from typing import Any

from attrs import evolve
from twisted.internet.defer import execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.cluster.authority import makeServiceCertificate
from cftpcluster.config.changes import Put, apply
from cftpcluster.config.document import Certificate, Document, Secret
from cftpcluster.events import CertificateExpiring
from cftpcluster.expiry import LOOK_SECONDS, Expiries

DAY = 86400.0
LASTS = 3650 * DAY


class ExpiriesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.now = time.time()
        self.told: list[Any] = []
        chain = makeServiceCertificate(["localhost"], self.now)[0].decode()
        certificate = Certificate(name="default", chain=chain, key=Secret(b""))
        self.document = apply(Document(), Put("certificates", certificate))
        broken = evolve(certificate, name="broken", chain="nonsense")
        self.document = apply(self.document, Put("certificates", broken))
        self.expiries = Expiries(
            document=lambda: self.document,
            inThread=execute,
            clock=self.clock,
            wallTime=lambda: self.now,
            notify=self.told.append,
        )
        self.expiries.start()
        self.addCleanup(self.expiries.stop)

    def test_allIsWellLongBefore(self) -> None:
        self.assertEqual((self.expiries.warnings, self.told), ([], []))
        (left,) = self.expiries.left().values()
        self.assertTrue(LASTS - 2 * DAY < left <= LASTS)

    def test_theEndIsToldOfOnceADay(self) -> None:
        self.now += self.expiries.left()["default"] - 10 * DAY - 60
        self.clock.advance(LOOK_SECONDS)
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual(self.expiries.warnings, ["certificate default expires in 10 days"])
        self.assertEqual([(type(one), one.name) for one in self.told], [(CertificateExpiring, "default")])
        self.clock.pump([LOOK_SECONDS] * int(DAY // LOOK_SECONDS))
        self.assertEqual(len(self.told), 2)

    def test_whatIsOverIsSaidSo(self) -> None:
        self.now += self.expiries.left()["default"] + 1
        self.assertEqual(self.expiries.warnings, ["certificate default has expired"])

    def test_aNewOneIsAnotherMatter(self) -> None:
        self.now += self.expiries.left()["default"] + 1
        chain = makeServiceCertificate(["localhost"], self.now)[0].decode()
        self.document = apply(
            self.document, Put("certificates", Certificate(name="default", chain=chain, key=Secret(b"")))
        )
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual(self.expiries.warnings, [])
