"""How users and auditors find a real node: what is offered, who is let in by which steps, and host keys that change."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cftpcluster.testing.processes import program, waitFor
from tests.servers.ssh.peers import pemOf

from .clients import needs, needsPackage
from .sshclients import ClientTestCase

MOUNTS = [{"path": "/", "backend": "files", "folder": "ssh"}]


@needsPackage("ssh_audit")
class AuditTests(ClientTestCase):
    def test_nothingIsFound(self) -> None:
        done = subprocess.run(
            [program("ssh-audit"), "-j", "-p", "2222", self.node.address], capture_output=True, timeout=60, check=False
        )
        found: dict[str, Any] = json.loads(done.stdout)
        for kind in ("kex", "key", "enc", "mac"):
            self.assertTrue(found[kind])
            for algorithm in found[kind]:
                notes = algorithm["notes"]
                self.assertEqual(notes.get("fail", []), [], algorithm)
                warnings = [each for each in notes.get("warn", []) if "post-quantum" not in each]
                self.assertEqual(warnings, [], algorithm)
        self.assertIn("mlkem768x25519-sha256", [each["algorithm"] for each in found["kex"]])
        self.assertIn("kex-strict-s-v00@openssh.com", [each["algorithm"] for each in found["kex"]])
        self.assertEqual({each["keysize"] for each in found["key"] if "rsa" in each["algorithm"]}, {3072})
        self.assertEqual(found["banner"]["raw"], "SSH-2.0-cftpcluster")
        self.assertEqual([note for note in found["additional_notes"] if "throttling" in note], [])


@needs("sftp")
class StepsTests(ClientTestCase):
    """A user who has to show a key and then a password."""

    def setUp(self) -> None:
        super().setUp()
        user: dict[str, Any] = self.user.document(mounts=MOUNTS, authentication=[["publickey", "password"]])
        restricted = f'from="198.51.100.0/24",expiry-time="20990101" {self.user.publicKey}'
        self.node.apply({"users": [{**user, "name": "steps"}, {**user, "name": "away", "publicKeys": [restricted]}]})
        self.answers = self.local / "answers"
        self.answers.write_text(f"#!/bin/sh\necho '{self.user.password}'\n")
        self.answers.chmod(0o700)

    def logIn(self, name: str, *methods: str, ends: int = 0) -> str:
        options = self.sshOptions(PreferredAuthentications=",".join(methods), NumberOfPasswordPrompts="1")
        environment = {"SSH_ASKPASS": str(self.answers), "SSH_ASKPASS_REQUIRE": "force"}
        command = ("sftp", *options, f"{name}@{self.node.address}")
        done = self.run_(*command, script="pwd\n", ends=ends, environment=environment)
        return (done.stdout + done.stderr).decode()

    def test_bothLogInAndOneDoesNot(self) -> None:
        self.assertIn("Remote working directory: /", self.logIn("steps", "publickey", "password"))
        self.assertIn("Permission denied (password)", self.logIn("steps", "publickey", ends=255))
        said = self.logIn("steps", "password", ends=255)
        self.assertIn("Permission denied (publickey,password,keyboard-interactive)", said)

    def test_aPasswordAloneIsNotEnoughAnywhere(self) -> None:
        address, login = self.node.address, f"steps:{self.user.password}"
        files = f"https://{address}:8443/api/v1/files/"
        done = self.run_("curl", "-sk", "-u", login, "-o/dev/null", "-w%{http_code}", files)
        self.assertEqual(done.stdout, b"401")
        self.run_("curl", "-sk", "--ssl-reqd", "-u", login, f"ftp://{address}:2121/", ends=67)

    def test_keysAreNoGoodFromElsewhere(self) -> None:
        self.logIn("away", "publickey", ends=255)


@needs("sftp")
class HostKeyTests(ClientTestCase):
    def test_aRotationReachesClientsWithoutAWarning(self) -> None:
        known = self.local / "known_hosts"
        options = {"UserKnownHostsFile": str(known), "UpdateHostKeys": "yes", "HostKeyAlgorithms": "ssh-ed25519"}
        self.sftp("pwd", **{**options, "StrictHostKeyChecking": "accept-new"})
        (old,) = self.keys(known)
        pem = self.local / "new"
        pem.write_bytes(pemOf(Ed25519PrivateKey.generate()))
        self.node.ctl("hostkey", "add", "another", "--key", str(pem))
        try:
            self.sftp("pwd", **{**options, "StrictHostKeyChecking": "yes"})
            both = self.keys(known)
            self.assertEqual((len(both), old in both), (2, True))
            self.replace("ed25519")
            self.sftp("pwd", **{**options, "StrictHostKeyChecking": "yes"})
            self.assertEqual(self.keys(known), both - {old})
        finally:
            self.node.run("hostkey", "remove", "another")

    def replace(self, name: str) -> None:
        """Remove a host key; there is one of that name again at the end."""
        pem = self.local / "later"
        pem.write_bytes(pemOf(Ed25519PrivateKey.generate()))
        self.node.ctl("hostkey", "remove", name)
        self.addCleanup(self.node.ctl, "hostkey", "add", name, "--key", str(pem))

    def keys(self, known: Path) -> set[str]:
        def written() -> set[str]:
            return {line.split()[2] for line in known.read_text().splitlines()}

        return waitFor("a known host", written)
