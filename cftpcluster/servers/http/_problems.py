"""Answers as JSON, and errors as problem details.

RFC 9457 (problem details), RFC 9110 section 15 (status codes). What went wrong, and which status that is, is decided by
whoever serves; nothing here knows files or administration.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from attrs import define
from klein import Klein
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import RequestRedirect

from ...vocabulary import Problem

log = Logger()

JSON_TYPE = b"application/json"
PROBLEM_TYPE = b"application/problem+json"


@define(eq=False)
class HTTPProblem(Exception):
    """An answer that is a problem; a route raises it.

    :ivar status: the status code.
    :ivar detail: what is wrong, for the one who asked; never a secret.
    :ivar problems: what is wrong in the body that was sent, each with its path.
    :ivar members: further members of the problem's object.
    :ivar headers: further headers of the answer.
    """

    status: int
    detail: str = ""
    problems: Sequence[Problem] = ()
    members: Mapping[str, Any] = {}
    headers: Mapping[str, str] = {}

    def plain(self) -> dict[str, Any]:
        """The problem's object."""
        plain: dict[str, Any] = {**self.members, "title": _title(self.status), "status": self.status}
        if self.detail:
            plain["detail"] = self.detail
        if self.problems:
            plain["errors"] = [{"path": problem.path, "message": problem.message} for problem in self.problems]
        return plain

    def answer(self, request: Any) -> bytes:
        """Set everything but the body, which is returned."""
        for name, value in self.headers.items():
            request.setHeader(name.encode("ascii"), value.encode("latin-1", "replace"))
        return jsonAnswer(request, self.plain(), self.status, PROBLEM_TYPE)


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def encodeJSON(value: Any) -> bytes:
    """JSON for an answer, ending with a line end."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace") + b"\n"


def jsonAnswer(request: Any, value: Any, status: int = 200, contentType: bytes = JSON_TYPE) -> bytes:
    """Set status and headers of an answer in JSON, whose body is returned."""
    body = encodeJSON(value)
    # twisted.web has no words for some.
    request.setResponseCode(status, _title(status).encode("ascii"))
    request.setHeader(b"Content-Type", contentType)
    request.setHeader(b"Content-Length", b"%d" % len(body))
    return body


def problemOf(failure: Failure) -> HTTPProblem:
    """The problem that a failed route answers with; what nobody expected is logged, and told to nobody."""
    error = failure.value
    if isinstance(error, HTTPProblem):
        return error
    if isinstance(error, RequestRedirect):
        return HTTPProblem(404)
    if isinstance(error, MethodNotAllowed):
        return HTTPProblem(405, headers={"Allow": ", ".join(sorted(error.valid_methods or ()))})
    if isinstance(error, HTTPException):
        return HTTPProblem(error.code or 500)
    log.failure("A request could not be answered", failure)
    return HTTPProblem(500, "the server failed; its log says more")


def answerProblems(app: Klein) -> None:
    """Have every failure of a klein application's routes answered with a problem, also where there is no route."""
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = False

    @app.handle_errors(Exception)
    def failed(request: IRequest, failure: Failure) -> bytes | None:
        if failure.check(CancelledError):
            # The client has gone.
            return None
        problem = problemOf(failure)
        if request.startedWriting:  # type: ignore[attr-defined]
            request.breakOff()  # type: ignore[attr-defined]
            return None
        return problem.answer(request)
