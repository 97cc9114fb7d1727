"""Routes of the document's objects: users, groups, backends and the rest, all alike.

==========================  ==================================================================================
``GET /SECTION``            a page of a section, by name: ``limit``, ``after``, ``search``, and what ``_filters`` has
``POST /SECTION``           a new object; 409 where it exists
``GET /SECTION/NAME``       one object, its revision as ``ETag``
``PUT /SECTION/NAME``       create or replace it, whole
``PATCH /SECTION/NAME``     change some keys (RFC 7396)
``DELETE /SECTION/NAME``    remove it
==========================  ==================================================================================

What is shown can be written back: a body's ``revision`` is a condition like ``If-Match``, and what is never shown
(passwords, private keys) stays as it is when absent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from ..config.changes import Put, Target, revisionOf
from ..config.codec import canonical
from ..config.document import SECTIONS, Document, Named, Role
from ..config.written import exportObject
from ..errors import Conflict
from ..interfaces import IAdministration, IJournal
from ..servers.http import HTTPProblem, jsonAnswer, jsonBody
from ..vocabulary import Author
from ._bodies import Condition, condition, queryFlag, queryNumber, queryText, requestId
from ._filters import FILTERS, filterOf
from ._names import SectionNames
from ._routes import SEARCH, WAIT, Body, Parameter, Route, Routes, after, limit
from ._schemas import ref
from ._writes import Writes
from .rights import TRUSTED_PLACES, WRITTEN_BY_USERS_ROLE
from .writing import Preparation, Prepared

COLLECTIONS: Mapping[str, str] = {
    "users": "users",
    "groups": "groups",
    "backends": "backends",
    "listeners": "listeners",
    "admins": "admins",
    "certificates": "certificates",
    "hostkeys": "hostKeys",
    "checkers": "checkers",
    "observers": "observers",
    "nodes": "nodes",
}
"""What URLs call the sections."""

OBJECT_BYTES = 256 * 1024
"""How long an object in JSON may be; it is parsed in the reactor's thread."""

MOST_WAIT_SECONDS = 300
_DEFAULT_LIMIT = 100
_MOST_LIMIT = 1000


def objectRoutes(collection: str, section: str) -> Mapping[str, Route]:
    """The routes of a section, by what they do."""
    noun, written = SECTIONS[section].noun, SECTIONS[section].valueClass.__name__
    common: dict[str, Any] = {"tag": collection, "role": Role.auditor}
    writing: dict[str, Any] = {
        "tag": collection,
        "role": Role.users if section in WRITTEN_BY_USERS_ROLE else Role.full,
        "query": (WAIT,),
        "answer": Body("Written"),
        "repeatable": True,
    }
    one, many = f"/{collection}/<name>", f"/{collection}"
    given = Body(f"{written}Written", EXAMPLES[section])
    removing = {**writing, "conditional": True}
    if section == "nodes":
        compromised = Parameter("compromised", "Its keys are in wrong hands.", {"type": "boolean"})
        removing |= {"query": (compromised, WAIT), "answer": Body("NodeRemoved")}
    return {
        "page": Route(
            method="GET",
            path=many,
            text=f"List the {collection} by name, page by page.",
            query=(limit(_DEFAULT_LIMIT, _MOST_LIMIT), after(), SEARCH, *FILTERS.get(section, ())),
            answer=Body(f"{written}Page"),
            **common,
        ),
        "create": Route(
            method="POST",
            path=many,
            text=f"Add a new {noun}; 409 where it exists.",
            body=Body({"allOf": [ref(f"{written}Written"), {"required": ["name"]}]}, EXAMPLES[section]),
            status=201,
            **writing,
        ),
        "show": Route(
            method="GET",
            path=one,
            text=f"Show one {noun}, its revision as `ETag`.",
            answer=Body(written),
            also={304: None},
            **common,
        ),
        "put": Route(
            method="PUT",
            path=one,
            text=f"Create a {noun}, or replace it whole.",
            body=given,
            conditional=True,
            also={201: Body("Written")},
            **writing,
        ),
        "patch": Route(
            method="PATCH",
            path=one,
            text=f"Change some keys of a {noun} (RFC 7396).",
            body=Body(f"{written}Patch", PATCHES.get(section)),
            conditional=True,
            **writing,
        ),
        "delete": Route(method="DELETE", path=one, text=f"Remove a {noun}.", **removing),
    }


_PEM = "-----BEGIN PRIVATE KEY-----\n..."

