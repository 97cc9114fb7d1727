"""The file API."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from .support import Served

FILES = "/api/v1/files"


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.served = Served.of({"/a.txt": b"hello world", "/sub": None, "/sub/b": b"b"})

    def test_putMakesAFileThatGetGives(self) -> None:
        put = self.served.ask("PUT", f"{FILES}/sub/new%20file", b"new contents")
        self.assertEqual((put.status, put.body), (201, b""))
        self.assertEqual(put.headers["location"], f"{FILES}/sub/new%20file")
        got = self.served.ask("GET", f"{FILES}/sub/new%20file")
        self.assertEqual((got.status, got.body), (200, b"new contents"))
        self.assertEqual(got.headers["etag"], put.headers["etag"])

    def test_putReplaces(self) -> None:
        self.assertEqual(self.served.ask("PUT", f"{FILES}/a.txt", b"other").status, 204)
        self.assertEqual(self.served.ask("GET", f"{FILES}/a.txt").body, b"other")

    def test_headIsGetWithoutABody(self) -> None:
        got, head = (self.served.ask(method, f"{FILES}/a.txt") for method in ("GET", "HEAD"))
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(got.headers, head.headers)
        self.assertEqual(head.headers["content-length"], "11")

    def test_deleteRemovesFilesAndEmptyFolders(self) -> None:
        self.assertEqual(self.served.ask("DELETE", f"{FILES}/sub").status, 409)
        self.assertEqual(self.served.ask("DELETE", f"{FILES}/sub/b").status, 204)
        self.assertEqual(self.served.ask("DELETE", f"{FILES}/sub/").status, 204)
        self.assertEqual(self.served.ask("GET", f"{FILES}/sub").status, 404)

    def test_foldersAreListedInOrder(self) -> None:
        answer = self.served.ask("GET", FILES)
        self.assertEqual(answer.status, 200)
        self.assertEqual(
            [(entry["name"], entry["type"], entry["size"]) for entry in answer.json()["entries"]],
            [("a.txt", "file", 11), ("sub", "folder", 0)],
        )
        self.assertIsNone(answer.json()["next"])
        self.assertEqual(answer.json()["entries"][0]["modified"], "2023-11-14T22:13:20Z")

    def test_nobodyGetsNothing(self) -> None:
        answer = self.served.ask("GET", f"{FILES}/a.txt", authorization=None)
        self.assertEqual(answer.status, 401)
        self.assertEqual(answer.headers["content-type"], "application/problem+json")
        self.assertIn("Basic", answer.headers["www-authenticate"])
