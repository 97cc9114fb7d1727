"""The page for people: log-in, and folders with what can be done in them.

Pages are rendered here and changed by the file API, which the page's script calls. What users named is data wherever it
stands: templates escape it, the script only makes text of it, and the policy of the page lets no other script run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any
from urllib.parse import quote

from attrs import define, field
from jinja2 import DictLoader, Environment, StrictUndefined
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.iweb import IRequest

from ...errors import FileSystemError, NotAFolder
from ...files import paths
from ...vocabulary import Entry, Kind, VirtualPath
from ..http import HTTPProblem, queryBytes, refuseOthers, toTheEnd
from ._access import UserAccess
from ._files import problemFor
from ._folders import Page, modifiedText, pageOf
from ._names import FILES, FOLDERS, displayed, pathOf, urlOf

ENTRIES_OF_A_PAGE = 200

POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)

_STATIC_TYPES: Mapping[str, bytes] = {
    "page.css": b"text/css; charset=utf-8",
    "page.js": b"text/javascript; charset=utf-8",
    "icon.svg": b"image/svg+xml",
}
_TEMPLATES = ("base.html", "login.html", "folder.html", "problem.html")
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def _read(folder: str, name: str) -> bytes:
    return resources.files(__package__).joinpath(folder, name).read_bytes()


def _environment() -> Environment:
    texts = {name: _read("templates", name).decode("utf-8") for name in _TEMPLATES}
    return Environment(loader=DictLoader(texts), autoescape=True, undefined=StrictUndefined, auto_reload=False)


def sizeText(size: int) -> str:
    """A length for people."""
    value, unit = float(size), 0
    while value >= 999.95 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{size} B"


@define(eq=False)
class PageRoutes:
    _access: UserAccess
    _templates: Environment = field(factory=_environment, init=False)
    _static: Mapping[str, bytes] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._static = {name: _read("static", name) for name in _STATIC_TYPES}

    def add(self, app: Klein) -> None:
        @app.route("/", methods=["GET"])
        def home(request: IRequest) -> Deferred[bytes]:
            return toTheEnd(self._folder(request))

        @app.route(FOLDERS, methods=["GET"])
        def folder(request: IRequest) -> Deferred[bytes]:
            return toTheEnd(self._folder(request))

        @app.route("/static/<name>", methods=["GET"])
        def static(request: IRequest, name: str) -> bytes:
            return self._asset(request, name)

    def _asset(self, request: Any, name: str) -> bytes:
        if name not in self._static:
            raise HTTPProblem(404)
        data = self._static[name]
        request.setHeader(b"Content-Type", _STATIC_TYPES[name])
        # Nodes of a cluster may differ in version: what a browser has is asked for again, cheaply.
        request.setHeader(b"Cache-Control", b"no-cache")
        request.setETag(b'"%s"' % hashlib.blake2b(data, digest_size=12).hexdigest().encode("ascii"))
        request.setHeader(b"Content-Length", b"%d" % len(data))
        if request.requestHeaders.getRawHeaders(b"If-None-Match") == [request.etag]:
            request.responseHeaders.removeHeader(b"Content-Length")
            request.setResponseCode(304)
        return data

    def _render(self, request: Any, name: str, status: int, values: Mapping[str, Any]) -> bytes:
        page = self._templates.get_template(name).render(values).encode("utf-8", "backslashreplace")
        request.setResponseCode(status)
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
        request.setHeader(b"Content-Security-Policy", POLICY)
        request.setHeader(b"Content-Length", b"%d" % len(page))
        return page

    async def _folder(self, request: Any) -> bytes:
        try:
            return await self._show(request)
        except HTTPProblem as problem:
            if problem.status == 401:
                # Whoever comes to the front door is not refused, but asked who they are.
                return self._render(request, "login.html", 200 if request.path == b"/" else 401, {})
            title = str(problem.plain()["title"])
            return self._render(request, "problem.html", problem.status, {"title": title, "detail": problem.detail})

    async def _show(self, request: Any) -> bytes:
        visit = await self._access.visit(request)
        try:
            refuseOthers(request, "after")
            path, after = pathOf(request), queryBytes(request, "after") or b""
            page = await pageOf(visit.account.files, path, ENTRIES_OF_A_PAGE, after)
        except NotAFolder as error:
            raise HTTPProblem(404, str(error)) from None
        except FileSystemError as error:
            raise problemFor(error) from None
        finally:
            await visit.end()
        values = {
            "user": displayed(visit.account.name),
            "csrfToken": self._access.csrfToken(visit.session),
            "isContinued": bool(after),
            **_valuesOf(path, page),
        }
        return self._render(request, "folder.html", 200, values)


def _valuesOf(path: VirtualPath, page: Page) -> dict[str, Any]:
    crumbs = [
        {"name": displayed(path[depth]), "url": urlOf(path[: depth + 1], FOLDERS, isFolder=True)}
        for depth in range(len(path))
    ]
    here = urlOf(path, FOLDERS, isFolder=True) if path else "/"
    following = f"{here}?after={quote(paths.encode(page.next), safe='')}" if page.next is not None else ""
    return {
        "crumbs": crumbs,
        "filesUrl": urlOf(path, FILES, isFolder=True),
        "entries": [_row((*path, entry.name), entry) for entry in page.entries],
        "nextUrl": following,
    }


def _row(path: VirtualPath, entry: Entry) -> dict[str, Any]:
    kind = entry.stat.kind
    isFolder = kind is Kind.folder
    href = {Kind.folder: urlOf(path, FOLDERS, isFolder=True), Kind.file: urlOf(path)}.get(kind, "")
    return {
        "name": displayed(entry.name),
        "filesUrl": urlOf(path),
        "href": href,
        "icon": "folder" if isFolder else "file",
        "note": "" if href else "link that leads nowhere" if kind is Kind.link else "special file",
        "size": "" if isFolder else sizeText(entry.stat.size),
        "modified": modifiedText(entry.stat) or "",
    }
