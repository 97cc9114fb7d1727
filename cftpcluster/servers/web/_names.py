"""Names of files in URLs, in JSON and on pages.

A name is bytes; URLs percent-encode them, JSON and pages show them. RFC 3986 section 2.1 (percent-encoding). Nothing
here knows a file.
"""

from __future__ import annotations

import base64
import binascii
import unicodedata
from typing import Any
from urllib.parse import quote

from ...errors import InvalidName
from ...files import paths
from ...vocabulary import VirtualPath
from ..http import HTTPProblem

FILES = "/api/v1/files"
UPLOADS = "/api/v1/uploads"
FOLDERS = "/folders"

_HIDDEN = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})


def pathOf(request: Any) -> VirtualPath:
    """The path that a request names; a slash at its end makes no difference.

    Clients resolve ``.`` and ``..`` themselves, and no name holds a slash: who sends them, however encoded, means harm.
    """
    segments = list(request.rest)
    if segments and not segments[-1]:
        segments.pop()
    for segment in segments:
        if segment in {b"", b".", b".."} or b"/" in segment:
            raise HTTPProblem(400, "not a path: it holds an empty name, a dot name or an encoded slash")
    return paths.parse(b"/" + b"/".join(segments))


def filePathOf(request: Any) -> VirtualPath:
    """As :func:`pathOf`, of a file: no slash at the end."""
    if not request.rest or not request.rest[-1]:
        raise HTTPProblem(400, "this names a folder, not a file")
    return pathOf(request)


def targetOf(body: dict[str, Any]) -> VirtualPath:
    """The path that a body names by ``to``, or by ``toBytes`` in base64."""
    text, encoded = body.get("to"), body.get("toBytes")
    if isinstance(text, str) == isinstance(encoded, str):
        raise HTTPProblem(422, "expected to: a path, or toBytes: a path in base64")
    try:
        raw = base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else paths.encode(str(text))
    except (binascii.Error, ValueError):
        raise HTTPProblem(422, "toBytes is not base64") from None
    except InvalidName:
        raise HTTPProblem(422, "to is not a path") from None
    path = paths.parse(raw)
    if not path or raw.endswith(b"/"):
        raise HTTPProblem(422, "to must be the whole path that is to be made, without a slash at its end")
    return path


def isText(name: str) -> bool:
    """Whether a name is UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def shown(name: str) -> str:
    r"""A name for people: what is not UTF-8 as ``\xNN``."""
    return paths.encode(name).decode("utf-8", "backslashreplace")


def displayed(name: str) -> str:
    r"""A name for a page: as :func:`shown`, and characters that nobody sees, or that turn it around, as ``\uNNNN``."""
    return "".join(
        f"\\u{ord(character):04x}" if unicodedata.category(character) in _HIDDEN else character
        for character in shown(name)
    )


def named(name: str, key: str = "name") -> dict[str, str]:
    """A name as members of a JSON object."""
    if isText(name):
        return {key: name}
    return {key: shown(name), f"{key}Bytes": base64.b64encode(paths.encode(name)).decode("ascii")}


def urlOf(path: VirtualPath, prefix: str = FILES, isFolder: bool = False) -> str:
    """Where a path is found beneath ``prefix``."""
    url = prefix + "".join("/" + quote(paths.encode(name), safe="") for name in path)
    return url + "/" if isFolder else url
