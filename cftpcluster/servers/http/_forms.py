"""Forms that browsers send without scripts, and where they go next.

HTML standard, section 4.10.22.6 (application/x-www-form-urlencoded). What forms are for is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from attrs import define
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.iweb import IRequest

from ._pages import Pages
from ._problems import HTTPProblem
from ._routing import toTheEnd
from ._sessions import CSRF_HEADER

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


@define(eq=False)
class FormLogin:
    """Lets people log in and out by forms.

    :ivar _purpose: what they log in for, as :meth:`Pages.login` shows it.
    :ivar _logIn: begins a session, from a request, a name and a password; fails with an ``HTTPProblem``.
    :ivar _logOut: ends the session that a request came by, likewise.
    """

    _pages: Pages
    _purpose: str
    _logIn: Callable[[Any, str, str], Awaitable[Any]]
    _logOut: Callable[[Any], Awaitable[Any]]

    def add(self, app: Klein) -> None:
        @app.route("/login", methods=["POST"])
        def formLogin(request: IRequest) -> Deferred[bytes]:
            return toTheEnd(self._in(request))

        @app.route("/logout", methods=["POST"])
        def formLogout(request: IRequest) -> Deferred[bytes]:
            return toTheEnd(self._out(request))

    async def _in(self, request: Any) -> bytes:
        form = await formOf(request)
        name, target = form.get("name", ""), form.get("next", "")
        try:
            await self._logIn(request, name, form.get("password", ""))
        except HTTPProblem as problem:
            if problem.status != 401:
                return self._pages.problem(request, problem)
            message = "The name or the password is wrong."
            return self._pages.login(request, 401, self._purpose, target, name, message)
        return seeOther(request, target)

    async def _out(self, request: Any) -> bytes:
        form = await formOf(request)
        request.requestHeaders.setRawHeaders(CSRF_HEADER, [form.get("csrfToken", "")])
        try:
            await self._logOut(request)
        except HTTPProblem as problem:
            if problem.status != 401:
                return self._pages.problem(request, problem)
        return seeOther(request, "/")
