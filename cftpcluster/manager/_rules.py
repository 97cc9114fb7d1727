"""Routes of the rules that hold on all nodes: who is in, and who is kept out.

Whichever node is asked answers for the cluster, with what it knows of the others; the primary is not needed.
"""

from __future__ import annotations

from typing import Any

from attrs import asdict, define
from klein import Klein
from twisted.logger import Logger
from twisted.web.iweb import IRequest

from ..auth.bans import LONGEST_REASON, Ban
from ..auth.rules import Rules
from ..errors import ClusterError
from ..servers.http import HTTPProblem, jsonAnswer, jsonBody
from ..vocabulary import Author
from ._bodies import queryNumber, queryText, refuseOthers
from .access import IsAccess, requireWrite

log = Logger()

_BODY_BYTES = 4096
_DEFAULT_LIMIT = 1000
_MOST_LIMIT = 10_000
_MOST_BAN_SECONDS = 366 * 24 * 3600

KICKED = "ended by an administrator"


@define(eq=False)
class RuleRoutes:
    _rules: Rules
    _access: IsAccess

    def add(self, app: Klein) -> None:
        @app.route("/api/v1/sessions", methods=["GET"])
        async def sessions(request: IRequest) -> bytes:
            return await self._sessions(request)

        @app.route("/api/v1/sessions/<key>", methods=["DELETE"])
        async def kick(request: IRequest, key: str) -> bytes:
            return await self._kick(request, key)

        @app.route("/api/v1/sessions", methods=["DELETE"])
        async def kickUser(request: IRequest) -> bytes:
            return await self._kickUser(request)

        @app.route("/api/v1/bans", methods=["GET"])
        async def bans(request: IRequest) -> bytes:
            await self._access.author(request)
            refuseOthers(request)
            found = [shown(ban) for ban in self._rules.guard.bans()]
            return jsonAnswer(request, {"items": found, "total": len(found)})

        @app.route("/api/v1/bans", methods=["POST"])
        async def ban(request: IRequest) -> bytes:
            return await self._ban(request)

        @app.route("/api/v1/bans/<path:network>", methods=["DELETE"])
        async def lift(request: IRequest, network: str) -> bytes:
            return await self._lift(request, network)

    async def _sessions(self, request: Any) -> bytes:
        await self._access.author(request)
        refuseOthers(request, "user", "node", "limit")
        user, node = queryText(request, "user"), queryText(request, "node")
        limit = int(queryNumber(request, "limit", _DEFAULT_LIMIT, _MOST_LIMIT))
        found = [
            session
            for session in self._rules.sessions.listed()
            if user in (None, session["user"]) and node in (None, session["node"])
        ]
        return jsonAnswer(request, {"items": found[:limit], "total": len(found)})

    async def _kick(self, request: Any, key: str) -> bytes:
        author = await self._mayRule(request)
        if not self._rules.sessions.kick(key, KICKED):
            raise HTTPProblem(404, f"there is no session {key!r}")
        log.info("{author!r} ended session {key!r}", author=author.name, key=key)
        return jsonAnswer(request, {"id": key})

    async def _kickUser(self, request: Any) -> bytes:
        author = await self._mayRule(request, "user")
        user = queryText(request, "user")
        if not user:
            raise HTTPProblem(400, "user: whose sessions?")
        ended = self._rules.sessions.endAllOf(user, KICKED)
        log.info("{author!r} ended all sessions of {user!r}", author=author.name, user=user)
        return jsonAnswer(request, {"user": user, "ended": ended})

    async def _ban(self, request: Any) -> bytes:
        author = await self._mayRule(request)
        body = await jsonBody(request, _BODY_BYTES)
        network, seconds, reason = body.get("network"), body.get("seconds"), body.get("reason", "")
        if body.keys() - {"network", "seconds", "reason"} or not isinstance(network, str):
            raise HTTPProblem(422, "expected network, and perhaps seconds and reason")
        if seconds is not None and (type(seconds) not in {int, float} or not 0 < seconds <= _MOST_BAN_SECONDS):
            raise HTTPProblem(422, f"seconds: expected 1 to {_MOST_BAN_SECONDS}")
        if not isinstance(reason, str) or len(reason) > LONGEST_REASON:
            raise HTTPProblem(422, f"reason: expected at most {LONGEST_REASON} characters")
        try:
            made = self._rules.guard.ban(network, seconds, reason, author.name)
        except ClusterError as error:
            raise HTTPProblem(422, str(error)) from None
        return jsonAnswer(request, shown(made), 201)

    async def _lift(self, request: Any, network: str) -> bytes:
        author = await self._mayRule(request)
        try:
            lifted = self._rules.guard.lift(network)
        except ClusterError as error:
            raise HTTPProblem(422, str(error)) from None
        if not lifted:
            wider = self._rules.guard.covering(network)
            raise HTTPProblem(404, f"{network} is not banned" + (f" by itself, but by {wider}" if wider else ""))
        log.info("{author!r} lifted the ban of {network!r}", author=author.name, network=network)
        return jsonAnswer(request, {"network": network})

    async def _mayRule(self, request: Any, *parameters: str) -> Author:
        author = await self._access.author(request)
        requireWrite(author, [("users", "")])
        refuseOthers(request, *parameters)
        return author


def shown(ban: Ban) -> dict[str, Any]:
    """A ban as it is read over the API."""
    return {**asdict(ban), "seconds": round(ban.seconds)}