EXAMPLES: Mapping[str, Any] = {
    "users": {
        "name": "alice",
        "password": "only on the way in",
        "groups": ["partners"],
        "mounts": [{"path": "/", "backend": "files", "folder": "alice"}],
        "quota": {"bytes": 10_000_000_000, "files": 100_000},
    },
    "groups": {"name": "partners", "mounts": [{"path": "/inbox", "backend": "files", "folder": "in"}]},
    "backends": {"name": "share", "kind": "local", "root": "/mnt/share", "shared": True},
    "listeners": {"name": "sftp-inside", "kind": "sftp", "port": 2022, "allow": ["10.0.0.0/8"]},
    "admins": {"name": "bob", "role": "users", "password": "only on the way in"},
    "certificates": {"name": "default", "chain": "-----BEGIN CERTIFICATE-----\n...", "key": {"secret": _PEM}},
    "hostKeys": {"name": "ed25519-2027", "key": {"secret": _PEM}},
    "checkers": {"name": "users", "kind": "users"},
    "observers": {"name": "log", "kind": "log"},
    "nodes": {"name": "node-b", "address": "192.0.2.2", "listeners": {"ftp": {"port": 21}}},
}
"""An object of each section, as one writes it."""

PATCHES: Mapping[str, Any] = {
    "users": {"enabled": False},
    "groups": {"allow": ["192.0.2.0/24"]},
    "backends": {"requireMarker": True},
    "listeners": {"port": 2222},
    "admins": {"role": "auditor"},
    "nodes": {"address": "192.0.2.3"},
}


