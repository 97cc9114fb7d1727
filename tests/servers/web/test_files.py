"""The file API."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any
from urllib.parse import quote

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from cftpcluster.config.document import Limits
from cftpcluster.files.mounts import Mounts
from cftpcluster.files.policy import Permitted
from cftpcluster.files.throttled import AllRates, SessionFlows, Throttled
from cftpcluster.files.wrappers import FileSystemWrapper
from cftpcluster.interfaces import IFileSystem, ILinks, IListing, ISelective
from cftpcluster.vocabulary import Permission

from .support import Answer, Served, basic, fill, parseAnswers, request

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


class RemovalTests(SynchronousTestCase):
    tree = {"/d": None, "/d/a": b"", "/d/e": None, "/d/e/b": b"", "/d/e/f": None, "/other": b""}

    def test_foldersGoWithAllThatIsInThem(self) -> None:
        served = Served.of(self.tree)
        self.assertEqual(served.ask("DELETE", f"{FILES}/d").status, 409)
        self.assertEqual(served.ask("DELETE", f"{FILES}/d?recursive=false").status, 409)
        self.assertEqual(served.ask("DELETE", f"{FILES}/d/?recursive=true").status, 204)
        self.assertEqual([each["name"] for each in served.ask("GET", FILES).json()["entries"]], ["other"])
        self.assertEqual(served.ask("DELETE", f"{FILES}/other?recursive=true").status, 204)
        self.assertEqual(served.ask("DELETE", f"{FILES}/other?recursive=true").status, 404)
        served = Served.of(self.tree)
        self.assertEqual(served.ask("DELETE", f"{FILES}/d?recursive=yes").status, 400)

    def test_linksGoAloneNotWhatTheyLeadTo(self) -> None:
        served = Served.of({**self.tree, "/kept": None, "/kept/x": b""})
        links = ILinks(served.backend.fileSystem("", "alice", True))
        self.successResultOf(links.makeSymbolicLink(("d", "link"), "/kept"))
        self.assertEqual(served.ask("DELETE", f"{FILES}/d?recursive=true").status, 204)
        self.assertEqual(served.ask("GET", f"{FILES}/kept/x").status, 200)

    def test_whatMayNotBeRemovedStaysAndIsTold(self) -> None:
        def wrap(files: Any) -> Any:
            return Mounts({(): Permitted(files, set(Permission)), ("d", "e"): Permitted(files, {Permission.list})})

        served = Served.of({"/d": None, "/d/a": b"", "/x": b""}, wrap=wrap)
        answer = served.ask("DELETE", f"{FILES}/d?recursive=true")
        self.assertEqual(answer.status, 403)
        self.assertIn("/d/e/x", [each["path"] for each in answer.json()["errors"]])
        self.assertIn("1 entries were removed", answer.json()["detail"])
        self.assertEqual(served.ask("GET", f"{FILES}/d/a").status, 404)

    def test_withoutTheRightNothingGoes(self) -> None:
        served = Served.of(self.tree, wrap=lambda files: Permitted(files, {Permission.list, Permission.download}))
        self.assertEqual(served.ask("DELETE", f"{FILES}/d?recursive=true").status, 403)
        self.assertEqual(served.ask("GET", f"{FILES}/d/e/b").status, 200)


def hashed(files: IFileSystem) -> IFileSystem:
    return Throttled(files, SessionFlows(AllRates(Clock(), lambda user: Limits()).of("alice")))


class ChecksumTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.served = Served.of({"/a": b"hello", "/sub": None}, wrap=hashed)

    def test_checksumsAreTold(self) -> None:
        for algorithm in ("md5", "sha1", "sha256", "sha512"):
            answer = self.served.ask("GET", f"{FILES}/a?op=checksum&algorithm={algorithm}")
            expected = {"algorithm": algorithm, "checksum": hashlib.new(algorithm, b"hello").hexdigest(), "size": 5}
            self.assertEqual(answer.json(), expected)
        self.assertEqual(self.served.ask("GET", f"{FILES}/a?op=checksum").json()["algorithm"], "sha256")

    def test_digestComesWithTheFileWhenWanted(self) -> None:
        digest = base64.b64encode(hashlib.sha256(b"hello").digest()).decode()
        for method in ("GET", "HEAD"):
            for wanted in ("sha-256=1", "md5=9, sha-256=3,sha-512=1", "sha-512=0, sha-256=10"):
                answer = self.served.ask(method, f"{FILES}/a", **{"Want-Repr-Digest": wanted})
                self.assertEqual((answer.status, answer.headers["repr-digest"]), (200, f"sha-256=:{digest}:"))
        for wanted in (None, "md5=1", "sha-256=0", "sha-256", "=,"):
            answer = self.served.ask("GET", f"{FILES}/a", **{"Want-Repr-Digest": wanted})
            self.assertNotIn("repr-digest", answer.headers)

    def test_whatCannotBeHashedIsRefused(self) -> None:
        for query, status in {
            "a?op=checksum&algorithm=x": 400,
            "none?op=checksum": 404,
            "sub?op=checksum": 400,
        }.items():
            self.assertEqual(self.served.ask("GET", f"{FILES}/{query}").status, status, query)


class OperationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.served = Served.of({"/a": b"one", "/b": b"two", "/sub": None, "/sub/c": b"three"})

    def post(self, path: str, value: Any = None) -> Answer:
        if value is None:
            return self.served.ask("POST", f"{FILES}/{path}", b"")
        return self.served.askJSON("POST", f"{FILES}/{path}", value)

    def got(self, path: str) -> bytes | int:
        answer = self.served.ask("GET", f"{FILES}/{path}")
        return answer.body if answer.status == 200 else answer.status

    def test_makeFolder(self) -> None:
        answer = self.post("new?op=mkdir")
        self.assertEqual((answer.status, answer.headers["location"]), (201, f"{FILES}/new/"))
        self.assertEqual(self.served.ask("GET", f"{FILES}/new").json(), {"entries": [], "next": None})
        self.assertEqual(self.post("new?op=mkdir").status, 409)
        self.assertEqual(self.post("a?op=mkdir").status, 409)
        self.assertEqual(self.post("no/where?op=mkdir").status, 409)
        self.assertEqual(self.post("?op=mkdir").status, 409)

    def test_move(self) -> None:
        self.assertEqual(self.post("a?op=move", {"to": "/sub/new"}).status, 204)
        self.assertEqual((self.got("a"), self.got("sub/new")), (404, b"one"))

    def test_moveReplacesWhenTold(self) -> None:
        self.assertEqual(self.post("a?op=move", {"to": "/b"}).status, 409)
        self.assertEqual(self.post("a?op=move", {"to": "/b", "overwrite": False}).status, 409)
        self.assertEqual((self.got("a"), self.got("b")), (b"one", b"two"))
        self.assertEqual(self.post("a?op=move", {"to": "/b", "overwrite": True}).status, 204)
        self.assertEqual((self.got("a"), self.got("b")), (404, b"one"))

    def test_copy(self) -> None:
        self.assertEqual(self.post("a?op=copy", {"to": "/sub/new"}).status, 204)
        self.assertEqual((self.got("a"), self.got("sub/new")), (b"one", b"one"))
        self.assertEqual(self.post("a?op=copy", {"to": "/b"}).status, 409)
        self.assertEqual(self.post("a?op=copy", {"to": "/b", "overwrite": True}).status, 204)
        self.assertEqual(self.got("b"), b"one")
        self.assertEqual(self.post("none?op=copy", {"to": "/x"}).status, 404)

    def test_copyWithoutTheStoragesHelp(self) -> None:
        self.served = Served.of({"/a": b"one", "/b": b"two"}, wrap=FileSystemWrapper)
        self.assertEqual(self.post("a?op=copy", {"to": "/new"}).status, 204)
        self.assertEqual(self.post("a?op=copy", {"to": "/b"}).status, 409)
        self.assertEqual(self.post("a?op=copy", {"to": "/b", "overwrite": True}).status, 204)
        self.assertEqual((self.got("new"), self.got("b")), (b"one", b"one"))

    def test_copyBetweenStorages(self) -> None:
        other = Served.of({})

        def wrap(files: Any) -> Any:
            mounted = other.backend.fileSystem("", "alice", True)
            return Mounts({(): Permitted(files, set(Permission)), ("far",): Permitted(mounted, set(Permission))})

        self.served = Served.of({"/a": b"one"}, wrap=wrap)
        self.assertEqual(self.post("a?op=move", {"to": "/far/a"}).status, 409)
        self.assertEqual(self.post("a?op=copy", {"to": "/far/a"}).status, 204)
        self.assertEqual((self.got("far/a"), self.got("a")), (b"one", b"one"))

    def test_targetsAreStrict(self) -> None:
        for value, expected in [
            ({}, 422),
            ({"to": 1}, 422),
            ({"to": "/"}, 422),
            ({"to": "/x/"}, 422),
            ({"to": "/x", "toBytes": "eA=="}, 422),
            ({"toBytes": "!"}, 422),
            ({"to": "/x", "overwrite": "yes"}, 422),
            ({"to": "/x", "force": True}, 422),
            ({"to": "/x\0y"}, 400),
            ({"to": "\ud800"}, 422),
            ({"to": "/.cftpcluster-part-x"}, 400),
            ({"to": "/sub/../../../x"}, 204),
        ]:
            self.assertEqual(self.post("a?op=move", value).status, expected, value)
        self.assertEqual(self.got("x"), b"one")

    def test_targetInBytes(self) -> None:
        raw = base64.b64encode(b"/sub/\xff").decode()
        self.assertEqual(self.post("a?op=move", {"toBytes": raw}).status, 204)
        self.assertEqual(self.got("sub/%FF"), b"one")

    def test_unknownOperationsAreRefused(self) -> None:
        for path in ("a", "a?op=", "a?op=chmod", "a?op=move&op=copy", "a?op=mkdir&force=1"):
            self.assertEqual(self.post(path, {"to": "/x"}).status, 400)
        self.assertEqual(self.served.ask("DELETE", f"{FILES}/sub?recursive=1").status, 400)
        self.assertEqual(self.served.ask("GET", f"{FILES}/a?limit=1").status, 400)

    def test_otherMethodsAreRefused(self) -> None:
        answer = self.served.ask("PATCH", f"{FILES}/a", b"")
        self.assertEqual(answer.status, 405)
        self.assertEqual(answer.headers["allow"], "DELETE, GET, HEAD, POST, PUT")

    def test_deleteHoldsConditions(self) -> None:
        tag = self.served.ask("HEAD", f"{FILES}/a").headers["etag"]
        self.assertEqual(self.served.ask("DELETE", f"{FILES}/a", ifMatch='"other"').status, 412)
        self.assertEqual(self.served.ask("DELETE", f"{FILES}/a", ifMatch=tag).status, 204)
        self.assertEqual(self.served.ask("DELETE", f"{FILES}/a").status, 404)
        self.assertEqual(self.served.ask("DELETE", f"{FILES}/a", ifMatch="*").status, 412)

    def test_deleteNeedsNoSight(self) -> None:
        self.served = Served.of({"/a": b"", "/sub": None}, wrap=lambda files: Permitted(files, {Permission.delete}))
        self.assertEqual(self.served.ask("DELETE", f"{FILES}/a").status, 204)
        self.assertEqual(self.served.ask("DELETE", f"{FILES}/sub").status, 204)

    def test_permissions(self) -> None:
        operations: list[tuple[str, str, Any, set[Permission]]] = [
            ("GET", "", None, {Permission.list}),
            ("HEAD", "a", None, {Permission.list}),
            ("GET", "a", None, {Permission.download}),
            ("PUT", "new", b"x", {Permission.upload}),
            ("PUT", "a", b"x", {Permission.upload, Permission.overwrite}),
            ("DELETE", "a", None, {Permission.delete}),
            ("DELETE", "empty", None, {Permission.delete}),
            ("POST", "new?op=mkdir", b"", {Permission.mkdir}),
            ("POST", "a?op=move", {"to": "/new"}, {Permission.rename}),
            ("POST", "a?op=move", {"to": "/b", "overwrite": True}, {Permission.rename, Permission.overwrite}),
            ("POST", "a?op=copy", {"to": "/new"}, {Permission.download, Permission.upload}),
            ("POST", "a?op=copy", {"to": "/b", "overwrite": True},
             {Permission.download, Permission.upload, Permission.overwrite}),
        ]  # fmt: skip
        for method, path, body, needed in operations:
            for allowed in [needed, *(set(Permission) - {each} for each in needed), set()]:
                self.served = Served.of(
                    {"/a": b"one", "/b": b"two", "/empty": None},
                    wrap=lambda files, allowed=allowed: Permitted(files, allowed),
                )
                data = json.dumps(body).encode() if isinstance(body, dict) else body
                kind = "application/json" if isinstance(body, dict) else None
                answer = self.served.ask(method, f"{FILES}/{path}", data, contentType=kind)
                if needed <= allowed:
                    self.assertLess(answer.status, 300, (method, path, allowed))
                else:
                    self.assertEqual(answer.status, 403, (method, path, allowed))


class NameTests(SynchronousTestCase):
    def test_hostilePathsLeadNowhere(self) -> None:
        served = Served.of(
            {"/secret": b"secret", "/home": None, "/home/a": b"a"},
            wrap=lambda files: served.backend.fileSystem("home", "alice", True),
        )
        for path in (
            "../secret",
            "..%2fsecret",
            "%2e%2e/secret",
            "%2E%2E%2Fsecret",
            "./../secret",
            "a/../../secret",
            "%252e%252e/secret",
            "..%5csecret",
            "..;/secret",
            "%c0%ae%c0%ae/secret",
            "%uff0e%uff0e/secret",
            "/secret",
            "//secret",
            "%2fsecret",
            "secret%00",
            "a%00/../../secret",
            "....//secret",
            "..%00/secret",
            "x" * 300,
            "/".join(["x" * 200] * 25),
        ):
            for method in ("GET", "HEAD", "DELETE", "PUT"):
                answer = served.ask(method, f"{FILES}/{path}", b"evil" if method == "PUT" else None)
                self.assertIn(answer.status, {400, 404, 409, 201}, (method, path))
                self.assertNotIn(b"secret", answer.body.replace(path.encode(), b"") if method != "GET" else answer.body)
        opened = served.backend.fileSystem("", "alice", True)
        names = sorted(entry.name for entry in self.successResultOf(self.successResultOf(opened.list(())).next()))
        self.assertEqual(names, ["home", "secret"])

    def test_everyNameGoesThere(self) -> None:
        names = [b"\xff\xfe", "ü ñ 文".encode(), b"%41", b"a?b#c", b"a;b=c&d", b"+ +", b"\\", b"'\"<>", b"\r\n", b"..."]
        served = Served.of({})
        for name in names:
            quoted = "".join(f"%{byte:02x}" for byte in name)
            self.assertEqual(served.ask("PUT", f"{FILES}/{quoted}", name).status, 201)
            self.assertEqual(served.ask("GET", f"{FILES}/{quoted}").body, name)
        entries = served.ask("GET", FILES).json()["entries"]
        told = [
            base64.b64decode(entry["nameBytes"]) if "nameBytes" in entry else entry["name"].encode()
            for entry in entries
        ]
        self.assertEqual(told, sorted(names))
        self.assertEqual(entries[-1]["name"], "\\xff\\xfe")

    def test_rawPathsElsewhereAreJustNotThere(self) -> None:
        served = Served.of({})
        for path in ("/%ff", "/api/v1/filesystem/%ff", "/static/%ff", "/folders%ff"):
            answer = served.ask("GET", path)
            self.assertEqual((answer.status, answer.headers["content-type"]), (404, "application/problem+json"))


class FolderTests(SynchronousTestCase):
    def page(self, served: Served, query: str) -> tuple[list[str], Any]:
        answer = served.ask("GET", f"{FILES}/{query}")
        self.assertEqual(answer.status, 200, answer.body)
        return [entry["name"] for entry in answer.json()["entries"]], answer.json()["next"]

    def test_pagesMakeTheWholeFolder(self) -> None:
        served = Served.of({f"/{number:x}": b"" for number in range(300)})
        names, after, pages = [], "", 0
        while after is not None:
            some, after = self.page(served, f"?limit=7&after={after}")
            self.assertLessEqual(len(some), 7)
            names += some
            pages += 1
        self.assertEqual((names, pages), (sorted(f"{number:x}" for number in range(300)), 43))

    def test_defaultLimit(self) -> None:
        served = Served.of({})
        fill(served.backend.fileSystem("", "bob", True), {f"/{number:05}": None for number in range(8000)})
        names, following = self.page(served, "")
        self.assertEqual((len(names), names[0], following), (1000, "00000", "00999"))
        names, following = self.page(served, "?limit=100000&after=02999")
        self.assertEqual((len(names), names[0], following), (5000, "03000", None))

    def test_pagesContinueAfterRawNames(self) -> None:
        served = Served.of({})
        for name in ("%fe", "%ff"):
            served.ask("PUT", f"{FILES}/{name}", b"")
        answer = served.ask("GET", f"{FILES}/?limit=1").json()
        self.assertEqual((answer["next"], answer["nextBytes"]), ("\\xfe", "/g=="))
        self.assertEqual(self.page(served, "?limit=1&after=%fe"), (["\\xff"], None))

    def ordered(self, served: Served, query: str) -> list[str]:
        """All names, in pages of two."""
        names: list[str] = []
        after = ""
        for _ in range(9):
            answer = served.ask("GET", f"{FILES}/?limit=2&{query}{after}").json()
            names += [entry["name"] for entry in answer["entries"]]
            if answer["next"] is None:
                return names
            after = f"&after={quote(answer['next'])}"
        raise AssertionError("there is no end")

    def test_foldersComeInOtherOrders(self) -> None:
        served = Served.of({"/b": b"123", "/a": b"1", "/ab": b"22", "/z": None, "/D": b"1"})
        for query, expected in {
            "sort=name": "D a ab b z",
            "sort=-name": "z b ab a D",
            "sort=size": "z D a ab b",
            "sort=-size": "b ab D a z",
            "sort=-size&foldersFirst=true": "z b ab D a",
            "foldersFirst=true": "z D a ab b",
            "search=B": "ab b",
            "search=b&sort=-name": "b ab",
        }.items():
            self.assertEqual(self.ordered(served, query), expected.split(), query)

    def test_onlyWhatMayStandOnThePageIsLookedAt(self) -> None:
        asked: list[Any] = []

        @implementer(IListing, ISelective)
        class Selective:
            def __init__(self, inner: Any) -> None:
                self.next, self.close = inner.next, inner.close

            def only(self, wanted: Any) -> None:
                asked.append(wanted)

        class Selecting(FileSystemWrapper):
            def list(self, path: Any) -> Any:
                return self.inner.list(path).addCallback(Selective)

        served = Served.of({"/b": b"", "/d": None}, wrap=lambda files: Mounts({(): Selecting(files)}))
        for query, wanted in {
            "": {"a": True, "c": True},
            "after=b": {"a": False, "b": False, "c": True},
            "after=b&sort=-name": {"a": True, "b": False, "c": False},
            "sort=size&after=0/5/b": {"a": True, "c": True},
            "foldersFirst=true&after=1/0.0/b": {"a": False, "c": True, "folder": False},
        }.items():
            self.assertEqual(served.ask("GET", f"{FILES}/?limit=1&{query}").status, 200)
            for name, expected in wanted.items():
                self.assertEqual(asked[-1](name, name == "folder"), expected, (query, name))
        self.assertTrue(asked[-1]("a", None))

    def test_newestComesFirst(self) -> None:
        served = Served.of({"/old": b""})
        for name in ("b", "a"):
            served.clock.advance(10)
            served.ask("PUT", f"{FILES}/{name}", b"")
        self.assertEqual(self.ordered(served, "sort=-modified"), ["a", "b", "old"])
        self.assertEqual(self.ordered(served, "sort=modified"), ["old", "b", "a"])

    def test_placesOfAnotherOrderAreRefused(self) -> None:
        served = Served.of({"/a": b""})
        for after in ("a", "0/x/a", "2/1/a", "0/1/a/b"):
            self.assertEqual(served.ask("GET", f"{FILES}/?sort=size&after={after}").status, 400)

    def test_badQueriesAreRefused(self) -> None:
        served = Served.of({})
        for query in (
            "limit=0",
            "limit=-1",
            "limit=x",
            "limit=",
            "limit=1&limit=2",
            "sort=x",
            "after=a&after=b",
            "x=1",
        ):
            self.assertEqual(served.ask("GET", f"{FILES}/?{query}").status, 400, query)

    def test_headOfAFolderHasNoBody(self) -> None:
        served = Served.of({"/a": b""})
        browser = served.connect()
        browser.send(request("HEAD", FILES, authorization=basic()) + request("GET", FILES, authorization=basic()))
        head, got = parseAnswers(browser.received(), ["HEAD", "GET"])
        self.assertEqual((head.status, head.headers["content-length"]), (200, str(len(got.body))))

    def test_filesAreNoFolders(self) -> None:
        self.assertEqual(Served.of({"/a": b""}).ask("GET", f"{FILES}/a/b").status, 404)
