"""Routes of what administrators have nodes do: ``POST /nodes/NAME/ACTION``, and of the branches that nodes keep.

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
    "promote": frozenset({"force"}),
    "pause": frozenset(),
    "resync": frozenset({"dryRun"}),
    "rotateSessionKeys": frozenset({"endSessions"}),
}
"""The actions that can be asked for, and the arguments of each."""

APPLY = frozenset({"only", "overwrite"})
"""What can be said when a branch is made anew."""

_BODY_BYTES = 65536


@define(eq=False)
class NodeRoutes:
    _administration: IAdministration
    _access: IsAccess

    def add(self, app: Klein) -> None:
        for action in ACTIONS:
            self._addAction(app, action)
        self._addBranches(app)

    def _addBranches(self, app: Klein) -> None:
        @app.route("/api/v1/nodes/<name>/branches", methods=["GET"])
        async def listBranches(request: IRequest, name: str) -> bytes:
            return await self._have(request, name, "branches")

        @app.route("/api/v1/nodes/<name>/branches/<branch>", methods=["GET"])
        async def showBranch(request: IRequest, name: str, branch: str) -> bytes:
            return await self._have(request, name, "branch", id=branch)

        @app.route("/api/v1/nodes/<name>/branches/<branch>", methods=["DELETE"])
        async def discardBranch(request: IRequest, name: str, branch: str) -> bytes:
            return await self._have(request, name, "discardBranch", id=branch)

        @app.route("/api/v1/nodes/<name>/branches/<branch>/apply", methods=["POST"])
        async def applyBranch(request: IRequest, name: str, branch: str) -> bytes:
            return await self._have(request, name, "applyBranch", APPLY, id=branch)

    def _addAction(self, app: Klein, action: str) -> None:
        @app.route(f"/api/v1/nodes/<name>/{action}", methods=["POST"], endpoint=f"node {action}")
        async def act(request: IRequest, name: str) -> bytes:
            return await self._have(request, name, action, ACTIONS[action])

    async def _have(
        self, request: Any, name: str, action: str, known: frozenset[str] | None = None, **own: str
    ) -> bytes:
        """Have a node do it, and answer with what comes of it.

        :param known: the arguments that the body may hold; ``None`` where there is none.
        """
        author = await self._access.author(request)
        requireFull(author)
        refuseOthers(request)
        arguments = await jsonBody(request, _BODY_BYTES) if known is not None else {}
        for key in arguments.keys() - (known or ()):
            raise HTTPProblem(422, f"{action} takes no {key!r}")
        if name not in self._administration.document().nodes:
            raise HTTPProblem(404, f"there is no {name!r} among the nodes")
        answer = await self._administration.perform(name, action, {**arguments, **own}, author)
        return jsonAnswer(request, {"node": name, **answer})
