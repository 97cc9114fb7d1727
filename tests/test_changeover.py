"""How a node follows the cluster's keys, without a cluster."""

from __future__ import annotations

from typing import Any

from attrs import define, evolve, field
from cryptography import x509
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.changeover import CHANGE_OVER_SECONDS, LOOK_SECONDS, ChangeOver
from cftpcluster.cluster.authority import AUTHORITY, openAuthority
from cftpcluster.cluster.rotation import PREVIOUS_AUTHORITY, isOfAuthority, putOut, putOutCompromised
from cftpcluster.cluster.sealing import Sealer
from cftpcluster.config.changes import Put, apply
from cftpcluster.errors import PrimaryUnreachable
from cftpcluster.founding import Membership
from cftpcluster.testing.membership import SmallCluster

NOW = 1_800_000_000.0


@define(eq=False)
class FakeRenewal:
    """Renews from the cluster's own authority."""

    case: Any
    membership: Membership
    issued: dict[str, int] = field(factory=dict)
    stored: list[Membership] = field(factory=list)
    failing: Exception | None = None
    renewals: int = 0

    def keep(self, membership: Membership) -> Deferred[None]:
        self.membership = membership
        self.stored.append(membership)
        return succeed(None)

    async def renew(self) -> None:
        if self.failing:
            raise self.failing
        self.renewals += 1
        identity = self.membership.identity
        certificate = self.case.issue(self.membership.sealer, identity.certificate)
        await self.keep(evolve(self.membership, identity=evolve(identity, certificatePem=certificate)))


class ChangeOverTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.cluster = SmallCluster(NOW)
        identities = {"node-a": self.cluster.found("node-a")}
        for name in ("node-b", "node-c"):
            identities[name] = self.cluster.add(name)
        self.certificates = {name: identity.certificate for name, identity in identities.items()}
        self.identities = identities
        self.isPrimary = True
        self.become("node-a")

    def become(self, name: str) -> None:
        """The node under test is that one."""
        self.isPrimary = name == "node-a"
        self.renewal: Any = FakeRenewal(self, Membership(self.identities[name], self.cluster.sealer.keys))
        self.shown = {other: one for other, one in self.certificates.items() if other != name}
        self.changeOver = ChangeOver(
            renewal=self.renewal,
            document=lambda: self.cluster.document,
            isPrimary=lambda: self.isPrimary,
            certificates=lambda: self.shown,
            proposeOwn=self.propose,
            clock=self.clock,
            changed=lambda: None,
        )
        self.changeOver.start()
        self.addCleanup(self.changeOver.stop)

    def issue(self, sealer: Sealer, certificate: x509.Certificate) -> bytes:
        name = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value[0].value
        key: Any = certificate.public_key()
        return openAuthority(self.cluster.document, sealer).issue(name.rpartition(":")[2], key, NOW)

    def propose(self, change: Any, expected: Any) -> Deferred[int]:
        self.cluster.document = apply(self.cluster.document, change)
        self.changeOver.take(self.cluster.document)
        return succeed(self.cluster.document.revision)

    def remove(self, compromised: bool) -> None:
        sealer = self.renewal.membership.sealer
        if compromised:
            rotation = putOutCompromised(self.cluster.document, "node-c", sealer, NOW)
        else:
            rotation = putOut(self.cluster.document, "node-c", sealer)
        self.cluster.document = apply(self.cluster.document, rotation.change)
        self.changeOver.take(self.cluster.document)

    def look(self) -> None:
        self.clock.advance(LOOK_SECONDS)

    @property
    def isCurrent(self) -> bool:
        return isOfAuthority(self.renewal.membership.identity.certificate, self.cluster.document)

    @property
    def trusted(self) -> int:
        return len(self.renewal.membership.identity.authorities)

    def test_newKeyIsThereBeforeAnythingIsOpened(self) -> None:
        self.changeOver.take(self.cluster.document)
        self.assertEqual(self.renewal.stored, [])
        self.remove(compromised=False)
        sealer = self.renewal.membership.sealer
        self.assertEqual(len(sealer.keys), 2)
        sealer.open(self.cluster.document.keys[AUTHORITY].key)
        self.assertEqual(self.changeOver.problem, "")
        self.assertEqual(len(self.renewal.stored), 1)
        # Other changes do not make it look again.
        self.cluster.change(Put("nodes", self.cluster.document.nodes["node-b"]))
        self.changeOver.take(self.cluster.document)
        self.look()
        self.assertEqual((len(self.renewal.stored), self.renewal.renewals), (1, 0))

    def test_nodeThatWasPutOutSaysThatItHasNoKey(self) -> None:
        self.remove(compromised=False)
        self.become("node-c")
        self.changeOver.take(self.cluster.document)
        self.assertIn("has to join anew", self.changeOver.problem)
        self.assertEqual(len(self.renewal.membership.clusterKeys), 1)

    def test_secondaryGetsACertificateOfTheNewAuthorityAndTrustsBoth(self) -> None:
        self.remove(compromised=True)
        self.become("node-b")
        self.changeOver.take(self.cluster.document)
        self.assertEqual((self.trusted, self.isCurrent), (2, False))
        self.renewal.failing = PrimaryUnreachable("away")
        self.look()
        self.assertFalse(self.isCurrent)
        self.renewal.failing = None
        self.look()
        self.assertTrue(self.isCurrent)
        self.look()
        self.assertEqual((self.renewal.renewals, self.trusted), (1, 2))
        self.assertIn(PREVIOUS_AUTHORITY, self.cluster.document.keys)

    def test_primaryIsTheLastAndHasTheOldOneForgotten(self) -> None:
        self.remove(compromised=True)
        self.assertEqual(self.changeOver.warnings, ["the certificate authority is being replaced; waiting for node-b"])
        self.look()
        self.assertFalse(self.isCurrent)
        self.renewal.issued["node-b"] = self.cluster.document.keys[AUTHORITY].revision
        self.look()
        self.assertEqual((self.isCurrent, self.trusted), (True, 1))
        self.assertNotIn(PREVIOUS_AUTHORITY, self.cluster.document.keys)
        self.assertEqual(self.changeOver.warnings, [])

    def test_nodesThatShowANewCertificateAreDone(self) -> None:
        self.remove(compromised=True)
        issued = self.issue(self.renewal.membership.sealer, self.shown["node-b"])
        self.shown["node-b"] = x509.load_pem_x509_certificate(issued)
        self.look()
        self.assertNotIn(PREVIOUS_AUTHORITY, self.cluster.document.keys)

    def test_nodesThatAreAwayForADayAreNotWaitedFor(self) -> None:
        self.remove(compromised=True)
        self.look()
        self.clock.advance(CHANGE_OVER_SECONDS - LOOK_SECONDS)
        self.assertIn(PREVIOUS_AUTHORITY, self.cluster.document.keys)
        self.clock.pump([LOOK_SECONDS, LOOK_SECONDS])
        self.assertEqual((self.isCurrent, self.trusted), (True, 1))
