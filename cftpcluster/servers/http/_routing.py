"""What connects requests to routes: raw paths beneath some of them, and work that goes on when the client has gone.

Names of files are bytes; klein's routes are text. So what follows a given prefix is kept from klein, and routes find
it in the request's ``rest``. Which routes there are is not known here.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from ._problems import HTTPProblem
from ._request import BodyCutShort

log = Logger()

R = TypeVar("R")


class RoutedResource(Resource):
    """The routes of a klein application.

    :ivar app: what routes.
    :ivar prefixes: paths such as ``/api/v1/files``; whatever comes after one is left in ``request.rest``,
        percent-decoded segment by segment, and the route is that of the prefix.
    """

    isLeaf = True

    def __init__(self, app: Klein, *prefixes: bytes) -> None:
        super().__init__()
        self._routes = app.resource()
        self._prefixes = {tuple(prefix[1:].split(b"/")) for prefix in prefixes}

    def render(self, request: Any) -> Any:
        for prefix in self._prefixes:
            if tuple(request.path[1:].split(b"/")[: len(prefix)]) == prefix:
                request.rest = request.postpath[len(prefix) :]
                request.postpath = request.postpath[: len(prefix)]
                break
        try:
            b"/".join(request.postpath).decode("utf-8")
        except UnicodeDecodeError:
            return HTTPProblem(404).answer(request)
        return self._routes.render(request)


def toTheEnd(work: Coroutine[Deferred[Any], Any, R]) -> Deferred[R]:
    """Fires as ``work`` ends. Cancelling it (klein does so when the client is gone) lets the work go on: what has been
    begun must be brought to an end, and no file be left open."""
    told: Deferred[R] = Deferred(_letGoOn)

    def tell(result: Any) -> None:
        if not told.called:
            told.callback(result)
        elif isinstance(result, Failure) and not result.check(HTTPProblem, BodyCutShort):
            log.failure("The work for a client that has gone failed", result)

    _ = Deferred.fromCoroutine(work).addBoth(tell)
    return told


def _letGoOn(told: Deferred[Any]) -> None:
    pass
