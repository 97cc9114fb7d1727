"""Uploads that can be resumed, as tus 1.0.0 has them."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.files.policy import Observed, Permitted
from cftpcluster.servers.web import WebOptions, webServer
from cftpcluster.servers.web._uploadtokens import UploadTokens
from cftpcluster.vocabulary import OpenMode, Permission

from .support import Answer, Browser, Served, basic, parseAnswers, request

FILES = "/api/v1/files"
UPLOADS = "/api/v1/uploads"
OFFSET_TYPE = "application/offset+octet-stream"


def metadata(**pairs: bytes) -> str:
    return ",".join(f"{key} {base64.b64encode(value).decode()}".strip() for key, value in pairs.items())


class UploadCase(SynchronousTestCase):
    options = WebOptions()

    def setUp(self) -> None:
        self.served = self.make()

    def make(self, wrap: Any = lambda files: files) -> Served:
        return Served.of({"/a.txt": b"hello", "/sub": None}, options=self.options, wrap=wrap)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str | None) -> Answer:
        return self.served.ask(method, path, body, **{"Tus-Resumable": "1.0.0", **headers})

    def create(self, length: int, body: bytes = b"", **headers: str | None) -> Answer:
        named = {"Upload-Length": str(length), "Upload-Metadata": metadata(path=b"/sub/new"), **headers}
        if body:
            named.setdefault("contentType", OFFSET_TYPE)
        return self.ask("POST", UPLOADS, body, **named)

    def begin(self, length: int, **headers: str | None) -> str:
        answer = self.create(length, **headers)
        self.assertEqual(answer.status, 201, answer.body)
        return answer.headers["location"]

    def patch(self, url: str, offset: int, body: bytes, **headers: str | None) -> Answer:
        return self.ask("PATCH", url, body, **{"Upload-Offset": str(offset), "contentType": OFFSET_TYPE, **headers})

    def offset(self, url: str) -> int | str:
        answer = self.ask("HEAD", url)
        return answer.headers["upload-offset"] if answer.status == 200 else answer.status

    def got(self, path: str) -> bytes | int:
        answer = self.served.ask("GET", f"{FILES}{path}")
        return answer.body if answer.status == 200 else answer.status


class ProtocolTests(UploadCase):
    def test_optionsTellWhatIsSpoken(self) -> None:
        answer = self.served.ask("OPTIONS", UPLOADS, authorization=None)
        self.assertEqual(answer.status, 204)
        self.assertEqual(answer.headers["tus-version"], "1.0.0")
        self.assertEqual(
            answer.headers["tus-extension"], "creation,creation-with-upload,checksum,expiration,termination"
        )
        self.assertEqual(answer.headers["tus-checksum-algorithm"], "sha1,md5,sha256,sha512")
        self.assertNotIn("tus-max-size", answer.headers)

    def test_anotherVersionIsRefused(self) -> None:
        for version in (None, "0.2.2", "1.0"):
            answer = self.ask("POST", UPLOADS, b"", **{"Tus-Resumable": version, "Upload-Length": "3"})
            self.assertEqual((answer.status, answer.headers["tus-version"]), (412, "1.0.0"))
            self.assertEqual(answer.headers["tus-resumable"], "1.0.0")

    def test_uploadInPiecesAppearsWhole(self) -> None:
        url = self.begin(10)
        self.assertEqual(self.offset(url), "0")
        answer = self.patch(url, 0, b"01234")
        self.assertEqual((answer.status, answer.headers["upload-offset"], answer.body), (204, "5", b""))
        self.assertEqual(answer.headers["upload-expires"], "Wed, 15 Nov 2023 22:13:20 GMT")
        self.assertEqual(self.got("/sub/new"), 404)
        self.assertEqual(self.served.ask("GET", f"{FILES}/sub").json()["entries"], [])
        self.assertEqual(self.patch(url, 5, b"56789").headers["upload-offset"], "10")
        self.assertEqual(self.got("/sub/new"), b"0123456789")
        self.assertEqual(self.offset(url), "10")

    def test_headTellsAllOfIt(self) -> None:
        told = metadata(path=b"/sub/new", filename=b"new", is_confidential=b"")
        answer = self.ask("HEAD", self.begin(10, **{"Upload-Metadata": told}))
        self.assertEqual(answer.headers["upload-length"], "10")
        self.assertEqual(answer.headers["upload-metadata"], told)
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertEqual(answer.headers["tus-resumable"], "1.0.0")

    def test_wrongOffsetChangesNothing(self) -> None:
        url = self.begin(10)
        self.patch(url, 0, b"01234")
        for offset in (0, 4, 6):
            self.assertEqual(self.patch(url, offset, b"xx").status, 409)
        self.assertEqual(self.offset(url), "5")

    def test_malformedHeadersAreRefused(self) -> None:
        url = self.begin(10)
        self.assertEqual(self.ask("PATCH", url, b"x", **{"Upload-Offset": "0"}).status, 415)
        self.assertEqual(self.patch(url, 0, b"x", contentType="application/octet-stream").status, 415)
        for text in (None, "-1", "x", "1.5", "9" * 30):
            self.assertEqual(self.patch(url, 0, b"x", **{"Upload-Offset": text}).status, 400)
            self.assertEqual(self.create(0, **{"Upload-Length": text}).status, 400)
        self.assertEqual(self.create(0, **{"Upload-Defer-Length": "1"}).status, 400)
        self.assertEqual(self.create(9, b"body", contentType="text/plain").status, 415)
        self.assertEqual(self.offset(url), "0")

    def test_moreThanItsLengthIsRefused(self) -> None:
        url = self.begin(3)
        self.assertEqual(self.patch(url, 0, b"four").status, 413)
        browser = self.served.connect()
        named = {"authorization": basic(), "Tus-Resumable": "1.0.0", "contentType": OFFSET_TYPE}
        named |= {"Upload-Offset": "0", "transferEncoding": "chunked"}
        browser.send(request("PATCH", url, None, **named) + b"4\r\nfour\r\n0\r\n\r\n")
        self.assertEqual(parseAnswers(browser.received(), ["PATCH"])[0].status, 413)
        self.assertEqual(self.offset(url), "0")

    def test_emptyFileIsThereAtOnce(self) -> None:
        url = self.begin(0)
        self.assertEqual(self.got("/sub/new"), b"")
        self.assertEqual(self.offset(url), "0")

    def test_creationTakesTheBeginning(self) -> None:
        answer = self.create(10, b"01234")
        self.assertEqual((answer.status, answer.headers["upload-offset"]), (201, "5"))
        self.assertEqual(self.patch(answer.headers["location"], 5, b"56789").status, 204)
        self.assertEqual(self.got("/sub/new"), b"0123456789")

    def test_creationTakesAll(self) -> None:
        answer = self.create(5, b"01234")
        self.assertEqual((answer.status, answer.headers["upload-offset"]), (201, "5"))
        self.assertEqual(self.got("/sub/new"), b"01234")

    def test_terminatedUploadIsGone(self) -> None:
        url = self.begin(10)
        self.patch(url, 0, b"01234")
        self.assertEqual(self.ask("DELETE", url).status, 204)
        self.assertEqual(self.offset(url), 410)
        self.assertEqual(self.patch(url, 5, b"56789").status, 410)
        self.assertEqual(self.ask("DELETE", url).status, 410)

    def test_uploadExpires(self) -> None:
        url = self.begin(10)
        self.served.clock.advance(86_399)
        self.assertEqual(self.patch(url, 0, b"01234").status, 204)
        self.served.clock.advance(86_401)
        self.assertEqual(self.offset(url), 410)
        self.assertEqual(self.patch(url, 5, b"56789").status, 410)

    def test_methodMayBeOverridden(self) -> None:
        url = self.begin(5)
        override = {"X-HTTP-Method-Override": "PATCH", "Upload-Offset": "0", "contentType": OFFSET_TYPE}
        self.assertEqual(self.ask("POST", url, b"01234", **override).status, 204)
        self.assertEqual(self.got("/sub/new"), b"01234")
        self.assertEqual(self.ask("HEAD", url, **{"X-HTTP-Method-Override": "DELETE"}).status, 400)

    def test_wrongPlacesAreAnswered(self) -> None:
        self.assertEqual(self.ask("PATCH", UPLOADS, b"").status, 405)
        self.assertEqual(self.ask("POST", f"{UPLOADS}/x", b"").status, 405)
        for token in ("x", "AAAA", "!", "a/b", "%ff"):
            self.assertEqual(self.ask("HEAD", f"{UPLOADS}/{token}").status, 404)


class ChecksumTests(UploadCase):
    def checksum(self, name: str, data: bytes) -> str:
        return f"{name} {base64.b64encode(hashlib.new(name, data).digest()).decode()}"

    def test_rightChecksumsAreTaken(self) -> None:
        url = self.begin(20)
        for number, name in enumerate(("sha1", "md5", "sha256", "sha512")):
            answer = self.patch(url, 5 * number, b"01234", **{"Upload-Checksum": self.checksum(name, b"01234")})
            self.assertEqual(answer.status, 204)
        self.assertEqual(self.got("/sub/new"), b"01234" * 4)

    def test_whatHasAnotherChecksumIsDiscarded(self) -> None:
        url = self.begin(10)
        self.patch(url, 0, b"01")
        answer = self.patch(url, 2, b"23456789", **{"Upload-Checksum": self.checksum("sha1", b"other")})
        self.assertEqual(answer.status, 460)
        self.assertEqual(self.offset(url), "2")
        self.assertEqual(self.got("/sub/new"), 404)

    def test_unknownChecksumsAreRefused(self) -> None:
        url = self.begin(10)
        for text in ("crc7 AAAA", "sha1 !", "sha1 ä"):
            self.assertEqual(self.patch(url, 0, b"x", **{"Upload-Checksum": text}).status, 400)
        self.assertEqual(self.offset(url), "0")

    def test_unverifiedRestOfABrokenPieceIsDiscarded(self) -> None:
        url = self.begin(10)
        browser = cut(self, url, 0, b"0123", **{"Upload-Checksum": self.checksum("sha1", b"0123456789")})
        browser.lose()
        self.assertEqual(self.offset(url), "0")


def cut(case: UploadCase, url: str, offset: int, data: bytes, **headers: str) -> Browser:
    """A connection on which a piece of ten bytes has not come whole."""
    browser = case.served.connect()
    named = {"authorization": basic(), "Tus-Resumable": "1.0.0", "contentType": OFFSET_TYPE}
    named |= {"Upload-Offset": str(offset), "contentLength": str(10 - offset), **headers}
    browser.send(request("PATCH", url, None, **named) + data)
    return browser


class ResumeTests(UploadCase):
    def test_brokenPieceIsContinued(self) -> None:
        url = self.begin(10)
        cut(self, url, 0, b"0123").lose()
        self.assertEqual(self.offset(url), "4")
        self.assertEqual(self.patch(url, 4, b"456789").status, 204)
        self.assertEqual(self.got("/sub/new"), b"0123456789")

    def test_newerRequestTakesOver(self) -> None:
        url = self.begin(10)
        browser = cut(self, url, 0, b"0123")
        self.assertEqual(self.offset(url), "4")
        self.assertEqual(parseAnswers(browser.received(), ["PATCH"])[0].status, 423)
        self.assertEqual(self.patch(url, 4, b"456789").status, 204)
        self.assertEqual(self.got("/sub/new"), b"0123456789")

    def test_requestOnAnotherNodeTakesOver(self) -> None:
        url = self.begin(10)
        browser = cut(self, url, 0, b"0123")
        other = self.make()
        other.backend, other.logins = self.served.backend, self.served.logins
        answer = self.claim(other, url)
        self.assertEqual(answer.headers["upload-offset"], "4")
        self.assertEqual(parseAnswers(browser.received(), ["PATCH"])[0].status, 423)
        files = self.served.backend.fileSystem("", "alice", True)
        self.assertEqual(len(self.successResultOf(self.successResultOf(files.list(("sub",))).next())), 0)
        self.assertEqual(self.patch(url, 4, b"456789").status, 204)
        self.assertEqual(self.got("/sub/new"), b"0123456789")

    def claim(self, other: Served, url: str) -> Answer:
        """Ask a server that shares the storage, while time goes by on both."""
        other.server = webServer(
            WebOptions(),
            listener="https",
            reactor=self.served.clock,  # type: ignore[arg-type]
            portal=self.served.logins.portal(),
            sessionKeys=lambda: self.served.keys,
            settings=lambda: self.served.settings,
            notify=self.served.logins.notify,
            now=self.served.clock.seconds,
            randomBytes=lambda count: b"r" * count,
            pool=None,  # type: ignore[arg-type]
        )
        browser = other.connect()
        browser.send(request("HEAD", url, None, **{"authorization": basic(), "Tus-Resumable": "1.0.0"}))
        for _ in range(12):
            self.served.clock.advance(0.25)
        return parseAnswers(browser.received(), ["HEAD"])[0]

    def test_whatWasNotCommittedIsCommittedWhenAskedFor(self) -> None:
        url = self.begin(10)
        self.patch(url, 0, b"01234")
        # as a node leaves it that dies after the last byte
        files = self.served.backend.fileSystem("", "alice", True)
        tokens = UploadTokens(lambda: self.served.keys, lambda count: b"")
        upload = tokens.parse(url.rpartition("/")[2].encode())
        assert upload is not None
        opened = self.successResultOf(files.open(upload.partial, OpenMode.resume))
        self.successResultOf(opened.write(5, b"56789"))
        self.successResultOf(opened.abort(keep=True))
        self.assertEqual(self.offset(url), "10")
        self.assertEqual(self.got("/sub/new"), b"0123456789")


class PlaceTests(UploadCase):
    def answer(self, **pairs: bytes) -> Answer:
        return self.create(1, **{"Upload-Metadata": metadata(**pairs)})

    def test_fileIsNamedInThreeWays(self) -> None:
        for pairs, path in (
            ({"path": b"/sub/p\xff"}, "/sub/p%ff"),
            ({"url": b"/api/v1/files/sub/u%ff"}, "/sub/u%ff"),
            ({"filename": b"f"}, "/f"),
        ):
            url = self.answer(**pairs).headers["location"]
            self.assertEqual(self.patch(url, 0, b"x").status, 204)
            self.assertEqual(self.got(path), b"x")

    def test_wrongNamesAreRefused(self) -> None:
        for pairs in (
            {},
            {"path": b"/"},
            {"path": b"/sub/"},
            {"path": b"/sub/.cftpcluster-part-x"},
            {"path": b"/a\0b"},
            {"path": b"/" + b"x" * 256},
            {"filename": b"../x"},
            {"url": b"/etc/passwd"},
            {"url": b"/api/v1/files/sub/%2e%2e/x"},
            {"url": b"/api/v1/files/sub/..%2fx"},
            {"url": b"/api/v1/files/sub//x"},
        ):
            self.assertEqual(self.answer(**pairs).status, 400, pairs)
        for text in ("path", "path ?", "path L2E=,path L2E=", " ,", "path " + "A" * 5000):
            self.assertEqual(self.create(1, **{"Upload-Metadata": text}).status, 400, text)

    def test_dotsLeadNowhereElse(self) -> None:
        url = self.answer(path=b"/../../sub/../x").headers["location"]
        self.patch(url, 0, b"x")
        self.assertEqual(self.got("/x"), b"x")

    def test_whatIsThereIsReplacedOnlyWhenAsked(self) -> None:
        self.assertEqual(self.answer(path=b"/a.txt").status, 409)
        self.assertEqual(self.answer(path=b"/sub", overwrite=b"true").status, 409)
        self.assertEqual(self.answer(path=b"/none/x").status, 409)
        url = self.create(10, **{"Upload-Metadata": metadata(path=b"/a.txt", overwrite=b"true")}).headers["location"]
        self.patch(url, 0, b"01234")
        self.assertEqual(self.got("/a.txt"), b"hello")
        self.patch(url, 5, b"56789")
        self.assertEqual(self.got("/a.txt"), b"0123456789")

    def test_whatAnotherMadeMeanwhileStays(self) -> None:
        url = self.begin(2)
        self.assertEqual(self.served.ask("PUT", f"{FILES}/sub/new", b"theirs").status, 201)
        self.assertEqual(self.patch(url, 0, b"us").status, 409)
        self.assertEqual(self.got("/sub/new"), b"theirs")
        self.assertEqual(self.offset(url), 410)

    def test_twoUploadsOfOneFileAreKeptApart(self) -> None:
        first, second = self.begin(4), self.begin(4)
        self.patch(first, 0, b"11")
        self.patch(second, 0, b"22")
        self.assertEqual(self.patch(first, 2, b"11").status, 204)
        self.assertEqual(self.patch(second, 2, b"22").status, 409)
        self.assertEqual(self.got("/sub/new"), b"1111")

    def test_othersUploadsAreNotFound(self) -> None:
        url = self.begin(4)
        other = basic("bob", b"bobs")
        self.assertEqual(self.ask("HEAD", url, authorization=other).status, 404)
        self.assertEqual(self.patch(url, 0, b"x", authorization=other).status, 404)
        self.assertEqual(self.ask("DELETE", url, authorization=other).status, 404)
        self.assertEqual(self.ask("HEAD", url, authorization=None).status, 401)
        self.assertEqual(self.offset(url), "0")

    def test_forgedUploadsAreNotFound(self) -> None:
        url = self.begin(4)
        for index in range(len(UPLOADS) + 1, len(url), 7):
            forged = url[:index] + ("A" if url[index] != "A" else "B") + url[index + 1 :]
            self.assertEqual(self.ask("HEAD", forged).status, 404)
        self.served.keys[:] = [b"n" * 32, *self.served.keys]
        self.assertEqual(self.offset(url), "0")
        self.served.keys.pop()
        self.assertEqual(self.offset(url), 404)


class LimitTests(UploadCase):
    options = WebOptions(uploadLimitBytes=5)

    def test_longFilesAreRefusedAtOnce(self) -> None:
        self.assertEqual(self.served.ask("OPTIONS", UPLOADS).headers["tus-max-size"], "5")
        self.assertEqual(self.create(6).status, 413)
        self.assertEqual(self.create(5).status, 201)


class RightsTests(UploadCase):
    def rights(self, *permissions: Permission) -> None:
        self.served = self.make(
            lambda files: Observed(
                Permitted(files, permissions),
                "alice",
                None,
                self.told.append,
                self.served.clock,  # type: ignore[arg-type]
            )
        )

    def setUp(self) -> None:
        super().setUp()
        self.told: list[Any] = []

    def test_uploadIsEnoughForNewFiles(self) -> None:
        self.rights(Permission.upload)
        url = self.begin(4)
        self.patch(url, 0, b"12")
        self.assertEqual(self.offset(url), "2")
        self.assertEqual(self.patch(url, 2, b"34").status, 204)
        self.assertEqual([type(event).__name__ for event in self.told][-2:], ["Renamed", "Uploaded"])
        self.assertEqual(self.told[-1].path, "/sub/new")
        self.assertEqual(self.told[-1].size, 4)

    def test_withoutUploadNothingBegins(self) -> None:
        self.rights(*(set(Permission) - {Permission.upload}))
        self.assertEqual(self.create(4).status, 403)

    def test_withoutOverwriteNothingIsReplaced(self) -> None:
        self.rights(*(set(Permission) - {Permission.overwrite}))
        told = metadata(path=b"/a.txt", overwrite=b"true")
        self.assertEqual(self.create(1, **{"Upload-Metadata": told}).status, 403)
        self.rights(Permission.upload)
        url = self.begin(1, **{"Upload-Metadata": told})
        self.assertEqual(self.patch(url, 0, b"x").status, 403)
        self.assertEqual(self.offset(url), 410)
