"""The route that tells what a user holds. Whichever node is asked answers with what it counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import define
from twisted.web.iweb import IRequest

from ..config.document import Role, User
from ..interfaces import IAdministration
from ..servers.http import HTTPProblem, jsonAnswer
from ..vocabulary import Author
from ._routes import Body, Route, Routes


@define(eq=False)
class UsageRoutes:
    """:ivar usage: as :class:`.api.Administration` has it."""

    _administration: IAdministration
    _usage: Callable[[User], Awaitable[Mapping[str, Any]]]

    def add(self, routes: Routes) -> None:
        routes.add(
            Route(
                method="GET",
                path="/users/<name>/usage",
                text="Tell what a user holds, as the node that is asked counts it.",
                role=Role.auditor,
                tag="users",
                answer=Body("Usage"),
            ),
            self._tell,
        )

    async def _tell(self, request: IRequest, author: Author, name: str) -> bytes:
        user = self._administration.document().users.get(name)
        if user is None:
            raise HTTPProblem(404, f"there is no user {name!r}")
        return jsonAnswer(request, await self._usage(user))
