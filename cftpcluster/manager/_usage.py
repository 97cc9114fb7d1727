"""The route that tells what a user holds. Whichever node is asked answers with what it counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import define
from klein import Klein
from twisted.web.iweb import IRequest

from ..config.document import User
from ..interfaces import IAdministration
from ..servers.http import HTTPProblem, jsonAnswer
from ._bodies import refuseOthers
from .access import IsAccess


@define(eq=False)
class UsageRoutes:
    """:ivar usage: as :class:`.api.Administration` has it."""

    _administration: IAdministration
    _access: IsAccess
    _usage: Callable[[User], Awaitable[Mapping[str, Any]]]

    def add(self, app: Klein) -> None:
        @app.route("/api/v1/users/<name>/usage", methods=["GET"])
        async def usage(request: IRequest, name: str) -> bytes:
            await self._access.author(request)
            refuseOthers(request)
            user = self._administration.document().users.get(name)
            if user is None:
                raise HTTPProblem(404, f"there is no user {name!r}")
            return jsonAnswer(request, await self._usage(user))
