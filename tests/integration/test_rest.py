"""The administration over HTTPS on real nodes, none of them the primary: tokens, authors, conditions, the past."""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl
import subprocess
from itertools import count
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import NodeProcess, program, waitFor

from ..sharedclusters import THREE

UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE

_numbers = count()


def https(node: NodeProcess, token: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """Status and value of one request."""
    client = http.client.HTTPSConnection(node.address, 8444, timeout=30, context=UNVERIFIED)
    try:
        sent = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        client.request(method, f"/api/v1/{path}", None if body is None else json.dumps(body), sent)
        answer = client.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        client.close()


class SecondaryTests(SynchronousTestCase):
    """Whatever is asked of a secondary is as if it were asked of the primary."""

    def setUp(self) -> None:
        self.cluster = THREE.get()
        self.one, self.other = self.cluster.secondaries
        self.user = f"rest-{next(_numbers)}"
        body = {"name": "ci", "scopes": ["full"], "admin": "admin"}
        made = self.one.ask("POST", "tokens", body, wait=30)
        self.token, self.tokenId = made["token"], made["id"]

    def ask(
        self, node: NodeProcess, method: str, path: str, body: Any = None, status: int = 200, **headers: str
    ) -> Any:
        got, value = https(node, self.token, method, path, body, **headers)
        self.assertEqual(got, status, value)
        return value

    def test_writesKeepTheirAuthorAndTheirConditions(self) -> None:
        made = self.ask(self.other, "PUT", f"users/{self.user}?wait=30", {}, 201)
        self.assertEqual(made["pending"], [])
        newest = self.cluster.primary.ask("GET", "history", object=f"users/{self.user}")["items"][0]
        self.assertEqual(newest["author"], f"admin (token ci {self.tokenId})")
        self.assertEqual((newest["node"], newest["revision"]), (self.other.name, made["revision"]))
        self.assertTrue(newest["address"].startswith("127."), newest)
        # Two administrators at once, on two nodes: the second is told what is there now.
        stale = f'"{made["revision"]}"'
        self.ask(self.one, "PATCH", f"users/{self.user}?wait=30", {"enabled": False}, If_Match=stale)
        refused = self.ask(self.other, "PATCH", f"users/{self.user}", {"expires": None}, 412, If_Match=stale)
        self.assertFalse(refused["current"]["enabled"])
        problem = self.ask(self.other, "PATCH", f"users/{self.user}", {"groups": ["ghost"], "quota": 1}, 422)
        self.assertEqual([one["path"] for one in problem["errors"]], ["quota"])

    def test_tokenThatIsRemovedIsGoodNowhere(self) -> None:
        for node in self.cluster.nodes.values():
            self.ask(node, "GET", "status")
        listed = waitFor("its use is known to others", lambda: self._listed(self.cluster.primary, used=True))
        self.assertEqual((listed["name"], listed["admin"], listed["good"]), ("ci", "admin", True))
        self.ask(self.other, "POST", "tokens", {"name": "more", "scopes": ["read"]}, 403)
        self.ask(self.other, "DELETE", f"tokens/{self.tokenId}?wait=30")
        for node in self.cluster.nodes.values():
            self.ask(node, "GET", "status", status=401)

    def _listed(self, node: NodeProcess, used: bool) -> Any:
        found = [one for one in node.ask("GET", "tokens", limit=1000)["items"] if one["id"] == self.tokenId]
        return found[0] if found and (found[0]["lastUsed"] is not None) == used else None

    def test_thePastIsToldAndGoneBackTo(self) -> None:
        self.ask(self.one, "PUT", f"users/{self.user}?wait=30", {"allow": ["10.0.0.0/8"]}, 201)
        before = self.one.status()["revision"]
        self.ask(self.one, "PATCH", f"users/{self.user}?wait=30", {"allow": [], "password": "secret of today"})
        # The secondary came by a snapshot, so its own journal begins later than that.
        difference = self.ask(self.one, "GET", "diff?from=1&limit=10000")
        self.assertIn(self.user, [one["name"] for one in difference["differences"]])
        self.assertEqual(self.ask(self.one, "GET", "history/1")["node"], self.cluster.primary.name)
        answer = self.ask(self.one, "POST", "rollback?wait=30", {"revision": before, "only": [f"users/{self.user}"]})
        self.assertEqual((answer["pending"], answer["kept"]), ([], [f"users/{self.user} keeps its password"]))
        for node in self.cluster.nodes.values():
            self.assertEqual(node.ask("GET", f"users/{self.user}")["allow"], ["10.0.0.0/8"])

    def test_programWithAToken(self) -> None:
        path = self.cluster.folder / f"token-{self.user}"
        path.write_text(self.token)
        certificate = ssl.PEM_cert_to_DER_cert(self.one.ask("GET", "certificates/default")["chain"])
        command = [program("cftpctl"), "--url", f"https://{self.other.address}:8444", "--token-file", str(path)]
        command += ["--fingerprint", hashlib.sha256(certificate).hexdigest()]
        for verb in (["user", "add", self.user], ["history", "--object", f"users/{self.user}", "--json"]):
            done = subprocess.run([*command, *verb], capture_output=True, timeout=60, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)[0]["node"], self.other.name)
