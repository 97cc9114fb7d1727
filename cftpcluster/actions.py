"""What administrators can have this node do about its place in the cluster, by the names that nodes call it by.

Arguments came from outside and are checked here; rights were checked before. How the request came is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from attrs import define
from twisted.internet.defer import Deferred

from .cluster.messages import authorFromPlain
from .cluster.rotation import SESSIONS, newSessionKey
from .config.changes import Change, Target, revisionOf
from .config.document import Document, Secret
from .errors import ClusterError
from .peering import Peering
from .reapplying import chosen, partsOf, shown
from .vocabulary import Author

Action: TypeAlias = Callable[[Mapping[str, Any]], Deferred[Mapping[str, Any]]]

AUTHOR = "author"
"""The argument that tells who asked."""

MOST_PARTS = 1000


@define(eq=False, kw_only=True)
class Actions:
    """
    :ivar _document: the newest document.
    :ivar _propose: has a change appended, wherever the primary is.
    """

    _peering: Peering
    _document: Callable[[], Document]
    _openSecret: Callable[[Secret], bytes]
    _propose: Callable[[Change, Mapping[Target, int], Author], Deferred[int]]
    _inThread: Callable[..., Deferred[Any]]

    def table(self) -> Mapping[str, Action]:
        """The actions by their names."""
        coroutines = {
            "handOver": self._handOver,
            "pause": lambda _: self._peering.following.pause(),
            "resume": lambda _: self._peering.following.resume(),
            "resync": self._resync,
            "branches": self._branches,
            "branch": self._branch,
            "applyBranch": self._applyBranch,
            "discardBranch": self._discardBranch,
            "rotateSessionKeys": self._rotateSessionKeys,
        }
        return {name: _deferred(coroutine) for name, coroutine in coroutines.items()}

    async def _handOver(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self._peering.promotion.handOver(_text(arguments, "to"), _author(arguments))

    async def _resync(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        following = self._peering.following
        return await (following.compare() if _flag(arguments, "dryRun") else following.resync())

    async def _branches(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"branches": [dict(one) for one in self._peering.branches.known]}

    async def _branch(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        branch = await self._peering.branches.read(_text(arguments, "id"))
        answer: Mapping[str, Any] = await self._inThread(
            lambda: shown(branch, partsOf(branch, self._document(), self._openSecret))
        )
        return answer

    async def _applyBranch(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        branch = await self._peering.branches.read(_text(arguments, "id"))
        only, overwrite, present = _texts(arguments, "only"), _flag(arguments, "overwrite"), self._document()
        parts = await self._inThread(partsOf, branch, present, self._openSecret)
        wanted = await self._inThread(chosen, parts, present, only, overwrite)
        if wanted is None:
            return {"revision": present.revision, "changed": []}
        change, expected = wanted
        revision = await self._propose(change, expected, _author(arguments))
        return {"revision": revision, "changed": ["/".join(filter(None, target)) for target in expected]}

    async def _discardBranch(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        await self._peering.branches.discard(_text(arguments, "id"))
        return {}

    async def _rotateSessionKeys(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        document, sealer = self._document(), self._peering.sealer
        change = newSessionKey(document, sealer, sealer, keepsOld=not _flag(arguments, "endSessions"))
        expected = {("keys", SESSIONS): revisionOf(document, ("keys", SESSIONS))}
        return {"revision": await self._propose(change, expected, _author(arguments))}


def _deferred(coroutine: Callable[[Mapping[str, Any]], Any]) -> Action:
    return lambda arguments: Deferred.fromCoroutine(coroutine(arguments))


def _text(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise ClusterError(f"{name}: expected text")
    return value


def _flag(arguments: Mapping[str, Any], name: str) -> bool:
    value = arguments.get(name, False)
    if not isinstance(value, bool):
        raise ClusterError(f"{name}: expected true or false")
    return value


def _texts(arguments: Mapping[str, Any], name: str) -> Sequence[str]:
    values = arguments.get(name, [])
    if not isinstance(values, list) or len(values) > MOST_PARTS or not all(isinstance(one, str) for one in values):
        raise ClusterError(f"{name}: expected a list of names")
    return values


def _author(arguments: Mapping[str, Any]) -> Author:
    if AUTHOR not in arguments:
        raise ClusterError("nobody asked for it")
    return authorFromPlain(arguments[AUTHOR])
