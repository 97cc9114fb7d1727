"""From a prepared change to the answer of a write: roles, conditions, repeats, waiting for nodes.

What was written, and as what, is not known here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from ..config.changes import Target
from ..config.validation import located
from ..errors import ClusterError, Conflict, Invalid
from ..interfaces import IAdministration
from ..vocabulary import Author
from .rights import requireChange
from .writing import Prepared

ATTEMPTS = 5
"""How often a change that carries no condition is made anew when another one came in between."""

_RETRY_SECONDS = 0.2
_LOOK_SECONDS = 0.05
_MOST_LOOKS = 60


@define(eq=False)
class Writes:
    """Has changes appended."""

    _administration: IAdministration
    _reactor: Any

    async def propose(
        self,
        prepare: Callable[[], Awaitable[Prepared]],
        author: Author,
        requestId: str = "",
        expected: Mapping[Target, int] | None = None,
    ) -> tuple[int, Prepared]:
        """Prepare a change and have it appended; fires with its revision, or the present one where nothing changes.

        :param expected: revisions that the one who asked insists on: a ``Conflict`` about them is final. Otherwise it
            is prepared anew.
        """
        for attempt in range(ATTEMPTS):
            prepared = await prepare()
            if prepared.change is None:
                return self._administration.document().revision, prepared
            requireChange(author, self._administration.document(), prepared.change)
            try:
                revision = await shielded(
                    self._administration.propose(
                        prepared.change, {**prepared.expected, **(expected or {})}, author, requestId
                    )
                )
                return revision, prepared
            except Conflict as error:
                if attempt == ATTEMPTS - 1 or any(target in (expected or {}) for target in error.moved):
                    raise
                # This node's document may be a moment behind the primary's.
                await deferLater(self._reactor, _RETRY_SECONDS)
            except Invalid as error:
                raise Invalid(located(error.problems, prepared.places)) from None
        raise AssertionError("the last attempt returns or raises")

    async def caughtUp(self, isThere: Callable[[], bool]) -> None:
        """Wait a little until this node, where it is a moment behind the primary, knows something too."""
        if isThere() or self._administration.status()["role"] == "primary":
            return
        for _ in range(_MOST_LOOKS):
            await deferLater(self._reactor, _LOOK_SECONDS)
            if isThere():
                return

    async def live(self, revision: int, seconds: float) -> dict[str, Any]:
        """What a write answers with.

        :param seconds: how long to wait until every connected node is live.
        """
        try:
            nodes = await self._administration.wait(revision, False, seconds)
        except ClusterError:
            # The change stands, even where nobody can say just now who has it.
            nodes = {"live": [], "pending": []}
        return {"revision": revision, "live": list(nodes["live"]), "pending": list(nodes["pending"])}


def shielded(deferred: Deferred[Any]) -> Deferred[Any]:
    """As ``deferred``, but a client that goes away does not cancel what may have been done by then."""
    outer: Deferred[Any] = Deferred()
    _ = deferred.chainDeferred(outer)
    return outer
