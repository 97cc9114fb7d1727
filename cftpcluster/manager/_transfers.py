"""The route of the transfers under way. A transfer is ended with its session, by the route of that."""

from __future__ import annotations

from typing import Any

from attrs import define

from ..config.document import Role
from ..files.transfers import Wanted
from ..servers.http import HTTPProblem, jsonAnswer
from ..vocabulary import Author
from ._bodies import queryNumber, queryText
from ._routes import Body, Parameter, Route, Routes, after, limit
from .happened import MOST_LIMIT
from .underway import UnderWay

DEFAULT_LIMIT = 100
LONGEST_TEXT = 1024

TRANSFERS = Route(
    method="GET",
    path="/transfers",
    text="List the transfers under way on all nodes, the oldest first. One is ended with its session.",
    role=Role.auditor,
    tag="sessions and bans",
    query=(
        Parameter("user", "Only those of this user."),
        Parameter("node", "Only those on this node."),
        Parameter("search", "Only those with this text in the user's name, the path or the address."),
        limit(DEFAULT_LIMIT, MOST_LIMIT),
        after(),
    ),
    answer=Body("Transfers"),
)


@define(eq=False)
class TransferRoutes:
    _underWay: UnderWay

    def add(self, routes: Routes) -> None:
        routes.add(TRANSFERS, self._transfers)

    async def _transfers(self, request: Any, author: Author) -> bytes:
        texts = {name: queryText(request, name) or "" for name in ("user", "search", "after")}
        for name, text in texts.items():
            if len(text) > LONGEST_TEXT:
                raise HTTPProblem(400, f"{name}: too long")
        node, known = queryText(request, "node"), self._underWay.nodes
        if node and node not in known:
            raise HTTPProblem(404, f"there is no node {node!r}")
        wanted = Wanted(**texts, limit=max(1, int(queryNumber(request, "limit", DEFAULT_LIMIT, MOST_LIMIT))))
        return jsonAnswer(request, await self._underWay.page(wanted, [node] if node else known))
