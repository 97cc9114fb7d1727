"""What a new cluster starts with."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.changes import Batch, Put, apply
from cftpcluster.config.defaults import defaultChanges
from cftpcluster.config.document import Certificate, Document, Secret
from cftpcluster.config.validation import problems

from .samples import certificate


class DefaultTests(SynchronousTestCase):
    def setUp(self) -> None:
        put = Put("certificates", Certificate(name="default", chain=certificate(), key=Secret(b"k")))
        self.batch = Batch((put, *defaultChanges()))
        self.document = apply(Document(), self.batch)

    def test_valid(self) -> None:
        self.assertEqual(problems(self.document, self.batch, {}), [])

    def test_listeners(self) -> None:
        self.assertEqual(
            {(one.name, one.kind, one.port) for one in self.document.listeners.values()},
            {
                ("ftp", "ftp", 2121),
                ("ftps", "ftp", 2990),
                ("sftp", "sftp", 2222),
                ("https", "web", 8443),
                ("manager", "manager", 8444),
                ("cluster", "cluster", 8789),
                ("health", "health", 8790),
            },
        )
        self.assertEqual(self.document.listeners["ftps"].options, {"implicit": True})

    def test_administrationAnswersPrivateNetworksOnly(self) -> None:
        for name in ("manager", "health"):
            allow = self.document.listeners[name].allow
            self.assertIn("127.0.0.0/8", allow)
            self.assertNotIn("0.0.0.0/0", allow)
        self.assertEqual(self.document.listeners["sftp"].allow, ())

    def test_nobodyCanLogIn(self) -> None:
        self.assertEqual((len(self.document.users), len(self.document.admins)), (0, 0))
