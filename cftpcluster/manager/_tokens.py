"""Routes of API tokens: whoever logs in makes some of their own, never for more than their role."""

from __future__ import annotations

from typing import Any

from attrs import define
from twisted.web.iweb import IRequest

from ..auth.tokens import EXPIRE_SECONDS, MOST_EXPIRE_SECONDS, MOST_TOKENS, ApiTokens
from ..config.changes import Batch, Put, Remove
from ..config.document import NAME_PATTERN, Admin, ApiToken, Role, Scope
from ..errors import Forbidden
from ..interfaces import IAdministration
from ..servers.http import HTTPProblem, jsonAnswer
from ..vocabulary import Author, Problem
from ._bodies import queryNumber, queryText
from ._formed import formedBody
from ._objects import MOST_WAIT_SECONDS
from ._routes import SEARCH, WAIT, Body, Parameter, Route, Routes, after, limit
from ._writes import Writes
from .rights import TOKENS, TRUSTED_PLACES, scopesOf
from .writing import Prepared

_BODY_BYTES = 4096
_DEFAULT_LIMIT = 100
_MOST_LIMIT = 1000

LIST = Route(
    method="GET",
    path="/tokens",
    text="List the API tokens; nobody can tell their texts.",
    role=Role.auditor,
    tag="API tokens",
    query=(
        Parameter("admin", "Only those of this administrator."),
        limit(_DEFAULT_LIMIT, _MOST_LIMIT),
        after(),
        SEARCH,
    ),
    answer=Body("ApiTokens"),
)
MAKE = Route(
    method="POST",
    path="/tokens",
    text="Make an API token, which is used as `Authorization: Bearer`; its text is told this once. It may do what its "
    "scopes say, and never more than the administrator who made it. It ends with that one's password. Not for tokens.",
    role=Role.auditor,
    tag="API tokens",
    query=(WAIT,),
    body=Body(
        {
            "type": "object",
            "required": ["name", "scopes"],
            "additionalProperties": False,
            "properties": {
                "name": {
                    "type": "string",
                    "pattern": f"^{NAME_PATTERN.pattern}$",
                    "description": "What it is for, such as `ci`.",
                },
                "scopes": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": len(Scope),
                    "items": {"type": "string", "enum": [each.value for each in Scope]},
                    "description": "`read`: look only; `users`: change users and groups; `full`: everything.",
                },
                "expiresSeconds": {
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "maximum": MOST_EXPIRE_SECONDS,
                    "description": f"It is good for so long; {EXPIRE_SECONDS} unless said.",
                },
                "admin": {
                    "type": "string",
                    "description": "Whose it is, where that is not who asks: over the administration socket.",
                },
            },
        },
        {"name": "monitoring", "scopes": ["read"], "expiresSeconds": 86400},
    ),
    answer=Body("ApiTokenMade"),
    status=201,
)
REMOVE = Route(
    method="DELETE",
    # Tokens to join with are another matter, at a path of their own.
    path="/tokens/<string(length=16):token>",
    text="Remove an API token, one's own or with role `full` any. It is good nowhere from then on.",
    role=Role.auditor,
    tag="API tokens",
    query=(WAIT,),
    answer=Body("Written"),
)


@define(eq=False)
class TokenRoutes:
    _administration: IAdministration
    _writes: Writes
    _tokens: ApiTokens

    def add(self, routes: Routes) -> None:
        routes.add(LIST, self._list)
        routes.add(MAKE, self._make)
        routes.add(REMOVE, self._remove)

    async def _list(self, request: IRequest, author: Author) -> bytes:
        admin, word = queryText(request, "admin"), (queryText(request, "search") or "").casefold()
        count = max(1, int(queryNumber(request, "limit", _DEFAULT_LIMIT, _MOST_LIMIT)))
        place = queryText(request, "after") or ""
        found = [
            token
            for name, token in sorted(self._administration.document().apiTokens.items())
            if admin in (None, token.admin) and word in token.label.casefold()
        ]
        following = [token for token in found if token.name > place]
        goOn = following[count - 1].name if len(following) > count else None
        items = [self._shown(token) for token in following[:count]]
        return jsonAnswer(request, {"items": items, "next": goOn, "total": len(found)})

    def _shown(self, token: ApiToken) -> dict[str, Any]:
        return {
            "id": token.name,
            "name": token.label,
            "admin": token.admin,
            "scopes": [scope.value for scope in token.scopes],
            "created": token.created,
            "expires": token.expires,
            "lastUsed": self._tokens.lastUsed(token),
            "good": self._tokens.isGood(token),
        }

    async def _make(self, request: Any, author: Author) -> bytes:
        if author.token:
            raise Forbidden("a token cannot make tokens; log in with a password")
        body = await formedBody(request, MAKE, _BODY_BYTES)
        admin = self._adminFor(author, body.get("admin"))
        scopes = [Scope(one) for one in dict.fromkeys(body["scopes"])]
        label, expireSeconds = body["name"], float(body.get("expiresSeconds", EXPIRE_SECONDS))
        allowed = scopesOf(admin.role)
        if not {scope.value for scope in scopes} <= set(allowed):
            raise Forbidden(f"role {admin.role.value} may have the scopes {', '.join(allowed)} only")
        text, token = self._tokens.make(label, admin, scopes, expireSeconds)

        async def prepare() -> Prepared:
            own = self._tokens.of(admin.name)
            stale = [Remove(TOKENS, one.name) for one in own if not self._tokens.isGood(one)]
            if len(own) - len(stale) >= MOST_TOKENS:
                raise HTTPProblem(422, f"{admin.name} has {MOST_TOKENS} tokens already; remove one first")
            return Prepared(Batch((*stale, Put(TOKENS, token))), {(TOKENS, token.name): 0})

        seconds = queryNumber(request, "wait", 0, MOST_WAIT_SECONDS)
        revision, _ = await self._writes.propose(prepare, author)
        answer = {**self._shown(token), **await self._writes.live(revision, seconds)}
        return jsonAnswer(request, {"id": token.name, "token": text, **answer}, 201)

    def _adminFor(self, author: Author, named: Any) -> Admin:
        """The administrator whose token it becomes. Who owns the socket may say which."""
        admins = self._administration.document().admins
        if author.address not in TRUSTED_PLACES:
            if named not in (None, author.name):
                raise Forbidden("a token is for whoever makes it")
            return admins[author.name]
        if named is None:
            full = [admin for admin in admins.values() if admin.enabled and admin.role is Role.full]
            if len(full) == 1:
                return full[0]
            raise _notWhose("is required: whose token is it to be?")
        admin = admins.get(named) if isinstance(named, str) else None
        if admin is None or not admin.enabled:
            raise _notWhose("expected an administrator that is enabled")
        return admin

    async def _remove(self, request: IRequest, author: Author, token: str) -> bytes:
        seconds = queryNumber(request, "wait", 0, MOST_WAIT_SECONDS)

        async def prepare() -> Prepared:
            existing = self._administration.document().apiTokens.get(token)
            if existing is None:
                raise HTTPProblem(404, f"there is no token {token!r}")
            return Prepared(Remove(TOKENS, token), {(TOKENS, token): existing.revision})

        revision, _ = await self._writes.propose(prepare, author)
        return jsonAnswer(request, await self._writes.live(revision, seconds))


def _notWhose(text: str) -> HTTPProblem:
    return HTTPProblem(422, "nothing was changed", problems=[Problem("admin", text)])
