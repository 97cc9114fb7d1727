"""What an upload's URL says: whose upload it is, of which file, and where what came so far is found.

No node remembers an upload: its URL, which the cluster signed, and the partial in the storage are all there is of it,
so that any node that reaches the storage goes on with it. Nothing here knows HTTP beyond the text of a header.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import unquote_to_bytes

from attrs import field, frozen

from ...errors import InvalidName
from ...files import paths
from ...vocabulary import VirtualPath
from ..http import HTTPProblem
from ._names import FILES

METADATA_BYTES = 4096
_KEY_BYTES = 16
_MAC_BYTES = 32
_SHOWN_BYTES = 180
"""How much of its file's name the partial is named by: the rest of 255 bytes tells uploads apart."""


def metadataOf(text: str) -> Mapping[str, bytes]:
    """The pairs of ``Upload-Metadata``. Fails with 400 where it is malformed or too long."""
    pairs: dict[str, bytes] = {}
    if len(text) > METADATA_BYTES:
        raise HTTPProblem(400, f"Upload-Metadata may have at most {METADATA_BYTES} bytes")
    for pair in text.split(",") if text.strip() else ():
        key, _, value = pair.strip().partition(" ")
        try:
            decoded = base64.b64decode(value.encode("ascii"), validate=True)
        except (binascii.Error, ValueError):
            raise HTTPProblem(400, f"Upload-Metadata: the value of {key!r} is not base64") from None
        if not key or key in pairs:
            raise HTTPProblem(400, "Upload-Metadata: a key is empty, or stands twice")
        pairs[key] = decoded
    return pairs


def pathIn(metadata: Mapping[str, bytes]) -> VirtualPath:
    """The file that an upload is to become. Fails with 400 where none is named."""
    if "path" in metadata:
        raw = metadata["path"]
    elif "url" in metadata:
        raw = _fromURL(metadata["url"])
    else:
        raw = metadata.get("filename", b"")
        if b"/" in raw:
            raise HTTPProblem(400, "Upload-Metadata: filename holds a slash; a path is given as path")
    try:
        path = paths.parse(raw)
    except InvalidName as error:
        raise HTTPProblem(400, f"Upload-Metadata: {error}") from None
    if not path or raw.endswith(b"/"):
        raise HTTPProblem(400, "Upload-Metadata must name the file: path, url or filename")
    return path


def _fromURL(url: bytes) -> bytes:
    prefix, names = FILES.encode("ascii"), []
    if not url.startswith(prefix + b"/"):
        raise HTTPProblem(400, f"Upload-Metadata: url must begin with {FILES}/")
    for segment in url[len(prefix) + 1 :].split(b"/"):
        name = unquote_to_bytes(segment)
        if name in {b"", b".", b".."} or b"/" in name:
            raise HTTPProblem(400, "Upload-Metadata: url holds an empty name, a dot name or an encoded slash")
        names.append(name)
    return b"/".join(names)


@frozen(slots=False)
class ResumableUpload:
    """One upload, as its URL tells of it.

    :ivar user: whose it is.
    :ivar key: what tells it apart from all others; hexadecimal.
    :ivar length: of the whole file.
    :ivar created: when it was begun, seconds since the epoch.
    :ivar metadata: as the client said it.
    """

    user: str
    key: str
    length: int
    created: int
    metadata: str

    @cached_property
    def path(self) -> VirtualPath:
        """Where the file will be."""
        return pathIn(metadataOf(self.metadata))

    @cached_property
    def overwrite(self) -> bool:
        """Whether it replaces a file that is there."""
        return metadataOf(self.metadata).get("overwrite") == b"true"

    @property
    def partial(self) -> VirtualPath:
        """Under which name it is kept meanwhile, in the folder it will be in."""
        return self._beside("upload")

    @property
    def claim(self) -> VirtualPath:
        """What a request makes that wants to write, while another one does."""
        return self._beside("claim")

    def _beside(self, suffix: str) -> VirtualPath:
        shown = paths.decode(paths.encode(self.path[-1])[:_SHOWN_BYTES])
        return (*self.path[:-1], f"{shown}.{self.key}.{suffix}")


@frozen
class UploadTokens:
    """Makes and reads the texts that stand for uploads in URLs.

    :ivar keys: to sign with the first of, and to accept any of.
    """

    _keys: Callable[[], Sequence[bytes]] = field(repr=False)
    _randomBytes: Callable[[int], bytes] = field(repr=False)

    def new(self, user: str, length: int, created: float, metadata: str) -> ResumableUpload:
        return ResumableUpload(user, self._randomBytes(_KEY_BYTES).hex(), length, int(created), metadata)

    def render(self, upload: ResumableUpload) -> str:
        values = [upload.user, upload.key, upload.length, upload.created, upload.metadata]
        payload = json.dumps(values, separators=(",", ":")).encode("ascii")
        signed = self._mac(self._keys()[0], payload) + payload
        return base64.urlsafe_b64encode(signed).rstrip(b"=").decode("ascii")

    def parse(self, text: bytes) -> ResumableUpload | None:
        """The upload that a text stands for; ``None`` where this cluster did not make it."""
        try:
            signed = base64.b64decode(text + b"=" * (-len(text) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        mac, payload = signed[:_MAC_BYTES], signed[_MAC_BYTES:]
        if not any(hmac.compare_digest(mac, self._mac(key, payload)) for key in self._keys()):
            return None
        values: Any = json.loads(payload)
        return ResumableUpload(*values)

    def _mac(self, key: bytes, payload: bytes) -> bytes:
        return hmac.digest(key, b"upload\0" + payload, hashlib.sha256)
