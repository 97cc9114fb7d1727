"""Secrets that are handed in on every way, and found nowhere afterwards."""

from __future__ import annotations

import base64
import contextlib
import ftplib
import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPSConnection
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import ClusterProcesses, NodeProcess

from ..sharedclusters import whole
from .clusters import PASSWORD, user
from .load import basic, request, unverified


@contextmanager
def talking(node: NodeProcess, client: ftplib.FTP) -> Iterator[ftplib.FTP]:
    """A client that is connected, and told no."""
    with closing(client), contextlib.suppress(ftplib.Error, EOFError):
        client.connect(node.address, 2121, 15)
        yield client


class SecretTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = ClusterProcesses(("node-a", "node-b"))
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__, None, None, None)
        self.a, self.b = self.cluster.nodes.values()
        self.planted: dict[str, str] = {}
        self.seen = ""

    def plant(self, what: str) -> str:
        """A new secret, that is not to be found anywhere."""
        self.planted[what] = made = f"planted{secrets.token_hex(12)}"
        return made

    def look(self) -> None:
        """What other users of the machine see of its processes: clients of other makers have arguments of their own."""
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                arguments = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
                self.seen += arguments if "cftpc" in arguments else ""

    def file(self, name: str, content: str) -> Path:
        # Beside the state folders, so that it is not found where it was handed in.
        folder = self.cluster.folder / "handed"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(content + "\n")
        return folder / name

    def test_noneIsFoundInLogsDumpsAndStateFolders(self) -> None:
        administrator = self.plant("administrator's password")
        self.a.start("primary", "--admin-password-file", str(self.file("admin", administrator)))
        token = self.a.run("node", "token", "node-b").stdout.decode().strip()
        self.planted["join token"] = token
        self.b.start("secondary", "--join-file", str(self.file("token", token)))
        users = [user(), user(name="bob", password=self.plant("password in a document"))]
        self.a.ctl("apply", str(self.file("document", json.dumps({"users": users}))))
        for node, name in ((self.a, "carol"), (self.b, "dave")):
            given = self.plant(f"password given to {node.name}")
            done = node.run("user", "add", name, "--password-stdin", stdin=given.encode() + b"\n")
            self.assertEqual(done.returncode, 0, done.stderr)
        whole(self.cluster)
        for node in (self.a, self.b):
            self.failToLogIn(node)
        self.administer(administrator)
        self.planted["cookie"] = self.cookie(self.b)
        backup = self.cluster.folder / "handed" / "backup"
        phrase = self.file("phrase", self.plant("passphrase of a backup"))
        done = self.a.run("backup", str(backup), "--passphrase-file", str(phrase))
        self.assertEqual(done.returncode, 0, done.stderr)
        wrong = self.file("wrong", self.plant("wrong passphrase of a backup"))
        self.assertNotEqual(
            self.a.run("backup", "--verify", str(backup), "--passphrase-file", str(wrong)).returncode, 0
        )
        self.plantKeys()
        self.look()
        for node in (self.a, self.b):
            for command in (("status",), ("history",), ("export",), ("sessions",), ("bans", "list"), ("node", "list")):
                self.seen += node.run(*command, "--json").stdout.decode()
            self.seen += node.health("/metrics")[1].decode() + node.health("/readyz")[1].decode()
        self.assertGreaterEqual(len(self.planted), 20, sorted(self.planted))
        self.assertNothingFound()

    def failToLogIn(self, node: NodeProcess) -> None:
        """Wrong passwords, and right ones at the wrong place."""
        with talking(node, ftplib.FTP()) as client:
            client.login("alice", self.plant(f"password in the clear on {node.name}"))
        with talking(node, ftplib.FTP_TLS(context=unverified())) as client:
            client.login("alice", self.plant(f"wrong password over FTP on {node.name}"))
        with talking(node, secured := ftplib.FTP_TLS(context=unverified())) as client:
            secured.auth()
            client.sendcmd(f"PASS {self.plant(f'password before a name on {node.name}')}")
        wrong = base64.b64encode(f"alice:{self.plant(f'wrong password over HTTPS on {node.name}')}".encode()).decode()
        status, _ = request(node, "GET", "", Authorization=f"Basic {wrong}")
        self.assertEqual(status, 401)
        status, _ = request(node, "GET", "", Authorization=f"Bearer {self.plant(f'token on {node.name}')}")
        self.assertIn(status, (401, 200))

    def administer(self, password: str) -> None:
        """Log in to the administration rightly and wrongly, and have a token made."""
        headers = {"Content-Type": "application/json"}
        for name, given in (("admin", self.plant("wrong password of the administrator")), ("admin", password)):
            with closing(HTTPSConnection(self.a.address, 8444, timeout=15, context=unverified())) as connection:
                connection.request("POST", "/api/v1/login", json.dumps({"name": name, "password": given}), headers)
                answer = connection.getresponse()
                body = answer.read()
                self.assertEqual(answer.status, 200 if given == password else 401, body)
                if answer.status == 200:
                    self.planted["administrator's cookie"] = answer.headers["Set-Cookie"].split(";")[0].split("=", 1)[1]
                    self.planted["token against forged requests"] = json.loads(body)["csrfToken"]

    def cookie(self, node: NodeProcess) -> str:
        with closing(HTTPSConnection(node.address, 8443, timeout=15, context=unverified())) as connection:
            login = json.dumps({"name": "alice", "password": PASSWORD})
            connection.request("POST", "/api/v1/login", login, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            self.assertEqual(answer.status, 200, answer.read())
            return answer.headers["Set-Cookie"].split(";")[0].split("=", 1)[1]

    def plantKeys(self) -> None:
        """Keys that the cluster made: what they are sealed as may lie about, they themselves not."""
        exported = json.loads(self.a.run("export", "--secrets", "--json").stdout)
        for section in ("certificates", "hostkeys", "hostKeys"):
            for one in exported.get(section, []):
                lines = [line for line in str(one["key"].get("secret", "")).splitlines() if len(line) > 30]
                if lines:
                    self.planted[f"{section} {one['name']}"] = lines[1 if len(lines) > 1 else 0]
        self.planted["password of a user"] = PASSWORD
        self.planted["Basic authentication"] = basic()["Authorization"].split()[1]

    def assertNothingFound(self) -> None:
        self.assertEqual(self.found(self.planted), [])
        # Whoever looks finds what is there.
        self.assertNotEqual(self.found({"name of a user": "carol"}), [])

    def found(self, wanted: Mapping[str, str]) -> list[str]:
        """What of it is to be read where others may look."""
        places = {"output of commands and list of processes": self.seen.encode()}
        for node in (self.a, self.b):
            places[f"log of {node.name}"] = node.log.encode()
            for path in node.state.rglob("*"):
                if path.is_file():
                    places[f"{node.name}: {path.relative_to(node.state)}"] = path.read_bytes()
        return [
            f"{what} in {place}"
            for what, secret in wanted.items()
            for place, content in places.items()
            if secret.encode() in content
        ]
