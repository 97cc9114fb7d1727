"""The page for people: what it shows, and that nothing users name is more than text there."""

from __future__ import annotations

import base64
import gzip
import re
from html.parser import HTMLParser
from importlib import resources
from itertools import chain
from urllib.parse import urlencode

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.document import Branding, Settings
from cftpcluster.files.policy import Permitted
from cftpcluster.servers.http._pages import READABLE, contrast, parsed
from cftpcluster.servers.web._pages import sizeText
from cftpcluster.vocabulary import Permission

from .support import PASSWORD, Answer, Served, basic

NAMES = (
    "<script>alert(1)",
    "<img src=x onerror=alert(1)>.html",
    '"><svg onload=alert(1)>',
    "'-alert(1)-'",
    "javascript:alert(1)",
    "{{7*7}}",
    "{% raw %}",
    "${7*7}",
    "%s%n",
    "&lt;b&gt;",
    "<!-- <title>",
    "a\nb\r\tc",
    "evil\u202etxt.exe",
    "zero\u200bwidth",
    "x\x00y".replace("\x00", "\x01"),
)


class Tags(HTMLParser):
    """What a page consists of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data


class PageTests(SynchronousTestCase):
    def page(self, served: Served, path: str = "/") -> tuple[Answer, Tags]:
        answer = served.ask("GET", path)
        self.assertEqual(answer.headers["content-type"], "text/html; charset=utf-8")
        return answer, Tags(answer.body.decode())

    def quoted(self, name: str) -> str:
        return "".join(f"%{byte:02X}" for byte in name.encode())

    def withNames(self) -> Served:
        served = Served.of({})
        for name in NAMES:
            self.assertEqual(served.ask("PUT", f"/api/v1/files/{self.quoted(name)}", b"x").status, 201)
            folder = f"/api/v1/files/{self.quoted('folder ' + name)}?op=mkdir"
            self.assertEqual(served.ask("POST", folder, b"").status, 201)
        return served

    def test_whoMayNotLookCanStillUpload(self) -> None:
        served = Served.of({"/secret": b"", "/sub": None}, wrap=lambda files: Permitted(files, {Permission.upload}))
        for path in ("/", "/folders/sub/"):
            answer, page = self.page(served, path)
            self.assertEqual((answer.status, self.rows(page)), (200, []))
            self.assertIn("You may not look into this folder", page.text)
            self.assertIn(b"Upload files", answer.body)
            self.assertNotIn(b"secret", answer.body)

    def test_strangersAreAskedWhoTheyAre(self) -> None:
        answer = Served.of({"/a": b""}).ask("GET", "/", authorization=None)
        self.assertEqual(answer.status, 200)
        self.assertIn(b'type="password"', answer.body)
        self.assertNotIn(b"data-url", answer.body)
        self.assertEqual(Served.of({}).ask("GET", "/folders/a/", authorization=None).status, 401)

    def test_foldersAreShown(self) -> None:
        served = Served.of({"/a b": b"x" * 1234, "/sub": None, "/sub/deep": None})
        answer, page = self.page(served)
        links = [attributes.get("href") for tag, attributes in page.tags if tag == "a"]
        self.assertIn("/api/v1/files/a%20b", links)
        self.assertIn("/folders/sub/", links)
        self.assertIn("1.2 kB", page.text)
        _, page = self.page(served, "/folders/sub/deep")
        links = [attributes.get("href") for tag, attributes in page.tags if tag == "a"]
        self.assertEqual(links, ["#main", "/", "/", "/folders/sub/", "/folders/sub/deep/"])
        self.assertIn("empty", page.text)
        self.assertEqual(answer.headers["cache-control"], "no-store")

    def rows(self, page: Tags) -> list[str]:
        return [str(attributes["data-name"]) for _, attributes in page.tags if "data-name" in attributes]

    def allRows(self, served: Served, path: str) -> list[list[str]]:
        """The names on each page, from one on."""
        pages = []
        while path:
            _, page = self.page(served, path)
            pages.append(self.rows(page))
            path = next((str(each["href"]) for _, each in page.tags if each.get("rel") == "next"), "")
        return pages

    def test_longFoldersHavePages(self) -> None:
        served = Served.of({f"/{number}": b"x" * (number % 7) for number in range(350)})
        for query in ("", "?sort=-name", "?sort=size", "?sort=-size", "?sort=modified", "?sort=-modified"):
            pages = self.allRows(served, f"/{query}")
            self.assertEqual([len(each) for each in pages], [300, 50], query)
            self.assertEqual(len(set(chain(*pages))), 350, query)
        self.assertEqual(list(chain(*self.allRows(served, "/"))), [str(number) for number in range(350)])
        self.assertEqual(self.allRows(served, "/?sort=-name")[0][0], "349")
        self.assertEqual(self.allRows(served, "/?sort=-size")[0][0], "6")
        self.assertEqual([len(each) for each in self.allRows(served, "/?find=9")], [62])

    def test_namesAreInTheOrderOfPeople(self) -> None:
        served = Served.of({"/b": None, "/A2": None, "/Zeta": b"", "/\u00e4pfel": b"", "/file 10": b"", "/File 9": b""})
        self.assertEqual(self.rows(self.page(served)[1]), ["A2", "b", "\u00e4pfel", "File 9", "file 10", "Zeta"])
        _, page = self.page(served, "/?sort=-name")
        self.assertEqual(self.rows(page), ["b", "A2", "Zeta", "file 10", "File 9", "\u00e4pfel"])
        self.assertIn("/", [attributes.get("href") for tag, attributes in page.tags if tag == "a"])
        self.assertIn(("th", {"scope": "col", "class": "name", "aria-sort": "descending"}), page.tags)

    def test_namesAreFoundByAPart(self) -> None:
        served = Served.of({"/Apfel": b"", "/\u00e4pfel": None, "/other": b"", "/x%26y": b""})
        for find, found in [
            ("APFEL", ["\u00e4pfel", "Apfel"]),
            ("%C3%A4pf", ["\u00e4pfel", "Apfel"]),
            ("%2526", ["x%26y"]),
        ]:
            _, page = self.page(served, f"/?find={find}&sort=-size")
            self.assertEqual(self.rows(page), found)
        _, page = self.page(served, "/?find=none")
        self.assertIn("No name in this folder contains", page.text)

    def test_previewsAreOfferedWhereTheyCanBeShown(self) -> None:
        served = Served.of({"/a.png": b"", "/b.pdf": b"", "/c.txt": b"", "/d.html": b"", "/e.exe": b"", "/f.png": None})
        _, page = self.page(served)
        shown = {str(each["data-name"]): each.get("data-preview") for _, each in page.tags if "data-name" in each}
        expected = {"a.png": "image", "b.pdf": "pdf", "c.txt": "text", "d.html": "text", "e.exe": None, "f.png": None}
        self.assertEqual(shown, expected)

    def test_whatIsNotThereIsSaid(self) -> None:
        served = Served.of({"/a": b""})
        for path, status in [
            ("/folders/none/", 404),
            ("/folders/a", 404),
            ("/folders/a%2fb", 400),
            ("/?x=1", 400),
            ("/?sort=age", 400),
        ]:
            self.assertEqual(served.ask("GET", path).status, status, path)

    def test_sessionsGetTheirToken(self) -> None:
        served = Served.of({})
        login = served.askJSON(
            "POST", "/api/v1/login", {"name": "alice", "password": PASSWORD.decode()}, authorization=None
        )
        cookie = login.headers["set-cookie"].partition(";")[0]
        answer = served.ask("GET", "/", authorization=None, cookie=cookie)
        self.assertIn(f'data-csrf="{login.json()["csrfToken"]}"'.encode(), answer.body)
        self.assertNotIn(cookie.partition("=")[2].encode(), answer.body)

    def test_namesAreText(self) -> None:
        served = self.withNames()
        plain = {tag for tag, _ in self.page(Served.of({"/a": b"", "/s": None}))[1].tags}
        answer, page = self.page(served)
        self.assertEqual({tag for tag, _ in page.tags}, plain)
        for tag, attributes in page.tags:
            self.assertFalse([name for name in attributes if name.startswith("on") or name == "style"], attributes)
            for name in ("href", "src", "data-url"):
                self.assertRegex(attributes.get(name) or "/", r"^(/|#)", (tag, attributes))
        shown = {str(attributes["data-name"]) for _, attributes in page.tags if "data-name" in attributes}
        self.assertIn("<img src=x onerror=alert(1)>.html", shown)
        self.assertIn("{{7*7}}", shown)
        self.assertIn("evil\\u202etxt.exe", shown)
        self.assertIn("a\\u000ab\\u000d\\u0009c", shown)
        self.assertFalse(re.search(rb"[\x00-\x09\x0b-\x1f]", answer.body))
        for name in NAMES:
            _, page = self.page(served, f"/folders/{self.quoted('folder ' + name)}/")
            self.assertLessEqual({tag for tag, _ in page.tags}, plain | {"p", "em", "h2"})

    def test_nothingForeignRuns(self) -> None:
        for path, headers in [("/", {"authorization": None}), ("/", {}), ("/folders/none", {})]:
            policy = Served.of({}).ask("GET", path, **headers).headers["content-security-policy"]
            self.assertIn("default-src 'none'; script-src 'self'; style-src 'self'", policy)
            self.assertIn("form-action 'self'; base-uri 'none'; frame-ancestors 'none'", policy)
            self.assertNotIn("unsafe", policy)

    def login(self, served: Served, body: str, **headers: str | None) -> Answer:
        kind = "application/x-www-form-urlencoded"
        given = {"authorization": None, "contentType": kind, "origin": "https://files.example", **headers}
        return served.ask("POST", "/login", body.encode(), **given)

    def test_formsLogInAndOutWithoutScripts(self) -> None:
        served = Served.of({"/a": b""})
        form = "name=alice&password=right+horse&next=%2Ffolders%2Fa%2F%3Fsort%3Dsize"
        answer = self.login(served, form)
        self.assertEqual((answer.status, answer.headers["location"]), (303, "/folders/a/?sort=size"))
        cookie = answer.headers["set-cookie"].partition(";")[0]
        _, page = self.page_(served, cookie)
        token = next(str(each["value"]) for _, each in page.tags if each.get("name") == "csrfToken")
        kind = {"authorization": None, "cookie": cookie, "contentType": "application/x-www-form-urlencoded"}
        self.assertEqual(served.ask("POST", "/logout", b"csrfToken=wrong", **kind).status, 403)
        self.assertEqual(served.ask("POST", "/logout", f"csrfToken={token}".encode(), **kind).status, 303)
        self.assertIn(b'type="password"', served.ask("GET", "/", authorization=None, cookie=cookie).body)

    def page_(self, served: Served, cookie: str) -> tuple[Answer, Tags]:
        answer = served.ask("GET", "/", authorization=None, cookie=cookie)
        return answer, Tags(answer.body.decode())

    def test_formsLeadNowhereElse(self) -> None:
        served = Served.of({})
        for target in (
            "//evil.example/",
            "https://evil.example/",
            "/\\evil.example",
            "/%5Cevil",
            "",
            "javascript:1",
            "/a\r\nb",
        ):
            answer = self.login(served, urlencode({"name": "alice", "password": "right horse", "next": target}))
            place = answer.headers["location"]
            self.assertTrue(place == "/" or place == target == "/%5Cevil", target)

    def test_formsOfOthersAreRefused(self) -> None:
        served = Served.of({})
        form = "name=alice&password=right+horse&next=/"
        for origin in ("https://evil.example", "null"):
            answer = self.login(served, form, origin=origin)
            self.assertEqual((answer.status, "set-cookie" in answer.headers), (403, False))
        answer = self.login(served, "name=%3Cb%3Ealice&password=wrong&next=%22%3E")
        self.assertEqual(answer.status, 401)
        self.assertIn(b"The name or the password is wrong.", answer.body)
        self.assertIn(b'value="&lt;b&gt;alice"', answer.body)
        self.assertEqual(self.login(served, "x" * 9000).status, 413)

    def test_theAccountHasAPage(self) -> None:
        served = Served.of({})
        self.assertIn(b"Where you are logged in", served.ask("GET", "/account").body)
        self.assertEqual(served.ask("GET", "/account", authorization=None).status, 401)

    def test_staticFilesAreKeptForGood(self) -> None:
        served = Served.of({})
        _, page = self.page(served)
        urls = [str(each.get("src") or each.get("href")) for tag, each in page.tags if tag in {"script", "link", "img"}]
        self.assertGreater(len(urls), 6)
        for url in urls:
            answer = served.ask("GET", url, authorization=None)
            self.assertEqual(
                (answer.status, answer.headers["cache-control"]), (200, "public, max-age=31536000, immutable")
            )
            again = served.ask("GET", url, authorization=None, ifNoneMatch=answer.headers["etag"])
            self.assertEqual((again.status, again.body), (304, b""))
            packed = served.ask("GET", url, authorization=None, acceptEncoding="br, gzip")
            self.assertEqual(gzip.decompress(packed.body), answer.body)
            self.assertNotEqual(packed.headers["etag"], answer.headers["etag"])
        other = served.ask("GET", re.sub("/static/[^/]*", "/static/00", urls[0]), authorization=None)
        self.assertEqual((other.status, other.headers["cache-control"]), (200, "no-cache"))
        folder = urls[0].rpartition("/")[0]
        for name in ("../_pages.py", "%2e%2e%2f_pages.py", "other.js", "", "base.css/x", "LICENSE-lucide.txt"):
            self.assertEqual(served.ask("GET", f"{folder}/{name}", authorization=None).status, 404, name)

    def test_scriptsMakeNoMarkup(self) -> None:
        scripts = [
            (each.name, each.read_text("utf-8"))
            for package in ("cftpcluster.servers.http", "cftpcluster.servers.web")
            for each in resources.files(package).joinpath("static").iterdir()
            if each.name.endswith(".js") and not each.name.startswith("tus-")
        ]
        self.assertGreater(len(scripts), 10)
        for name, script in scripts:
            for word in (
                "innerHTML",
                "outerHTML",
                "insertAdjacent",
                "document.write",
                "eval(",
                "new Function",
                "setHTML",
            ):
                self.assertNotIn(word, script, name)

    def test_brandingIsShown(self) -> None:
        served = Served.of({})
        logo = b"\x89PNG\r\n\x1a\n rest"
        branding = Branding(name="<Acme> & Co", logo=base64.b64encode(logo).decode(), accentColor="#FFCC00")
        self.assertNotIn(b"/branding/", served.ask("GET", "/").body)
        served.settings = Settings(branding=branding)
        answer, page = self.page(served)
        self.assertIn(b"&lt;Acme&gt; &amp; Co", answer.body)
        urls = [str(each.get("src") or each.get("href")) for tag, each in page.tags if tag in {"link", "img"}]
        colors, picture = sorted({url for url in urls if url.startswith("/branding/")})
        answer = served.ask("GET", picture, authorization=None)
        self.assertEqual((answer.body, answer.headers["content-type"]), (logo, "image/png"))
        sheet = served.ask("GET", colors, authorization=None).body.decode()
        used = re.findall(r"--accent: (#\w{6}); --onAccent: (#\w{6})", sheet)
        self.assertEqual(len(used), 3)
        for (accent, onAccent), ground in zip(used, ("#f1f3f6", "#232a34", "#232a34"), strict=True):
            self.assertGreaterEqual(contrast(parsed(accent), parsed(ground)), READABLE)
            self.assertGreaterEqual(contrast(parsed(accent), parsed(onAccent)), READABLE)
        self.assertEqual(served.ask("GET", "/branding/x/other", authorization=None).status, 404)

    def test_sizes(self) -> None:
        for size, text in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (5 * 10**12, "5.0 TB"),
        ]:
            self.assertEqual(sizeText(size), text)

    def test_passwordsInBrowsersServeToo(self) -> None:
        served = Served.of({})
        self.assertNotIn(b"Log out", served.ask("GET", "/", authorization=basic()).body)
