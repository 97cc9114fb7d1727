"""A node's administration without a node: for the tests of whatever administrators use.

It keeps its document in a journal in memory, is the primary, and is live at once, unless told otherwise.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from ..config.changes import Batch, Change, Promote, Put
from ..config.document import Admin, Document, Node, Role
from ..interfaces import IAdministration
from ..journal.entry import Proposal
from ..journal.memory import MemoryJournal
from ..vocabulary import Author

SYSTEM = Author("system", "full", "local")


@implementer(IAdministration)
@define(eq=False)
class MemoryAdministration:
    """One node, ``node-a``, with administrator ``admin``.

    :ivar proposals: what was proposed, as it came.
    :ivar refusal: what the next proposals fail with.
    :ivar waitRefusal: what waiting fails with.
    :ivar answer: what the next proposals fire with, instead of being appended.
    :ivar beforeAppend: called before each append, such as to have another change come first.
    :ivar performed: what nodes were to do, as it came.
    :ivar answers: what they answer, first to last, at once or later; then nothing.
    :ivar pending: names of nodes that are never live.
    :ivar problems: what is wrong with ``node-a``.
    """

    kinds: Mapping[str, Mapping[str, type]] = field(factory=dict)
    proposals: list[tuple[Change, Mapping[tuple[str, str], int], Author, str]] = field(factory=list, init=False)
    refusal: Exception | None = field(default=None, init=False)
    waitRefusal: Exception | None = field(default=None, init=False)
    answer: Deferred[int] | None = field(default=None, init=False)
    beforeAppend: Callable[[], object] = field(default=lambda: None, init=False)
    pending: Sequence[str] = field(default=(), init=False)
    problems: Sequence[str] = field(default=(), init=False)
    performed: list[tuple[str, str, Mapping[str, Any], Author]] = field(factory=list, init=False)
    answers: list[Mapping[str, Any] | Deferred[Mapping[str, Any]]] = field(factory=list, init=False)
    journal: MemoryJournal = field(init=False)
    _numbers: Any = field(factory=itertools.count, init=False)

    def __attrs_post_init__(self) -> None:
        self.journal = MemoryJournal(self.kinds)
        self.change(
            Batch(
                (
                    Put("nodes", Node(name="node-a", address="127.0.0.2")),
                    Promote(1, "node-a", "system"),
                    Put("admins", Admin(name="admin", role=Role.full, passwordHash="")),
                )
            )
        )

    def change(self, change: Change) -> int:
        """Append a change of one's own."""
        return self._append(change, {}, SYSTEM, "")

    def document(self) -> Document:
        head: list[Any] = []
        _ = self.journal.head().addCallback(head.append)
        document: Document = head[0].document
        return document

    def propose(
        self, change: Change, expected: Mapping[tuple[str, str], int], author: Author, requestId: str = ""
    ) -> Deferred[int]:
        self.proposals.append((change, expected, author, requestId))
        if self.refusal is not None:
            return fail(self.refusal)
        if self.answer is not None:
            return self.answer
        self.beforeAppend()
        try:
            return succeed(self._append(change, expected, author, requestId))
        except Exception as error:  # noqa: BLE001 - as the real one: it fails with whatever the journal says
            return fail(error)

    def _append(self, change: Change, expected: Mapping[tuple[str, str], int], author: Author, requestId: str) -> int:
        name = requestId or f"request {next(self._numbers)}"
        proposal = Proposal(change, expected, author, "node-a", name, 0.0)
        results: list[Any] = []
        _ = self.journal.append(proposal).addBoth(results.append)
        if not hasattr(results[0], "document"):
            results[0].raiseException()
        _ = self.journal.find(name).addCallback(results.append)
        revision: int = results[1].revision
        return revision

    def status(self) -> Mapping[str, Any]:
        revision = self.document().revision
        node = {
            "name": "node-a",
            "role": "primary",
            "state": "primary",
            "revision": revision,
            "chainHash": "00" * 32,
            "lagSeconds": 0.0,
            "version": "0",
            "address": "127.0.0.2",
            "problems": list(self.problems),
        }
        return {
            "node": "node-a",
            "role": "primary",
            "primary": "node-a",
            "epoch": 1,
            "revision": revision,
            "chainHash": "00" * 32,
            "warnings": [],
            "nodes": [node],
        }

    def wait(self, revision: int, allNodes: bool, seconds: float) -> Deferred[Mapping[str, Sequence[str]]]:
        if self.waitRefusal is not None:
            return fail(self.waitRefusal)
        live = [] if revision > self.document().revision else ["node-a"]
        return succeed({"live": live, "pending": [*({"node-a"} - {*live}), *self.pending]})

    def perform(
        self, node: str, action: str, arguments: Mapping[str, Any], author: Author
    ) -> Deferred[Mapping[str, Any]]:
        self.performed.append((node, action, arguments, author))
        answer = self.answers.pop(0) if self.answers else {}
        return answer if isinstance(answer, Deferred) else succeed(answer)
