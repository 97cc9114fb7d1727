"""Backups over the API."""

from __future__ import annotations

import json
from typing import Any

from cftpcluster.backup import openBackup
from cftpcluster.config.changes import Put
from cftpcluster.config.document import User

from .support import AdministrationTestCase, basic

PASSPHRASE = "correct horse"


class BackupTests(AdministrationTestCase):
    def backup(self) -> bytes:
        return self.ask("POST", "backup", {"passphrase": PASSPHRASE}).body

    def restore(self, data: bytes, passphrase: str = PASSPHRASE, query: str = "", status: int = 200) -> Any:
        body = json.dumps({"passphrase": passphrase}).encode() + b"\n" + data
        return self.ask("POST", f"restore{query}", body=body, status=status).json

    def test_holdsTheDocumentAndItsKeys(self) -> None:
        backup = openBackup(self.backup(), PASSPHRASE.encode())
        self.assertEqual(backup.document, self.cluster.document)
        self.assertEqual(backup.membership.clusterKeys, self.cluster.sealer.keys)

    def test_isBroughtBackAsOneRevision(self) -> None:
        data = self.backup()
        before = self.cluster.document
        self.cluster.node.change(Put("users", User(name="late")))
        told = self.restore(data, query="?dryRun")
        self.assertEqual((told["changed"], told["revision"]), (["removed users/late"], before.revision + 1))
        self.assertEqual(self.restore(data)["revision"], before.revision + 2)
        self.assertEqual(self.cluster.document.users, before.users)
        # All is so already.
        self.assertEqual(self.restore(data)["revision"], before.revision + 2)

    def test_wrongPassphraseAndAlteredFilesChangeNothing(self) -> None:
        data = self.backup()
        self.cluster.node.change(Put("users", User(name="late")))
        self.assertIn("passphrase", self.restore(data, "wrong horse", status=409)["detail"])
        self.restore(data[:-1] + bytes([data[-1] ^ 1]), status=409)
        self.restore(data[:-1], status=409)
        self.restore(b"", status=409)
        self.assertEqual(self.cluster.node.proposals, [])

    def test_passphraseIsRequired(self) -> None:
        self.ask("POST", "backup", {}, status=422)
        self.ask("POST", "backup", {"passphrase": "short"}, status=409)
        self.ask("POST", "backup?passphrase=correct+horse", {"passphrase": PASSPHRASE}, status=400)
        self.ask("POST", "restore", body=b"no json\n", status=422)

    def test_isForFullAdministratorsAlone(self) -> None:
        for role in ("users", "auditor"):
            for path in ("backup", "restore"):
                answer = self.cluster.connect().ask(
                    "POST", f"/api/v1/{path}", {"passphrase": PASSPHRASE}, Authorization=basic(role)
                )
                self.assertEqual(answer.status, 403)
