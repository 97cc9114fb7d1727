"""Routes of what administrators have nodes do: ``POST /nodes/NAME/ACTION``.

What an action does is the node's own business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define
from klein import Klein
from twisted.web.iweb import IRequest

from ..interfaces import IAdministration
from ..servers.http import HTTPProblem, jsonAnswer, jsonBody
from ._bodies import refuseOthers
from .access import IsAccess, requireFull

ACTIONS: Mapping[str, frozenset[str]] = {
    "drain": frozenset({"seconds", "wait"}),
    "resume": frozenset(),
}
"""The actions that can be asked for, and the arguments of each."""

_BODY_BYTES = 4096


@define(eq=False)
class NodeRoutes:
    _administration: IAdministration
    _access: IsAccess

    def add(self, app: Klein) -> None:
        for action in ACTIONS:
            self._addAction(app, action)

    def _addAction(self, app: Klein, action: str) -> None:
        @app.route(f"/api/v1/nodes/<name>/{action}", methods=["POST"], endpoint=f"node {action}")
        async def act(request: IRequest, name: str) -> bytes:
            return await self._act(request, name, action)

    async def _act(self, request: Any, name: str, action: str) -> bytes:
        author = await self._access.author(request)
        requireFull(author)
        refuseOthers(request)
        arguments = await jsonBody(request, _BODY_BYTES)
        for key in arguments.keys() - ACTIONS[action]:
            raise HTTPProblem(422, f"{action} takes no {key!r}")
        if name not in self._administration.document().nodes:
            raise HTTPProblem(404, f"there is no {name!r} among the nodes")
        answer = await self._administration.perform(name, action, arguments, author)
        return jsonAnswer(request, {"node": name, **answer})