@define(eq=False)
class ObjectRoutes:
    """:ivar nodeRemoval: as :class:`.api.Administration` has it."""

    _administration: IAdministration
    _preparation: Preparation
    _writes: Writes
    _nodeRemoval: Callable[[Document, str, bool], Deferred[Any]]
    _reactor: Any
    _pool: Any
    _journal: IJournal
    _names: SectionNames = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._names = SectionNames(self._journal, self._inThread)

    def add(self, routes: Routes) -> None:
        for collection, section in COLLECTIONS.items():
            found = objectRoutes(collection, section)
            routes.add(found["page"], partial(self._page, section))
            routes.add(found["create"], partial(self._create, section))
            routes.add(found["show"], partial(self._show, section))
            routes.add(found["put"], partial(self._put, section))
            routes.add(found["patch"], partial(self._patch, section))
            routes.add(found["delete"], partial(self._delete, section))

    # --- reading

    async def _page(self, section: str, request: Any, author: Author) -> bytes:
        limit = max(1, int(queryNumber(request, "limit", _DEFAULT_LIMIT, _MOST_LIMIT)))
        place, word = queryText(request, "after") or "", queryText(request, "search") or ""
        fits = filterOf(section, request)
        document, known = await self._names.of(section)
        names, goOn, total = (
            await self._inThread(known.page, place, word, limit, fits) if word or fits else known.page(place, "", limit)
        )
        objects = document.sections[section]
        items = [shown(objects[name]) for name in names]
        return jsonAnswer(request, {"items": items, "next": goOn, "total": total})

    def _inThread(self, work: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._pool, work, *arguments)

    async def _show(self, section: str, request: Any, author: Author, name: str) -> bytes:
        return self._shown(request, self._existing(section, name))

    def _existing(self, section: str, name: str) -> Named:
        existing: Named | None = self._administration.document().sections[section].get(name)
        if existing is None:
            raise HTTPProblem(404, f"there is no {name!r} among the {section}")
        return existing

    def _shown(self, request: Any, value: Named) -> bytes:
        tag = etag(value)
        request.setHeader(b"ETag", tag)
        if tag in {each.strip() for each in (request.getHeader(b"If-None-Match") or b"").split(b",")}:
            request.setResponseCode(304)
            return b""
        return jsonAnswer(request, shown(value))

    # --- writing

    async def _create(self, section: str, request: Any, author: Author) -> bytes:
        body = await jsonBody(request, OBJECT_BYTES)
        repeat = requestId(request, author, canonical(body))
        name = body.get("name")
        target = (section, name if isinstance(name, str) else "")
        request.setHeader(b"Location", _location(request, target[1]))

        async def prepare() -> Prepared:
            document = self._administration.document()
            existing = document.sections[section].get(target[1])
            if existing is None:
                return await self._preparation.put(section, body, None, document)
            # Refused where it is appended, but for a repeated request, which is known there by its id.
            return self._preparation.change(Put(section, existing), document)

        return await self._write(request, prepare, author, repeat, {target: 0}, otherwise=409, creating=True)

    async def _put(self, section: str, request: Any, author: Author, name: str) -> bytes:
        body = await jsonBody(request, OBJECT_BYTES)
        repeat = requestId(request, author, canonical(body))
        wanted = condition(request, body)
        return await self._write(
            request,
            lambda: self._preparation.put(section, body, name, self._administration.document()),
            author,
            repeat,
            await self._expected(wanted, (section, name)),
        )

    async def _patch(self, section: str, request: Any, author: Author, name: str) -> bytes:
        patch = await jsonBody(request, OBJECT_BYTES)
        repeat = requestId(request, author, canonical(patch))
        wanted = condition(request, patch)
        expected = await self._expected(wanted, (section, name))

        def prepare() -> Any:
            document = self._administration.document()
            return self._preparation.patch(section, patch, self._existing(section, name), document)

        return await self._write(request, prepare, author, repeat, expected)

    async def _delete(self, section: str, request: Any, author: Author, name: str) -> bytes:
        repeat = requestId(request, author)
        expected = await self._expected(condition(request), (section, name))
        compromised = section == "nodes" and queryFlag(request, "compromised")
        notes: dict[str, Any] = {}

        async def prepare() -> Prepared:
            document = self._administration.document()
            if revisionOf(document, (section, name)) == 0 and not repeat:
                self._existing(section, name)
            if section == "nodes":
                removal = await self._nodeRemoval(document, name, compromised)
                notes.update(left=list(removal.left), byHand=list(removal.byHand))
                return self._preparation.change(removal.change, document)
            if section == "listeners":
                _requireWayIn(document, name, author)
            return self._preparation.remove(section, name, document)

        if repeat and revisionOf(self._administration.document(), (section, name)) == 0:
            # Gone already: only the very request that removed it may pass, which is known by its id.
            return await self._write(request, prepare, author, repeat, {(section, name): -1}, otherwise=404)
        return await self._write(request, prepare, author, repeat, expected, notes=notes)

    async def _expected(self, wanted: Condition, target: Target) -> dict[Target, int]:
        """The revision that a condition insists on; the condition is checked on this node, and again where the change
        is appended."""
        await self._writes.caughtUp(lambda: self._isNewEnough(wanted, target))
        revision = revisionOf(self._administration.document(), target)
        if not wanted.holds(revision):
            raise self._failedCondition(target)
        return {target: revision} if wanted != Condition() else {}

    def _isNewEnough(self, wanted: Condition, target: Target) -> bool:
        """Whether this node can have what is asked for: it may have been read, or written, on another one."""
        document = self._administration.document()
        return wanted.holds(revisionOf(document, target)) or document.revision >= max(wanted.revisions or {0})

    def _failedCondition(self, target: Target) -> HTTPProblem:
        """412 with the object as it is now."""
        section, name = target
        value = self._administration.document().sections[section].get(name)
        if value is None:
            return HTTPProblem(412, "it is not there", members={"current": None})
        members, headers = {"current": shown(value)}, {"ETag": etag(value).decode("ascii")}
        return HTTPProblem(412, f"it is at revision {value.revision}", members=members, headers=headers)

    async def _write(
        self,
        request: Any,
        prepare: Callable[[], Any],
        author: Author,
        repeat: str,
        expected: Mapping[Target, int],
        otherwise: int = 412,
        creating: bool = False,
        notes: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Have it appended and answer.

        :param expected: what the request insists on.
        :param otherwise: the status where that is not so.
        :param creating: whether the object cannot have been there before.
        :param notes: what the answer says besides.
        """
        seconds = queryNumber(request, "wait", 0, MOST_WAIT_SECONDS)
        try:
            revision, prepared = await self._writes.propose(prepare, author, repeat, expected)
        except Conflict as error:
            target = next((each for each in expected if each in error.moved), None)
            if target is None:
                raise
            if otherwise == 412:
                # What is told has to be what the primary has.
                seen = expected[target]
                await self._writes.caughtUp(lambda: revisionOf(self._administration.document(), target) != seen)
                raise self._failedCondition(target) from None
            section, name = target
            detail = f"{name} exists already" if otherwise == 409 else f"there is no {name!r} among the {section}"
            raise HTTPProblem(otherwise, detail) from None
        created = creating
        if isinstance(prepared.change, Put):
            created = created or 0 in prepared.expected.values()
            request.setHeader(b"ETag", b'"%d"' % revision)
        answer = {**await self._writes.live(revision, seconds), **(notes or {})}
        return jsonAnswer(request, answer, 201 if created else 200)


def _requireWayIn(document: Document, name: str, author: Author) -> None:
    """Nobody closes the last door behind themselves, and has no answer for it."""
    doors = [each.name for each in document.listeners.values() if each.kind == "manager"]
    if doors == [name] and author.address not in TRUSTED_PLACES:
        raise HTTPProblem(409, f"{name} is the last listener for administrators; remove it over the node's socket")


def shown(value: Named) -> dict[str, Any]:
    """An object as it is read over the API: every key, no secret, and its revision."""
    return {**exportObject(value, defaults=True), "revision": value.revision}


def etag(value: Named) -> bytes:
    return b'"%d"' % value.revision


def _location(request: Any, name: str) -> bytes:
    path: bytes = request.path
    return path.rstrip(b"/") + b"/" + name.encode("ascii", "replace")
