"""The administration's API as an OpenAPI 3.1 document, made of the table of routes, and as a page for people."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from typing import Any

from attrs import define, field
from jinja2 import Environment
from markupsafe import Markup, escape
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from ..config.codec import canonical
from ..servers.http import encodeJSON
from ._answers import answerSchemas
from ._routes import JSON, PREFIX, Body, Route, Routes
from ._schemas import Kinds, Schema, documentSchemas, ref

PROBLEM_TYPE = "application/problem+json"

_TEXTS = {
    200: "Done.",
    201: "Made.",
    304: "As it was when it had that `ETag`.",
    400: "The request is not understood.",
    401: "Nobody is logged in, or not rightly.",
    403: "The role or the token does not allow it.",
    404: "It is not there.",
    409: "It is not possible as things are.",
    410: "It is too long ago.",
    412: "The condition does not hold; `current` is the object as it is now.",
    413: "The body is too long.",
    415: "The body is not of that type.",
    422: "Something in it is wrong; `errors` says all of it.",
    503: "It cannot be done just now, such as without the primary. Nothing was changed.",
    504: "It may have been done, or not on enough nodes; see `requestId`, `durableOn`.",
}

_ABOUT = """\
One place that controls every node: any node answers, and passes changes on to the primary. Each object has the \
revision of its last change as its `ETag`; a write with a stale `If-Match` is 412, and one without wins. A write is \
answered when it is durable, with where it is live already; `?wait` holds the answer back until it is live on every \
connected node. `Idempotency-Key` makes a repeat safe. Errors are problem details (RFC 9457)."""


_POLICY = b"default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@define(eq=False)
class Description:
    """Describes the routes of a table, itself included.

    :ivar _kinds: asked late: the components that can be built, with the classes of their options.
    """

    _routes: Routes
    _kinds: Callable[[], Kinds]
    _reactor: Any
    _pool: Any
    _template: str = field(factory=lambda: _read("docs.html"), init=False, repr=False)
    _style: str = field(factory=lambda: _read("docs.css"), init=False, repr=False)
    _document: dict[str, Any] | None = field(default=None, init=False)
    _json: bytes = field(default=b"", init=False)
    _page: bytes = field(default=b"", init=False)

    def add(self) -> None:
        self._routes.add(
            Route(
                method="GET",
                path="/openapi.json",
                text="This description, OpenAPI 3.1.",
                role=None,
                tag="description",
                answer=Body({"type": "object"}),
            ),
            self._described,
        )
        self._routes.add(
            Route(
                method="GET",
                path="/docs",
                text="This description as a page.",
                role=None,
                tag="description",
                answer=Body({"type": "string"}, contentType="text/html"),
            ),
            self._shown,
        )

    def _inThread(self, work: Callable[[], bytes]) -> Deferred[bytes]:
        return deferToThreadPool(self._reactor, self._pool, work)

    @property
    def document(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if self._document is None:
            self._document = openAPI(self._routes.known, self._kinds())
        return self._document

    async def _described(self, request: Any) -> bytes:
        if not self._json:
            self._json = await self._inThread(lambda: encodeJSON(self.document))
        return _answer(request, self._json, b"application/json")

    async def _shown(self, request: Any) -> bytes:
        if not self._page:
            self._page = await self._inThread(lambda: rendered(self._template, self._style, self.document).encode())
        digest = base64.b64encode(hashlib.sha256(self._style.encode("utf-8")).digest())
        request.setHeader(b"Content-Security-Policy", _POLICY % digest)
        return _answer(request, self._page, b"text/html; charset=utf-8")


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _answer(request: Any, body: bytes, contentType: bytes) -> bytes:
    request.setHeader(b"Content-Type", contentType)
    request.setHeader(b"Content-Length", b"%d" % len(body))
    return body


# --- the document


def openAPI(routes: list[Route], kinds: Kinds) -> dict[str, Any]:
    """Everything there is, of the table of routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in sorted(routes, key=lambda one: (one.template, one.method)):
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "cftpcluster administration", "version": "1", "description": _ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"password": []}, {"token": []}, {"session": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {
            "schemas": {**documentSchemas(kinds), **answerSchemas()},
            "securitySchemes": {
                "password": {"type": "http", "scheme": "basic"},
                "token": {"type": "http", "scheme": "bearer", "description": "An API token."},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "__Host-cftpcluster-admin",
                    "description": "From `POST /api/v1/login`; what changes something needs `X-CSRF-Token`, too.",
                },
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    words = re.findall(r"\w+", route.template.removeprefix(PREFIX))
    name = route.method.lower() + "".join(word[0].upper() + word[1:] for word in words)
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": route.text,
        "tags": [route.tag],
        "parameters": list(_parameters(route)),
        "responses": {str(status): one for status, one in sorted(_responses(route).items())}
        | {"default": _problem("Something else went wrong.")},
    }
    if route.role is None:
        operation["security"] = []
    else:
        operation["x-role"] = route.role.value
        operation["description"] = f"Needs role `{route.role.value}`."
    if route.body is not None:
        required = bool(_schema(route.body).get("required")) or route.body.contentType != JSON
        operation["requestBody"] = {"required": required, "content": _content(route.body, route)}
        if route.body.text:
            operation["requestBody"]["description"] = route.body.text
    return operation


def _parameters(route: Route) -> Iterator[dict[str, Any]]:
    for name in route.variables:
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    for one in route.query:
        yield {
            "name": one.name,
            "in": "query",
            "description": one.text,
            "required": one.required,
            "schema": dict(one.form),
        }
    if route.conditional:
        text = "The `ETag` that the object must still have."
        yield {"name": "If-Match", "in": "header", "description": text, "schema": {"type": "string"}}
    if route.conditional and route.method == "PUT":
        text = "`*`: only where it is not there yet."
        yield {"name": "If-None-Match", "in": "header", "description": text, "schema": {"const": "*"}}
    if 304 in route.also:
        text = "Answered with 304 where the object has this `ETag` still."
        yield {"name": "If-None-Match", "in": "header", "description": text, "schema": {"type": "string"}}
    if route.repeatable:
        text = "A request that is sent again with the same one takes place once."
        form = {"type": "string", "pattern": "^[!-~]{1,256}$"}
        yield {"name": "Idempotency-Key", "in": "header", "description": text, "schema": form}


def _responses(route: Route) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {route.status: _response(route.status, route.answer, route)}
    for other in route.otherwise:
        found[route.status].setdefault("content", {}).update(_content(other, route))
    found |= {status: _response(status, body, route) for status, body in route.also.items()}
    return found | {status: _problem(_TEXTS[status]) for status in _problems(route)}


def _problems(route: Route) -> Iterator[int]:
    yield 400
    if route.role is not None or route.path == "/login":
        yield from (401, 403)
    if route.variables:
        yield 404
    if route.conditional:
        yield 412
    if route.body is not None:
        yield from (409, 413, 415, 422)
    if route.tag == "history":
        yield from (404, 410)
    if route.method != "GET" and route.role is not None:
        yield from (409, 503, 504)


def _response(status: int, body: Body | None, route: Route) -> dict[str, Any]:
    response: dict[str, Any] = {"description": _TEXTS[status]}
    if body is not None:
        response["content"] = _content(body, route)
    return response


def _content(body: Body, route: Route) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": _schema(body)}
    if body.example is not None:
        media["example"] = body.example
    return {body.contentType: media}


def _schema(body: Body) -> Schema:
    return ref(body.form) if isinstance(body.form, str) else dict(body.form)


def _problem(text: str) -> dict[str, Any]:
    return {"description": text, "content": {PROBLEM_TYPE: {"schema": ref("Problem")}}}


# --- the page


def rendered(template: str, style: str, document: Mapping[str, Any]) -> str:
    """The page. Everything in it is text."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"marked": marked, "typed": typed, "anchored": anchored, "shown": shown}
    byTag: dict[str, list[tuple[str, str, Any]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            byTag[operation["tags"][0]].append((method.upper(), path, operation))
    return environment.from_string(template).render(style=Markup(style), api=document, byTag=byTag)  # noqa: S704 our own


def marked(text: str) -> Markup:
    """Text with what stands in backticks as code."""
    pieces = re.split(r"`([^`]*)`", text)
    parts = [Markup("<code>{}</code>").format(one) if index % 2 else escape(one) for index, one in enumerate(pieces)]
    return Markup().join(parts)


def anchored(name: str) -> str:
    return "schema-" + name.rpartition("/")[2]


def shown(example: Any) -> str:
    return json.dumps(example, ensure_ascii=False, indent=2)


def typed(schema: Mapping[str, Any]) -> Markup:
    """What a schema takes, in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return Markup('<a href="#{}">{}</a>').format(anchored(name), name)
    if "const" in schema:
        return Markup("<code>{}</code>").format(canonical(schema["const"]).decode("ascii"))
    if "enum" in schema:
        return Markup(" | ").join(Markup("<code>{}</code>").format(one) for one in schema["enum"])
    if "anyOf" in schema:
        return Markup(" or ").join(typed(one) for one in schema["anyOf"])
    if "allOf" in schema:
        return typed(schema["allOf"][0])
    kind = schema.get("type", "any value")
    words = Markup(" or ").join(kind) if isinstance(kind, list) else escape(kind)
    return words + Markup(" of ") + typed(schema["items"]) if "items" in schema else words
