"""The pages for people: log-in, folders with what can be done in them, and one's own account.

Pages are rendered here; the file API changes what they show, and the page's scripts call it. What users named is data
wherever it stands: templates escape it, scripts only make text of it, and the policy of the pages lets no other script
run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from attrs import define, field
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.iweb import IRequest

from ...config.document import Settings
from ...errors import FileSystemError, NotAFolder, PermissionDenied
from ...files import paths
from ...vocabulary import Entry, Kind, VirtualPath
from ..http import (
    Assets,
    FormLogin,
    HTTPProblem,
    Pages,
    queryBytes,
    refuseOthers,
    templatesOf,
    toTheEnd,
)
from ._access import UserAccess, Visit
from ._files import problemFor
from ._folders import Page, modifiedText, pageOf
from ._listing import KEYS, NaturalOrder
from ._names import FILES, FOLDERS, displayed, pathOf, urlOf
from ._previews import typeOf

ENTRIES_OF_A_PAGE = 300
TITLE = "Files"
PURPOSE = "Log in to reach your files."

_PACKAGES = ("cftpcluster.servers.http", __package__)
_ASSETS, _TEMPLATES = Assets.of(*_PACKAGES), templatesOf(*_PACKAGES)
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")

_ICONS: Mapping[str, str] = {
    suffix: icon
    for icon, suffixes in {
        "image": "png jpg jpeg gif webp avif svg bmp tif tiff heic ico psd",
        "film": "mp4 mkv mov avi webm m4v mpg mpeg wmv",
        "music": "mp3 wav flac ogg m4a aac opus wma",
        "file-archive": "zip gz tgz bz2 xz zst 7z rar tar lz4 cab jar iso",
        "file-code": "html css js ts json xml yaml yml toml py c h cpp rs go java sh sql ini conf",
        "file-spreadsheet": "csv tsv xls xlsx ods",
        "file-text": "txt md pdf doc docx odt rtf log tex ps ppt pptx odp",
        "key-round": "pem key pub asc gpg p12 crt cer",
    }.items()
    for suffix in suffixes.split()
}


def sizeText(size: int) -> str:
    """A length for people."""
    value, unit = float(size), 0
    while value >= 999.95 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{size} B"


@define(eq=False)
class PageRoutes:
    _access: UserAccess
    _settings: Callable[[], Settings]
    _pages: Pages = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pages = Pages(_ASSETS, TITLE, lambda: self._settings().branding, _TEMPLATES)

    def add(self, app: Klein) -> None:
        @app.route("/", methods=["GET"])
        def home(request: IRequest) -> Deferred[bytes]:
            return toTheEnd(self._shown(request, self._folder))

        @app.route(FOLDERS, methods=["GET"])
        def folder(request: IRequest) -> Deferred[bytes]:
            return toTheEnd(self._shown(request, self._folder))

        @app.route("/account", methods=["GET"])
        def account(request: IRequest) -> Deferred[bytes]:
            return toTheEnd(self._shown(request, self._account))

        FormLogin(self._pages, PURPOSE, self._access.logIn, self._access.logOut).add(app)
        self._pages.add(app)

    async def _shown(self, request: Any, show: Callable[[Any, Visit], Any]) -> bytes:
        try:
            visit = await self._access.visit(request)
            try:
                page: bytes = await show(request, visit)
            finally:
                await visit.end()
        except HTTPProblem as problem:
            if problem.status == 401:
                # Whoever comes to the front door is not refused, but asked who they are.
                return self._login(
                    request, 200 if request.path == b"/" else 401, request.uri.decode("ascii", "replace")
                )
            return self._pages.problem(request, problem)
        except FileSystemError as error:
            return self._pages.problem(request, problemFor(error))
        return page

    def _login(self, request: Any, status: int, target: str, name: str = "", message: str = "") -> bytes:
        return self._pages.login(request, status, PURPOSE, target, name, message)

    # --- pages of who is known

    def _site(self, visit: Visit) -> dict[str, Any]:
        token = self._access.csrfToken(visit.session)
        return {"user": displayed(visit.account.name), "csrfToken": token, "isAccount": False}

    async def _account(self, request: Any, visit: Visit) -> bytes:
        refuseOthers(request)
        return self._pages.render(request, "account.html", 200, {**self._site(visit), "isAccount": True})

    async def _folder(self, request: Any, visit: Visit) -> bytes:
        refuseOthers(request, "after", "sort", "find")
        path, cursor = pathOf(request), queryBytes(request, "after") or b""
        find = (queryBytes(request, "find") or b"").decode("utf-8", "replace").strip()
        sort = (queryBytes(request, "sort") or b"name").decode("utf-8", "replace")
        try:
            order = NaturalOrder.parse(sort, foldersFirst=True, search=find)
        except ValueError as error:
            raise HTTPProblem(400, f"sort: {error}") from None
        isHidden = False
        try:
            page = await pageOf(visit.account.files, path, ENTRIES_OF_A_PAGE, cursor, order)
        except PermissionDenied:
            # who may not look may still be there to upload
            page, isHidden = Page([], None), True
        except ValueError:
            raise HTTPProblem(400, "after: this is not where a page begins") from None
        except NotAFolder as error:
            raise HTTPProblem(404, str(error)) from None
        values = {
            **self._site(visit),
            "isContinued": bool(cursor),
            "isHidden": isHidden,
            **_valuesOf(path, order, page),
        }
        return self._pages.render(request, "folder.html", 200, values)


def _valuesOf(path: VirtualPath, order: NaturalOrder, page: Page) -> dict[str, Any]:
    crumbs = [
        {"name": displayed(path[depth]), "url": urlOf(path[: depth + 1], FOLDERS, isFolder=True)}
        for depth in range(len(path))
    ]
    here = urlOf(path, FOLDERS, isFolder=True) if path else "/"

    def address(sort: str, after: str | None = None) -> str:
        query = urlencode(
            {
                **({"find": order.search} if order.search else {}),
                **({"sort": sort} if sort != KEYS[0] else {}),
                **({"after": paths.encode(after)} if after is not None else {}),
            }
        )
        return f"{here}?{query}" if query else here

    def sortedBy(key: str) -> str:
        return address(f"-{key}" if (order.by, order.isDescending) == (key, False) else key)

    return {
        "here": here,
        "find": order.search,
        "sort": {
            "key": order.by,
            "isDescending": order.isDescending,
            "text": order.text,
            "urls": {key: sortedBy(key) for key in KEYS},
        },
        "crumbs": crumbs,
        "filesUrl": urlOf(path, FILES, isFolder=True),
        "zipUrl": urlOf(path, FILES, isFolder=True) + "?op=zip",
        "entries": [_row((*path, entry.name), entry) for entry in page.entries],
        "nextUrl": address(order.text, page.next) if page.next is not None else "",
    }


def _row(path: VirtualPath, entry: Entry) -> dict[str, Any]:
    kind, name = entry.stat.kind, displayed(entry.name)
    isFolder = kind is Kind.folder
    href = {Kind.folder: urlOf(path, FOLDERS, isFolder=True), Kind.file: urlOf(path)}.get(kind, "")
    other = "link" if kind is Kind.link else "file-question-mark"
    plain = _ICONS.get(name.rpartition(".")[2].lower() if "." in name else "", "file")
    return {
        "name": name,
        "filesUrl": urlOf(path),
        "href": href,
        "kind": kind.value,
        "preview": _previewOf(entry),
        "icon": "folder" if isFolder else plain if href else other,
        "note": "" if href else "link that leads nowhere" if kind is Kind.link else "special file",
        "size": "" if isFolder else sizeText(entry.stat.size),
        "bytes": 0 if isFolder else entry.stat.size,
        "modified": modifiedText(entry.stat) or "",
    }


def _previewOf(entry: Entry) -> str:
    """As what a file can be shown: text, image, audio, video or pdf; "" for what cannot be."""
    contentType = typeOf(entry.name) if entry.stat.kind is Kind.file else None
    if contentType is None:
        return ""
    general, _, special = contentType.decode("ascii").partition("/")
    return "pdf" if special == "pdf" else general
