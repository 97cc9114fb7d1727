"""From what administrators write to a change that can be proposed: read, checked, hashed, sealed.

Whatever can take long (parsing, comparing, checking) is done in a thread, and passwords are hashed a few at a time.
Who wrote it, how it came and where the change goes is not known here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from attrs import Factory, define, evolve, frozen
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from ..config.changes import Change, Remove, Target, apply, revisionOf
from ..config.difference import Difference, difference
from ..config.document import SECTIONS, Document, Listener, Named, Secret
from ..config.validation import Kinds, located, problems
from ..config.written import (
    SECTION_ORDER,
    PendingPassword,
    PendingSecret,
    Written,
    WrittenObject,
    exportObject,
    mergePatched,
    parseText,
    pendingPasswords,
    pendingSecrets,
    putChange,
    readDocument,
    readObject,
    toChange,
)
from ..errors import ClusterError, Invalid
from ..vocabulary import Problem
from ._keys import KEYED_SECTIONS, keyProblems

log = Logger()

HASHED_AT_ONCE = 2
"""Passwords that are hashed at the same time for one request, so that log-ins do not have to wait for all of them."""

_SOURCE = "administration"
"""Whose turn it is, when passwords are hashed for written documents."""

_SHOWN_IN_FULL = 1000
"""Of more objects than that, only the names are told."""

_PLACE = re.compile(r"(\w+)\[(\d+)\](?:\.(\w+))?")


class IsHashing(Protocol):
    """As :class:`cftpcluster.auth.passwords.Passwords`."""

    def hash(self, password: bytes, source: str) -> Deferred[str]: ...

    def verify(self, encoded: str, password: bytes, source: str) -> Deferred[bool]: ...


class IsSealing(Protocol):
    """As :class:`cftpcluster.cluster.sealing.Sealer`."""

    def seal(self, plain: bytes) -> Secret: ...

    def open(self, secret: Secret) -> bytes: ...


@frozen
class Prepared:
    """What a written document or object comes to.

    :ivar change: ``None`` where all is so already.
    :ivar expected: the revisions of what it replaces or removes: another change in between makes it a ``Conflict``,
        since passwords and keys that were not written are taken from there.
    :ivar changed: what it changes, for people.
    :ivar places: where the objects stand in what was written.
    """

    change: Change | None
    expected: Mapping[Target, int] = Factory(dict)
    changed: Sequence[str] = ()
    places: Mapping[Target, str] = Factory(dict)


Hashes = dict[tuple[Target, str], str]
"""What was hashed already, by target and the hash that was stored before."""


@define(eq=False)
class Preparation:
    """Makes changes of what is written.

    :ivar pool: for parsing and checking.
    :ivar passwords: hashes and verifies, giving each source its turn.
    :ivar sealer: seals now.
    :ivar kinds: the components that can be built, with the classes of their options.
    """

    _reactor: Any
    _pool: Any
    _passwords: IsHashing
    _sealer: Callable[[], IsSealing]
    kinds: Kinds
    _wallTime: Callable[[], float] = time.time

    # --- whole documents

    async def document(self, text: bytes, prune: bool, document: Callable[[], Document], hashes: Hashes) -> Prepared:
        """The change that makes the document agree with ``text``, in YAML or JSON.

        :param document: the present document; asked late, since hashing takes its time.
        :param hashes: kept between attempts.
        :raises Invalid: with all problems, wherever they were found.
        """
        written = await self._inThread(self._read, text, prune, document())
        await self._hash(written.objects, document(), hashes)
        present = document()
        # A password that was changed meanwhile has no hash yet.
        await self._hash(written.objects, present, hashes)
        prepared: Prepared = await self._inThread(self._change, written, prune, present, hashes)
        return prepared

    def _read(self, text: bytes, prune: bool, document: Document) -> Written:
        plain = parseText(text)
        found: list[Problem] = []
        try:
            written = readDocument(plain)
        except Invalid as error:
            found += error.problems
            written = readDocument(_withoutFaults(plain, found))
        found += _located(found, self._problems(written, prune, document), plain)
        if found:
            raise Invalid(sorted(found, key=_order))
        return written

    def _problems(self, written: Written, prune: bool, document: Document) -> Iterator[Problem]:
        """What is wrong besides the form, found before any password is hashed."""
        resolved: dict[Target, Any] = {one.target: Secret(b"") for one in pendingSecrets(written.objects, document)}
        # What stands for the hash of a password is what is stored now: a change of it alone has no problems.
        resolved |= {one.target: one.present for one in pendingPasswords(written.objects, document)}
        try:
            change = toChange(written, document, resolved, prune)
        except Invalid as error:
            yield from error.problems
            good = tuple(one for one in written.objects if _canBePut(one, document, resolved))
            change = toChange(evolve(written, objects=good), document, resolved, prune)
        if change is not None:
            yield from located(problems(apply(document, change), change, self.kinds), written.places)
        yield from self._keyProblems(written.objects, document)

    def _keyProblems(self, objects: Sequence[WrittenObject], document: Document) -> Iterator[Problem]:
        listeners = (*document.listeners.values(), *(one.value for one in objects if isinstance(one.value, Listener)))
        legacy = any(listener.options.get("legacyAlgorithms") is True for listener in listeners)
        keyed = [one for one in objects if one.section in KEYED_SECTIONS]
        pending = {one.target: one for one in pendingSecrets(keyed, document)}
        for one in keyed:
            stored = document.sections[one.section].get(one.value.name)
            yield from keyProblems(one, pending.get(one.target), stored, self._sealer().open, legacy, self._wallTime())

    def _change(self, written: Written, prune: bool, document: Document, hashes: Hashes) -> Prepared:
        resolved = self._resolved(written.objects, document, hashes)
        return self._prepared(toChange(written, document, resolved, prune), document, written.places)

    # --- single objects

    async def put(self, section: str, plain: Any, name: str | None, document: Document) -> Prepared:
        """The change that puts one object as it is written, whole.

        :param name: the name that it must have; ``None`` where the name is written.
        """
        # What is wrong with a long one takes seconds to tell.
        one = await self._inThread(partial(readObject, section, plain, name=name))
        if section in KEYED_SECTIONS:
            found = await self._inThread(lambda: list(self._keyProblems([one], document)))
            if found:
                raise Invalid(found)
        hashes: Hashes = {}
        await self._hash([one], document, hashes)
        change = putChange(one, document, self._resolved([one], document, hashes))
        return self._prepared(change, document, {one.target: ""})

    async def patch(self, section: str, patch: Any, existing: Named, document: Document) -> Prepared:
        """The change that merges ``patch`` (RFC 7396) into an object."""
        if type(patch) is not dict:
            raise Invalid([Problem("", "expected a mapping")])
        return await self.put(section, mergePatched(exportObject(existing), patch), existing.name, document)

    def change(self, change: Change, document: Document) -> Prepared:
        """A change that nobody wrote as an object, such as a removal."""
        return self._prepared(change, document, dict.fromkeys(change.targets(), ""))

    def checked(self, change: Change, document: Document) -> Prepared:
        """As :meth:`change`, checked as if it were appended. Takes its time; belongs in a thread.

        :raises Invalid: with all problems.
        """
        found = problems(apply(document, change), change, self.kinds)
        if found:
            raise Invalid(found)
        return self.change(change, document)

    def remove(self, section: str, name: str, document: Document) -> Prepared:
        """The change that removes an object."""
        return self.change(Remove(section, name), document)

    # --- steps

    async def _hash(self, objects: Iterable[WrittenObject], document: Document, hashes: Hashes) -> None:
        pending = (each for each in pendingPasswords(objects, document) if (each.target, each.present) not in hashes)
        await gatherResults(
            [Deferred.fromCoroutine(self._hashEach(pending, hashes)) for _ in range(HASHED_AT_ONCE)], consumeErrors=True
        )

    async def _hashEach(self, pending: Iterator[PendingPassword], hashes: Hashes) -> None:
        for each in pending:
            present, password = each.present, each.password
            fits = bool(present) and await self._passwords.verify(present, password, _SOURCE)
            hashes[each.target, present] = present if fits else await self._passwords.hash(password, _SOURCE)

    def _resolved(self, objects: Sequence[WrittenObject], document: Document, hashes: Hashes) -> dict[Target, Any]:
        resolved: dict[Target, Any] = {
            each.target: hashes[each.target, each.present] for each in pendingPasswords(objects, document)
        }
        resolved |= {each.target: self._sealed(each) for each in pendingSecrets(objects, document)}
        return resolved

    def _sealed(self, pending: PendingSecret) -> Secret:
        sealer = self._sealer()
        if pending.present is not None:
            try:
                if sealer.open(pending.present) == pending.secret:
                    return pending.present
            except ClusterError:
                # What cannot be opened here is replaced by what was written.
                log.info("a sealed secret of {target} cannot be opened", target="/".join(pending.target))
        return sealer.seal(pending.secret)

    def _prepared(self, change: Change | None, document: Document, places: Mapping[Target, str]) -> Prepared:
        if change is None:
            return Prepared(None)
        expected = {target: revisionOf(document, target) for target in change.targets() if target[0] in SECTIONS}
        return Prepared(change, expected, _told(change, document), places)

    def _inThread(self, work: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._pool, work, *arguments)


def _canBePut(one: WrittenObject, document: Document, resolved: Mapping[Target, Any]) -> bool:
    try:
        putChange(one, document, resolved)
    except Invalid:
        return False
    return True


def _told(change: Change, before: Document) -> list[str]:
    """What a change changes, for people."""
    targets = dict.fromkeys(change.targets())
    after = apply(before, change)
    if len(targets) <= _SHOWN_IN_FULL:
        return [str(one) for one in difference(before, after, targets)]
    return [str(Difference(_action(target, before, after), *target)) for target in targets]


def _action(target: Target, before: Document, after: Document) -> str:
    section, name = target
    if section not in SECTIONS or (name in before.sections[section] and name in after.sections[section]):
        return "changed"
    return "added" if name in after.sections[section] else "removed"


# --- all problems together


def _withoutFaults(plain: Any, found: Sequence[Problem]) -> dict[str, Any]:
    """What remains to be looked at when that is left out which ``found`` is about."""
    if type(plain) is not dict:
        raise Invalid(found)
    faulty: dict[tuple[str, int], set[str | None]] = {}
    for problem in found:
        if match := _PLACE.match(problem.path):
            faulty.setdefault((match[1], int(match[2])), set()).add(match[3])
    rest: dict[str, Any] = {}
    for section, objects in plain.items():
        if section not in SECTIONS or type(objects) is not list:
            continue
        kept = (_remainder(section, one, faulty.get((section, index))) for index, one in enumerate(objects))
        rest[section] = [one for one in kept if one is not None]
    return rest


def _remainder(section: str, plain: Any, keys: set[str | None] | None) -> Any:
    """An object without its faulty keys; ``None`` where nothing can be said of the rest."""
    if keys is None:
        return plain
    if type(plain) is not dict or "name" in keys:
        return None
    rest = {key: value for key, value in plain.items() if key not in keys}
    if None in keys:
        # The object as a whole: an unknown key, which is not named by its path.
        return None
    try:
        readObject(section, rest)
    except Invalid:
        return None
    return rest


def _located(before: Sequence[Problem], more: Iterable[Problem], plain: Any) -> list[Problem]:
    """``more`` problems, found in what :func:`_withoutFaults` left, at the places of what was written."""
    if not before:
        return list(more)
    remaining = _withoutFaults(plain, before)
    places: dict[str, str] = {}
    for section, objects in remaining.items():
        kept = [one["name"] for one in objects]
        written: dict[str, int] = {}
        for index, one in enumerate(plain[section]):
            if type(one) is dict and isinstance(one.get("name"), str):
                written.setdefault(one["name"], index)
        places |= {f"{section}[{index}]": f"{section}[{written[name]}]" for index, name in enumerate(kept)}
    return [Problem(_moved(problem.path, places), problem.message) for problem in more]


def _order(problem: Problem) -> tuple[int, int]:
    """Where a problem stands in what was written."""
    match = _PLACE.match(problem.path)
    if match is None or match[1] not in SECTION_ORDER:
        return -1, 0
    return SECTION_ORDER.index(match[1]), int(match[2])


def _moved(path: str, places: Mapping[str, str]) -> str:
    match = _PLACE.match(path)
    if match is None:
        return path
    place = f"{match[1]}[{match[2]}]"
    return places.get(place, place) + path[len(place) :]
