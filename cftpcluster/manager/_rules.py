"""Routes of the rules that hold on all nodes: who is in, and who is kept out.

Whichever node is asked answers for the cluster, with what it knows of the others; the primary is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import asdict, define
from twisted.web.iweb import IRequest

from ..auth.bans import LONGEST_REASON, Ban
from ..auth.rules import Rules
from ..config.document import Role
from ..errors import ClusterError
from ..events import BanLifted, Notify, SessionKicked
from ..servers.http import HTTPProblem, jsonAnswer
from ..vocabulary import Author, Problem
from ._bodies import queryNumber, queryText
from ._formed import formedBody
from ._routes import Body, Parameter, Route, Routes, after, limit

_BODY_BYTES = 4096
_DEFAULT_LIMIT = 1000
_MOST_LIMIT = 10_000
_MOST_BAN_SECONDS = 366 * 24 * 3600

KICKED = "ended by an administrator"

SESSIONS = Route(
    method="GET",
    path="/sessions",
    text="List the live sessions of all nodes, oldest first.",
    role=Role.auditor,
    tag="sessions and bans",
    query=(
        Parameter("user", "Only those of this user."),
        Parameter("node", "Only those on this node."),
        Parameter("search", "Only those with this text in the user's name, the address or the software."),
        limit(_DEFAULT_LIMIT, _MOST_LIMIT),
        after(),
    ),
    answer=Body("Sessions"),
)
KICK = Route(
    method="DELETE",
    path="/sessions/<key>",
    text="End a session, on whichever node it is.",
    role=Role.users,
    tag="sessions and bans",
    answer=Body({"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}),
)
KICK_USER = Route(
    method="DELETE",
    path="/sessions",
    text="End all sessions of a user, on all nodes, those that no node remembers among them.",
    role=Role.users,
    tag="sessions and bans",
    query=(Parameter("user", "Whose.", required=True),),
    answer=Body("SessionsEnded"),
)
BANS = Route(
    method="GET",
    path="/bans",
    text="List the bans that hold.",
    role=Role.auditor,
    tag="sessions and bans",
    query=(
        Parameter("search", "Only those with this text in the network, the reason or who made it."),
        limit(_DEFAULT_LIMIT, _MOST_LIMIT),
        after(),
    ),
    answer=Body("Bans"),
)
BAN = Route(
    method="POST",
    path="/bans",
    text="Ban an address (IPv6: its /64) or a network, on all nodes.",
    role=Role.users,
    tag="sessions and bans",
    body=Body(
        {
            "type": "object",
            "required": ["network"],
            "additionalProperties": False,
            "properties": {
                "network": {"type": "string", "description": "An address or a network (CIDR)."},
                "seconds": {
                    "type": "number",
                    "minimum": 1,
                    "maximum": _MOST_BAN_SECONDS,
                    "description": "For so long; `settings.banSeconds` unless said.",
                },
                "reason": {
                    "type": "string",
                    "maxLength": LONGEST_REASON,
                    "description": "Why, for whoever reads the list.",
                },
            },
        },
        {"network": "203.0.113.0/24", "seconds": 86400, "reason": "password spray"},
    ),
    answer=Body("Ban"),
    status=201,
)
LIFT = Route(
    method="DELETE",
    path="/bans/<path:network>",
    text="Lift a ban, whichever node made it.",
    role=Role.users,
    tag="sessions and bans",
    answer=Body({"type": "object", "required": ["network"], "properties": {"network": {"type": "string"}}}),
)


@define(eq=False)
class RuleRoutes:
    _rules: Rules
    _notify: Notify

    def add(self, routes: Routes) -> None:
        routes.add(SESSIONS, self._sessions)
        routes.add(KICK, self._kick)
        routes.add(KICK_USER, self._kickUser)
        routes.add(BANS, self._bans)
        routes.add(BAN, self._ban)
        routes.add(LIFT, self._lift)

    async def _bans(self, request: IRequest, author: Author) -> bytes:
        word = (queryText(request, "search") or "").casefold()
        found = sorted((shown(ban) for ban in self._rules.guard.bans()), key=lambda one: str(one["network"]))
        wanted = [one for one in found if word in f"{one['network']}\n{one['reason']}\n{one['by']}".casefold()]
        return jsonAnswer(request, _page(request, wanted, lambda one: str(one["network"])))

    async def _sessions(self, request: Any, author: Author) -> bytes:
        user, node = queryText(request, "user"), queryText(request, "node")
        word = (queryText(request, "search") or "").casefold()
        found = [
            session
            for session in self._rules.sessions.listed()
            if user in (None, session["user"])
            and node in (None, session["node"])
            and word in f"{session['user']}\n{session['address']}\n{session['software']}".casefold()
        ]
        # The oldest come first: one that ends meanwhile leaves the places of the others as they are.
        return jsonAnswer(request, _page(request, found, lambda one: f"{one['since']:017.6f}-{one['id']}"))

    async def _kick(self, request: Any, author: Author, key: str) -> bytes:
        user = self._rules.sessions.whose(key)
        if not self._rules.sessions.kick(key, KICKED):
            raise HTTPProblem(404, f"there is no session {key!r}")
        self._notify(SessionKicked(author=str(author), address=author.address, user=user, session=key))
        return jsonAnswer(request, {"id": key})

    async def _kickUser(self, request: Any, author: Author) -> bytes:
        user = queryText(request, "user")
        if not user:
            raise HTTPProblem(400, "user: whose sessions?")
        ended = self._rules.sessions.endAllOf(user, KICKED)
        self._notify(SessionKicked(author=str(author), address=author.address, user=user))
        return jsonAnswer(request, {"user": user, "ended": ended})

    async def _ban(self, request: Any, author: Author) -> bytes:
        body = await formedBody(request, BAN, _BODY_BYTES)
        network, seconds, reason = body["network"], body.get("seconds"), body.get("reason", "")
        try:
            made = self._rules.guard.ban(network, seconds, reason, str(author))
        except ClusterError as error:
            raise HTTPProblem(422, "nobody was banned", problems=[Problem("network", str(error))]) from None
        return jsonAnswer(request, shown(made), 201)

    async def _lift(self, request: Any, author: Author, network: str) -> bytes:
        try:
            lifted = self._rules.guard.lift(network)
        except ClusterError as error:
            raise HTTPProblem(422, str(error)) from None
        if not lifted:
            wider = self._rules.guard.covering(network)
            raise HTTPProblem(404, f"{network} is not banned" + (f" by itself, but by {wider}" if wider else ""))
        self._notify(BanLifted(author=str(author), address=author.address, network=network))
        return jsonAnswer(request, {"network": network})


def _page(request: Any, found: Sequence[Mapping[str, Any]], placeOf: Callable[[Mapping[str, Any]], str]) -> Any:
    """What is asked for of a list in the order of its places."""
    after, count = queryText(request, "after") or "", int(queryNumber(request, "limit", _DEFAULT_LIMIT, _MOST_LIMIT))
    following = [one for one in found if placeOf(one) > after]
    items = following[: max(1, count)]
    return {"items": items, "next": placeOf(items[-1]) if len(following) > len(items) else None, "total": len(found)}


def shown(ban: Ban) -> dict[str, Any]:
    """A ban as it is read over the API."""
    return {**asdict(ban), "seconds": round(ban.seconds)}
