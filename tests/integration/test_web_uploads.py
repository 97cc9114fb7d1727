"""Resumable uploads, on nodes that share a storage: a tus client, and what it cannot do by itself."""

from __future__ import annotations

import base64
import http.client
import os
import ssl
import warnings
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from cftpcluster.testing.processes import ClusterProcesses

from ..sharedclusters import Shared

PASSWORD = "secret"
PERMISSIONS = ["list", "download", "upload", "overwrite", "delete", "rename", "mkdir", "attributes"]
OFFSET_TYPE = "application/offset+octet-stream"
CHUNK = 500_000


def prepare(cluster: Any) -> None:
    root = cluster.folder / "share"
    root.mkdir()
    mounts = [{"path": "/", "backend": "share", "folder": "alice", "permissions": PERMISSIONS}]
    cluster.primary.apply(
        {
            "backends": [{"name": "share", "kind": "local", "root": str(root), "shared": True}],
            "users": [{"name": "alice", "password": PASSWORD, "mounts": mounts}],
        }
    )
    cluster.converged()


TWO = Shared(lambda: ClusterProcesses(("node-a", "node-b")), prepare)


class ResumeTests(TestCase):
    def setUp(self) -> None:
        self.cluster = TWO.get()
        self.first, self.second = self.cluster.nodes.values()
        self.place = Path(self.cluster.folder) / "share" / "alice"
        self.data = os.urandom(2_300_001)
        self.authorization = "Basic " + base64.b64encode(f"alice:{PASSWORD}".encode()).decode()

    def connected(self, node: Any) -> http.client.HTTPSConnection:
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(node.address, 8443, context=context, timeout=60)
        self.addCleanup(connection.close)
        return connection

    def ask(self, node: Any, method: str, path: str, body: bytes = b"", **headers: str) -> http.client.HTTPResponse:
        connection = self.connected(node)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named |= {"Authorization": self.authorization, "Tus-Resumable": "1.0.0"}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        answer.read()
        return answer

    def begin(self, name: str, **headers: str) -> str:
        metadata = "path " + base64.b64encode(f"/{name}".encode()).decode()
        length = str(len(self.data))
        answer = self.ask(
            self.first, "POST", "/api/v1/uploads", Upload_Length=length, Upload_Metadata=metadata, **headers
        )
        self.assertEqual(answer.status, 201)
        return str(answer.getheader("Location"))

    def patch_(self, node: Any, url: str, offset: int, body: bytes) -> http.client.HTTPResponse:
        return self.ask(node, "PATCH", url, body, Upload_Offset=str(offset), Content_Type=OFFSET_TYPE)

    def test_clientGoesOnWithAnotherNode(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from tusclient.client import TusClient

            local = Path(self.mktemp())
            local.write_bytes(self.data)
            options = {"chunk_size": CHUNK, "verify_tls_cert": False, "upload_checksum": True}
            headers = {"Authorization": self.authorization}
            client = TusClient(f"https://{self.first.address}:8443/api/v1/uploads", headers=headers)
            upload = client.uploader(str(local), metadata={"path": "/by-client"}, **options)
            upload.upload_chunk()
            upload.upload_chunk()
            self.assertFalse((self.place / "by-client").exists())
            url = upload.url.replace(self.first.address, self.second.address)
            upload = TusClient(url, headers=headers).uploader(str(local), url=url, **options)
            self.assertEqual(upload.offset, 2 * CHUNK)
            upload.upload()
        self.assertEqual((self.place / "by-client").read_bytes(), self.data)

    def test_otherNodeTakesOverFromOneThatStillWaits(self) -> None:
        url = self.begin("taken-over")
        hanging = self.connected(self.first)
        hanging.putrequest("PATCH", url)
        for name, value in {
            "Authorization": self.authorization,
            "Tus-Resumable": "1.0.0",
            "Content-Type": OFFSET_TYPE,
            "Content-Length": str(len(self.data)),
            "Upload-Offset": "0",
            "Expect": "100-continue",
        }.items():
            hanging.putheader(name, value)
        hanging.endheaders()
        # it is being received when it says so
        self.assertEqual(hanging.sock.recv(4096), b"HTTP/1.1 100 Continue\r\n\r\n")
        hanging.send(self.data[:CHUNK])
        answer = self.ask(self.second, "HEAD", url)
        self.assertEqual(answer.status, 200)
        offset = int(answer.getheader("Upload-Offset") or -1)
        self.assertLessEqual(offset, CHUNK)
        self.assertIn(b" 423 ", hanging.sock.recv(4096))
        self.assertEqual(self.patch_(self.second, url, offset, self.data[offset:]).status, 204)
        self.assertEqual((self.place / "taken-over").read_bytes(), self.data)
        self.assertEqual(self.leftovers(), [])

    def test_pieceThatIsCutOffIsKeptForTheOtherNode(self) -> None:
        url = self.begin("cut-off")
        answer = self.patch_(self.first, url, 0, self.data[:CHUNK])
        self.assertEqual((answer.status, answer.getheader("Upload-Offset")), (204, str(CHUNK)))
        self.assertEqual(self.patch_(self.second, url, 0, b"x").status, 409)
        self.assertEqual(self.ask(self.second, "DELETE", url).status, 204)
        self.assertEqual(self.ask(self.first, "HEAD", url).status, 410)
        self.assertEqual(self.leftovers(), [])

    def leftovers(self) -> list[str]:
        return [name for name in os.listdir(self.place) if name.startswith(".cftpcluster-part")]
