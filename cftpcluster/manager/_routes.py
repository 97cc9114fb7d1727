"""The administration's routes, each declared once: by the same table requests are answered, rights are checked, and the
API is described.

What a route does is not known here; which form its bodies have is said in JSON Schema.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from attrs import Factory, define, field, frozen
from klein import Klein
from twisted.web.iweb import IRequest

from ..config.document import Role
from ..events import Measure, unmeasured
from ..vocabulary import Author
from ._bodies import refuseOthers
from .rights import requireRole

PREFIX = "/api/v1"

JSON = "application/json"
STREAM = "text/event-stream"
ANYTHING = "application/octet-stream"

Schema = Mapping[str, Any]

_VARIABLE = re.compile(r"<(?:[\w()=]+:)?(\w+)>")


@frozen
class Parameter:
    """A parameter of the query.

    :ivar form: its JSON Schema.
    """

    name: str
    text: str
    form: Schema = Factory(lambda: {"type": "string"})
    required: bool = False


@frozen
class Body:
    """What a request carries, or an answer.

    :ivar form: its JSON Schema, or the name of one of the description's schemas.
    """

    form: Schema | str
    example: Any = None
    contentType: str = JSON
    text: str = ""


@frozen(kw_only=True)
class Route:
    """One method of one path.

    :ivar path: below :data:`PREFIX`, as klein takes it.
    :ivar text: what it does, in a sentence.
    :ivar role: the least role that may ask; ``None`` where whoever comes may.
    :ivar tag: what it is about.
    :ivar answer: what it answers with when it is done.
    :ivar status: then.
    :ivar also: further answers that are no problems, by status.
    :ivar otherwise: the same answer in other forms, which are asked for.
    :ivar conditional: whether it heeds ``If-Match`` and ``If-None-Match``.
    :ivar repeatable: whether it heeds ``Idempotency-Key``.
    """

    method: str
    path: str
    text: str
    role: Role | None
    tag: str
    query: tuple[Parameter, ...] = ()
    body: Body | None = None
    answer: Body | None = None
    status: int = 200
    also: Mapping[int, Body | None] = Factory(dict)
    otherwise: tuple[Body, ...] = ()
    conditional: bool = False
    repeatable: bool = False

    @property
    def name(self) -> str:
        return f"{self.method} {PREFIX}{self.path}"

    @property
    def template(self) -> str:
        """The path as OpenAPI writes it."""
        return _VARIABLE.sub(r"{\1}", PREFIX + self.path)

    @property
    def variables(self) -> list[str]:
        """The names of the path's variables."""
        return _VARIABLE.findall(self.path)


class IsAccess(Protocol):
    """Says who makes a request, or fails with an ``HTTPProblem``."""

    async def author(self, request: Any) -> Author: ...

    def lasting(self, request: Any, author: Author) -> Callable[[], bool]:
        """What says, later, whether a request that is still being answered would still come from that author."""

    async def confirm(self, request: Any, author: Author, password: str) -> None:
        """Have an administrator prove the password, or fail with an ``HTTPProblem``."""

    def goOn(self, request: Any, credentialsRevision: int) -> None:
        """The session that asks, where there is one, is good by these credentials too."""

    def forget(self, request: Any) -> None:
        """The client has no session any more."""

    def addRoutes(self, routes: Routes) -> None:
        """Routes to log in and out by, where there are any."""


@define(eq=False)
class Routes:
    """The table; whatever is added is answered from then on."""

    app: Klein
    access: IsAccess
    _measure: Measure = unmeasured
    _seconds: Callable[[], float] = time.monotonic
    known: list[Route] = field(factory=list, init=False)

    def add(self, route: Route, answer: Callable[..., Awaitable[bytes | None]]) -> None:
        """:param answer: is given the request, the author (where a role is needed), and the path's variables."""
        self.known.append(route)
        parameters = [one.name for one in route.query]

        async def routed(request: IRequest, **variables: str) -> bytes | None:
            began = self._seconds()
            try:
                return await answered(request, **variables)
            finally:
                if not any(one.contentType == STREAM for one in route.otherwise):
                    self._measure("rest", self._seconds() - began)

        async def answered(request: IRequest, **variables: str) -> bytes | None:
            if route.role is None:
                refuseOthers(request, *parameters)
                return await answer(request, **variables)
            author = await self.access.author(request)
            requireRole(author, route.role)
            refuseOthers(request, *parameters)
            return await answer(request, author, **variables)

        self.app.route(PREFIX + route.path, methods=[route.method], endpoint=route.name)(routed)


# --- parameters that several routes have

WAIT = Parameter(
    "wait",
    "Hold the answer back until every connected node is live, at most so many seconds.",
    {"type": "number", "minimum": 0, "maximum": 300},
)
DRY_RUN = Parameter("dryRun", "Say what would change, and change nothing.", {"type": "boolean"})
SEARCH = Parameter("search", "Only names with this text in them, whatever its case.")


def limit(default: int, most: int) -> Parameter:
    """How many objects a page has."""
    text = f"How many there are on a page at most; {default} unless said."
    return Parameter("limit", text, {"type": "integer", "minimum": 1, "maximum": most})


def after(text: str = "Go on after this, the `next` of the page before.") -> Parameter:
    return Parameter("after", text)
