"""What users do about themselves: who they are, their sessions, their password, their SSH keys.

What they may change stands in the document; a change goes to the primary, whichever node is asked. Whoever changes how
they log in gives the password once more: a browser that was left alone is not enough. Nothing here knows a file.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from attrs import asdict, define, evolve
from klein import Klein
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.web.iweb import IRequest

from ...auth.own import OwnKey
from ...auth.portal import AccountPortal
from ...config.document import User
from ...errors import (
    ClusterError,
    Conflict,
    Forbidden,
    Invalid,
    NotAppending,
    NotPrimary,
    OutcomeUnknown,
    PrimaryUnreachable,
)
from ...vocabulary import publicId
from ..http import HTTPProblem, Session, Sessions, jsonAnswer, jsonBody, refuseOthers, toTheEnd
from ._access import UserAccess, Visit

BODY_BYTES = 32 * 1024

R = TypeVar("R")


@define(eq=False)
class AccountRoutes:
    """
    :ivar uploadLimitBytes: how long an upload may be now; ``None`` where there is no limit.
    """

    _access: UserAccess
    _portal: AccountPortal
    _sessions: Sessions
    _uploadLimitBytes: Callable[[], int | None]

    def add(self, app: Klein) -> None:
        @app.route("/api/v1/session", methods=["GET"])
        def session(request: IRequest) -> Deferred[bytes]:
            return toTheEnd(self._describe(request))

        @app.route("/api/v1/sessions", methods=["GET"])
        def sessions(request: IRequest) -> Deferred[bytes]:
            return toTheEnd(self._list(request))

        @app.route("/api/v1/sessions", methods=["DELETE"])
        def endAll(request: IRequest) -> Deferred[bytes]:
            return toTheEnd(self._endAll(request))

        @app.route("/api/v1/sessions/<key>", methods=["DELETE"])
        def end(request: IRequest, key: str) -> Deferred[bytes]:
            return toTheEnd(self._end(request, key))

        @app.route("/api/v1/password", methods=["PUT"])
        def password(request: IRequest) -> Deferred[bytes]:
            return toTheEnd(self._setPassword(request))

        @app.route("/api/v1/publickeys", methods=["GET"])
        def keys(request: IRequest) -> Deferred[bytes]:
            return toTheEnd(self._keys(request))

        @app.route("/api/v1/publickeys", methods=["POST"])
        def addKey(request: IRequest) -> Deferred[bytes]:
            return toTheEnd(self._addKey(request))

        @app.route("/api/v1/publickeys/<key>", methods=["DELETE"])
        def removeKey(request: IRequest, key: str) -> Deferred[bytes]:
            return toTheEnd(self._removeKey(request, key))

    async def _visit(self, request: Any) -> Visit:
        """Who asks. Nothing of theirs is used any more: what they change may end the sessions they had before."""
        refuseOthers(request)
        visit = await self._access.visit(request)
        await visit.end()
        return visit

    # --- who it is

    async def _describe(self, request: Any) -> bytes:
        visit = await self._visit(request)
        own, name = self._portal.own, visit.account.name
        user = own.document().users.get(name) or User(name=name)
        return jsonAnswer(
            request,
            {
                "name": name,
                "csrfToken": self._access.csrfToken(visit.session),
                "id": publicId(visit.account.origin.session),
                "mayChange": sorted(part.value for part in own.mayChange(name)),
                "leastPasswordCharacters": own.document().settings.leastPasswordCharacters,
                "uploadLimitBytes": self._uploadLimitBytes(),
                "quota": {"bytes": user.quota.bytes, "files": user.quota.files},
            },
        )

    # --- sessions

    async def _list(self, request: Any) -> bytes:
        visit = await self._visit(request)
        return jsonAnswer(request, {"items": self._own(visit)})

    def _own(self, visit: Visit) -> list[dict[str, Any]]:
        current = publicId(visit.account.origin.session)
        kept = ("id", "protocol", "address", "node", "software", "since", "seen")
        return [
            {**{name: one[name] for name in kept}, "current": one["id"] == current}
            for one in self._portal.rules.sessions.listedOf(visit.account.name)
        ]

    async def _end(self, request: Any, key: str) -> bytes:
        visit = await self._visit(request)
        if key not in {one["id"] for one in self._own(visit)}:
            raise HTTPProblem(404, "there is no such session of yours")
        self._endKnown(visit.account.name, key)
        if key == publicId(visit.account.origin.session):
            self._sessions.clearCookie(request)
        return jsonAnswer(request, {"id": key})

    def _endKnown(self, name: str, key: str) -> None:
        try:
            self._portal.rules.sessions.endOwn(name, key, "ended by its user")
        except ClusterError as error:
            raise HTTPProblem(503, str(error)) from None

    async def _endAll(self, request: Any) -> bytes:
        visit = await self._visit(request)
        try:
            ended = self._portal.rules.sessions.endAllOf(visit.account.name, "logged out everywhere")
        except ClusterError as error:
            raise HTTPProblem(503, str(error)) from None
        self._sessions.clearCookie(request)
        return jsonAnswer(request, {"ended": ended})

    # --- the password

    async def _setPassword(self, request: Any) -> bytes:
        visit = await self._visit(request)
        current, new = await _texts(request, "current", "new")
        if current == new:
            raise HTTPProblem(422, "the new password is the old one")
        own, account = self._portal.own, visit.account
        self._refuseUnless("password" in {part.value for part in own.mayChange(account.name)})
        await self._access.confirm(visit, current)
        revision = await _proposed(own.setPassword(account.name, new, account.origin))
        self._goOn(request, visit.session, revision)
        return jsonAnswer(request, {"revision": revision})

    def _refuseUnless(self, allowed: bool) -> None:
        if not allowed:
            raise HTTPProblem(403, "an administrator has not let this user change that")

    def _goOn(self, request: Any, session: Session | None, revision: int) -> None:
        """The change has ended all sessions of the user, and this one goes on."""
        if session is not None:
            self._sessions.setCookie(request, evolve(session, credentialsRevision=revision))

    # --- keys

    async def _keys(self, request: Any) -> bytes:
        visit = await self._visit(request)
        return jsonAnswer(request, {"items": [_shown(key) for key in self._portal.own.keys(visit.account.name)]})

    async def _addKey(self, request: Any) -> bytes:
        visit = await self._visit(request)
        line, password = await _texts(request, "key", "password")
        own, account = self._portal.own, visit.account
        self._refuseUnless("publicKeys" in {part.value for part in own.mayChange(account.name)})
        await self._access.confirm(visit, password)
        key = await _proposed(own.addKey(account.name, line, account.origin))
        return jsonAnswer(request, _shown(key), 201)

    async def _removeKey(self, request: Any, key: str) -> bytes:
        visit = await self._visit(request)
        own, account = self._portal.own, visit.account
        revision = await _proposed(own.removeKey(account.name, key, account.origin))
        if revision is None:
            raise HTTPProblem(404, "there is no such key of yours")
        self._goOn(request, visit.session, revision)
        return jsonAnswer(request, {"id": key})


def _shown(key: OwnKey) -> Mapping[str, Any]:
    return asdict(key)


async def _texts(request: Any, *names: str) -> tuple[str, ...]:
    """The members of the body, which must be these, and texts."""
    body = await jsonBody(request, BODY_BYTES)
    if body.keys() != set(names) or not all(isinstance(body[name], str) for name in names):
        raise HTTPProblem(422, f"expected {' and '.join(names)}")
    return tuple(body[name] for name in names)


async def _proposed(change: Coroutine[Deferred[Any], Any, R]) -> R:
    try:
        return await change
    except Invalid as error:
        detail = "; ".join(f"{problem.path} {problem.message}" for problem in error.problems)
        raise HTTPProblem(422, detail, problems=error.problems) from None
    except Forbidden as error:
        raise HTTPProblem(403, str(error)) from None
    except Conflict:
        raise HTTPProblem(409, "an administrator has changed this user meanwhile; look again, and try again") from None
    except (PrimaryUnreachable, NotPrimary, NotAppending):
        detail = "the cluster's primary cannot be reached now, and nothing was changed; try again later"
        raise HTTPProblem(503, detail, headers={"Retry-After": "30"}) from None
    except OutcomeUnknown:
        raise HTTPProblem(504, "the primary's answer was lost: it may have made the change, or not") from None
    except UnauthorizedLogin:
        raise HTTPProblem(503, "too much is asked for at once", headers={"Retry-After": "2"}) from None
