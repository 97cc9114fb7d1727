"""Routes of what administrators have nodes do: ``POST /nodes/NAME/ACTION``, and of the branches that nodes keep.

What an action does is the node's own business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import Factory, define, frozen
from twisted.web.iweb import IRequest

from ..config.document import Role
from ..interfaces import IAdministration
from ..servers.http import HTTPProblem, jsonAnswer
from ..vocabulary import Author
from ._formed import formedBody
from ._routes import Body, Route, Routes

_BODY_BYTES = 65536


@frozen
class NodeAction:
    """Something that a node can be asked to do.

    :ivar arguments: what may be said, as JSON Schema.
    """

    text: str
    arguments: Mapping[str, Any] = Factory(dict)
    example: Mapping[str, Any] = Factory(dict)


ACTIONS: Mapping[str, NodeAction] = {
    "drain": NodeAction(
        "Take a node out of service: it takes no new clients, and lets transfers finish.",
        {
            "seconds": {"type": "number", "minimum": 0, "description": "How long sessions have."},
            "wait": {"type": "number", "minimum": 0, "description": "How long the answer waits for their end."},
        },
        {"seconds": 60, "wait": 1},
    ),
    "resume": NodeAction(
        "Have a node that was drained take clients again, and one that was paused follow the primary again."
    ),
    "promote": NodeAction(
        "Make a node the primary. By force it has to be asked on that very node; the answer says what may be missing.",
        {"force": {"type": "boolean", "description": "Without the present primary."}},
        {"force": False},
    ),
    "pause": NodeAction("Have a node follow the primary no more, until it is resumed."),
    "resync": NodeAction(
        "Have a node take everything anew from the primary.",
        {"dryRun": {"type": "boolean", "description": "Only say, in `differences`, what that would change."}},
        {"dryRun": True},
    ),
    "rotateSessionKeys": NodeAction(
        "Have a node give the cluster a new key to sign web sessions with, of users and of administrators; they go on.",
        {"endSessions": {"type": "boolean", "description": "Nobody's session goes on: all log in anew."}},
        {"endSessions": False},
    ),
}
"""The actions that can be asked for."""

APPLY: Mapping[str, Any] = {
    "only": {"type": "array", "items": {"type": "string"}, "description": "Names of parts; all of them unless said."},
    "overwrite": {"type": "boolean", "description": "Also what others have changed since."},
}
"""What can be said when a branch is made anew."""


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": dict(properties)}


LIST_BRANCHES = Route(
    method="GET",
    path="/nodes/<name>/branches",
    text="List the branches that a node keeps: changes that only it had when it took another history.",
    role=Role.full,
    tag="nodes",
    answer=Body("NodeAnswer"),
)
SHOW_BRANCH = Route(
    method="GET",
    path="/nodes/<name>/branches/<branch>",
    text="Show who changed what on a branch, in `entries`, and how each object stands against the present "
    "configuration (`open`, `conflict`, `same`, `kept`), in `parts`.",
    role=Role.full,
    tag="nodes",
    answer=Body("NodeAnswer"),
)
DISCARD_BRANCH = Route(
    method="DELETE",
    path="/nodes/<name>/branches/<branch>",
    text="Discard a branch.",
    role=Role.full,
    tag="nodes",
    answer=Body("NodeAnswer"),
)
APPLY_BRANCH = Route(
    method="POST",
    path="/nodes/<name>/branches/<branch>/apply",
    text="Make the changes of a branch anew, as one revision.",
    role=Role.full,
    tag="nodes",
    body=Body(_object(APPLY), {"only": ["users/carol"], "overwrite": False}),
    answer=Body("NodeAnswer"),
)


@define(eq=False)
class NodeRoutes:
    _administration: IAdministration

    def add(self, routes: Routes) -> None:
        for action in ACTIONS:
            self._addAction(routes, action)
        routes.add(LIST_BRANCHES, self._listBranches)
        routes.add(SHOW_BRANCH, self._showBranch)
        routes.add(DISCARD_BRANCH, self._discardBranch)
        routes.add(APPLY_BRANCH, self._applyBranch)

    def _addAction(self, routes: Routes, action: str) -> None:
        route = Route(
            method="POST",
            path=f"/nodes/<name>/{action}",
            text=ACTIONS[action].text,
            role=Role.full,
            tag="nodes",
            body=Body(_object(ACTIONS[action].arguments), ACTIONS[action].example),
            answer=Body("NodeAnswer"),
        )

        async def act(request: IRequest, author: Author, name: str) -> bytes:
            return await self._have(request, author, name, action, route)

        routes.add(route, act)

    async def _listBranches(self, request: IRequest, author: Author, name: str) -> bytes:
        return await self._have(request, author, name, "branches")

    async def _showBranch(self, request: IRequest, author: Author, name: str, branch: str) -> bytes:
        return await self._have(request, author, name, "branch", id=branch)

    async def _discardBranch(self, request: IRequest, author: Author, name: str, branch: str) -> bytes:
        return await self._have(request, author, name, "discardBranch", id=branch)

    async def _applyBranch(self, request: IRequest, author: Author, name: str, branch: str) -> bytes:
        return await self._have(request, author, name, "applyBranch", APPLY_BRANCH, id=branch)

    async def _have(
        self, request: Any, author: Author, name: str, action: str, route: Route | None = None, **own: str
    ) -> bytes:
        """Have a node do it, and answer with what comes of it.

        :param route: whose body holds arguments; ``None`` where there is none.
        """
        arguments = await formedBody(request, route, _BODY_BYTES) if route is not None else {}
        if name not in self._administration.document().nodes:
            raise HTTPProblem(404, f"there is no {name!r} among the nodes")
        answer = await self._administration.perform(name, action, {**arguments, **own}, author)
        return jsonAnswer(request, {"node": name, **answer})
