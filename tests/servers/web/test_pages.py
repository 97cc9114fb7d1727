"""The page for people: what it shows, and that nothing users name is more than text there."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.web._pages import sizeText

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
        self.assertEqual(links, ["/", "/", "/folders/sub/", "/folders/sub/deep/"])
        self.assertIn("empty", page.text)
        self.assertEqual(answer.headers["cache-control"], "no-store")

    def test_longFoldersHavePages(self) -> None:
        served = Served.of({f"/{number:03}": b"" for number in range(450)})
        path, rows = "/", 0
        while path:
            _, page = self.page(served, path)
            rows += sum("data-url" in attributes for _, attributes in page.tags)
            path = next((str(each["href"]) for _, each in page.tags if each.get("rel") == "next"), "")
        self.assertEqual(rows, 450)

    def test_whatIsNotThereIsSaid(self) -> None:
        served = Served.of({"/a": b""})
        for path, status in [("/folders/none/", 404), ("/folders/a", 404), ("/folders/a%2fb", 400), ("/?x=1", 400)]:
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
            self.assertLessEqual({tag for tag, _ in page.tags}, plain | {"p", "em"})

    def test_nothingForeignRuns(self) -> None:
        for path, headers in [("/", {"authorization": None}), ("/", {}), ("/folders/none", {})]:
            policy = Served.of({}).ask("GET", path, **headers).headers["content-security-policy"]
            self.assertIn("default-src 'none'; script-src 'self'; style-src 'self'", policy)
            self.assertIn("form-action 'none'; base-uri 'none'; frame-ancestors 'none'", policy)
            self.assertNotIn("unsafe", policy)

    def test_staticFiles(self) -> None:
        served = Served.of({})
        for name, kind in [("page.js", "text/javascript"), ("page.css", "text/css"), ("icon.svg", "image/svg+xml")]:
            answer = served.ask("GET", f"/static/{name}", authorization=None)
            self.assertEqual((answer.status, answer.headers["content-type"].partition(";")[0]), (200, kind))
            again = served.ask("GET", f"/static/{name}", authorization=None, ifNoneMatch=answer.headers["etag"])
            self.assertEqual((again.status, again.body), (304, b""))
        for name in ("../_pages.py", "%2e%2e%2f_pages.py", "other.js", "", "page.js/x"):
            self.assertEqual(served.ask("GET", f"/static/{name}", authorization=None).status, 404, name)

    def test_staticFilesUseNoMarkup(self) -> None:
        script = Served.of({}).ask("GET", "/static/page.js").body
        for word in (b"innerHTML", b"outerHTML", b"insertAdjacent", b"document.write", b"eval(", b"new Function"):
            self.assertNotIn(word, script)

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
