"""Style sheets, scripts and pictures of pages: read once, served from memory.

RFC 9111 section 5.2 (Cache-Control), RFC 8246 (immutable). Their URLs hold a digest of all of them, so that browsers
keep them for good, and modules that import each other by relative URLs fit together. What pages show is not known here.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any, Self

from attrs import field, frozen
from klein import Klein
from twisted.web.iweb import IRequest

from ._problems import HTTPProblem

_TYPES: Mapping[str, bytes] = {
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "png": b"image/png",
    "svg": b"image/svg+xml",
}
_COMPRESSED = frozenset({"css", "js", "svg"})


@frozen
class Asset:
    """One file.

    :ivar compressed: the same with gzip; ``None`` where that gains nothing.
    """

    data: bytes = field(repr=False)
    contentType: bytes
    compressed: bytes | None = field(default=None, repr=False)

    @classmethod
    def named(cls, name: str, data: bytes) -> Self:
        suffix = name.rpartition(".")[2]
        return cls(data, _TYPES[suffix], gzip.compress(data, mtime=0) if suffix in _COMPRESSED else None)

    @property
    def digest(self) -> str:
        return hashlib.blake2b(self.data, digest_size=12).hexdigest()

    def answer(self, request: Any, isImmutable: bool) -> bytes:
        """Set the headers, and return the body."""
        data, etag = self.data, self.digest
        if self.compressed is not None:
            request.setHeader(b"Vary", b"Accept-Encoding")
            if "gzip" in (request.getHeader("Accept-Encoding") or ""):
                data, etag = self.compressed, f"{etag}-gzip"
                request.setHeader(b"Content-Encoding", b"gzip")
        request.setHeader(b"Content-Type", self.contentType)
        # Nodes may differ in version for a while: what was asked for by the digest of another one is not to be kept.
        request.setHeader(b"Cache-Control", b"public, max-age=31536000, immutable" if isImmutable else b"no-cache")
        request.setHeader(b"Content-Length", b"%d" % len(data))
        request.setETag(b'"%s"' % etag.encode("ascii"))
        if request.requestHeaders.getRawHeaders(b"If-None-Match") == [request.etag]:
            request.responseHeaders.removeHeader(b"Content-Length")
            request.setResponseCode(304)
        return data


@frozen
class Assets:
    """The files of one set of pages.

    :ivar version: the digest of all of them.
    """

    _files: Mapping[str, Asset] = field(repr=False)
    version: str

    @classmethod
    def of(cls, *packages: str) -> Self:
        """All files in the folders ``static`` of packages; it reads them, so it is called when they are imported."""
        files = {
            each.name: Asset.named(each.name, each.read_bytes())
            for package in packages
            for each in sorted(resources.files(package).joinpath("static").iterdir(), key=lambda one: one.name)
            if each.name.rpartition(".")[2] in _TYPES
        }
        whole = hashlib.blake2b(digest_size=10)
        for name, asset in sorted(files.items()):
            whole.update(f"{name} {asset.digest}\n".encode())
        return cls(files, whole.hexdigest())

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def url(self, name: str) -> str:
        """Where a file is found. Fails with ``KeyError`` where there is none of that name."""
        return f"/static/{self.version}/{name}" if self._files[name] else ""

    def add(self, app: Klein) -> None:
        """Have an application serve them."""

        @app.route("/static/<version>/<name>", methods=["GET"])
        def static(request: IRequest, version: str, name: str) -> bytes:
            if name not in self._files:
                raise HTTPProblem(404)
            return self._files[name].answer(request, version == self.version)
