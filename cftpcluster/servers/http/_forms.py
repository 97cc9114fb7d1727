"""Forms that browsers send without scripts, and where they go next.

HTML standard, section 4.10.22.6 (application/x-www-form-urlencoded). What forms are for is not known here.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs

from ._problems import HTTPProblem

FORM_BYTES = 8192


async def formOf(request: Any) -> dict[str, str]:
    """The fields of a form, each at most once."""
    body = await request.body(FORM_BYTES)
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=10, errors="surrogateescape")
    except ValueError:
        raise HTTPProblem(400, "the body is not a form") from None
    return {name: values[0] for name, values in fields.items() if len(values) == 1}


def seeOther(request: Any, target: str) -> bytes:
    """Have the browser go to a page of ours."""
    isOwn = re.fullmatch(r"/([!-.0-~][!-~]*)?", target) and "\\" not in target
    request.setResponseCode(303)
    request.setHeader(b"Location", target.encode("ascii") if isOwn else b"/")
    request.setHeader(b"Content-Length", b"0")
    return b""
