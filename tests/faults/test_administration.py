"""What is tried on administrators and on whatever they write: forged requests, claims, documents, names, races."""

from __future__ import annotations

import base64
import copy
import csv
import hashlib
import io
import json
import os
import random
import statistics
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, redirect_stdout
from http.client import HTTPSConnection
from typing import Any, cast
from urllib.parse import quote

import attrs
from attrs import evolve
from klein import Klein
from ruamel.yaml.error import YAMLError
from twisted.logger import FileLogObserver, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.archive import sealArchive
from cftpcluster.backup import pack
from cftpcluster.commands.program import printTable
from cftpcluster.components import Components
from cftpcluster.config._yaml import exportYaml, parseText
from cftpcluster.config.changes import Batch, Put
from cftpcluster.config.codec import decodeDocument, encodeDocument
from cftpcluster.config.document import Document
from cftpcluster.config.validation import problems
from cftpcluster.config.written import export
from cftpcluster.events import LoginFailed
from cftpcluster.founding import Membership
from cftpcluster.journal.audit import COMMIT_SECONDS
from cftpcluster.journal.entry import Head
from cftpcluster.manager._console import ConsoleRoutes
from cftpcluster.manager._routes import ANYTHING, Route
from cftpcluster.manager.access import AdministratorAccess
from cftpcluster.node import NODE_KINDS
from cftpcluster.testing.auth import originOf
from cftpcluster.testing.http import Answer, Conversation
from cftpcluster.testing.processes import NodeProcess
from tests.manager.described import table
from tests.manager.support import PASSWORD, Cluster, basic
from tests.manager.test_matrix import bodyOf, nameOf, targetOf

from ..sharedclusters import THREE, whole
from .load import unverified
from .scale import choose, figure

SAFE = {"GET", "HEAD", "OPTIONS"}
EVIL = "https://evil.example"


def allKinds() -> dict[str, dict[str, type]]:
    """The components of the product, with the classes of their options."""
    kinds = {section: dict(found) for section, found in Components.gather().kinds.items()}
    return {**kinds, "listeners": {**kinds["listeners"], **NODE_KINDS}}


class MemoryCase(SynchronousTestCase):
    """One node in memory, and what it holds."""

    kinds: Mapping[str, Mapping[str, type]] = {}

    def setUp(self) -> None:
        self.cluster = Cluster({section: dict(kinds) for section, kinds in self.kinds.items()})
        self.cluster.rules.start()
        self.addCleanup(self.cluster.rules.stop)
        self.client: Conversation | None = None

    @property
    def chainHash(self) -> bytes:
        heads: list[Any] = []
        _ = self.cluster.node.journal.head().addCallback(heads.append)
        return bytes(heads[0].chainHash)

    def state(self) -> tuple[Any, ...]:
        """Whatever a request could change: the history, what nodes were told to do, bans, and who is logged in."""
        guard = self.cluster.rules.guard
        sessions = sorted(str(one["id"]) for one in self.cluster.rules.sessions.listed())
        return self.chainHash, len(self.cluster.node.performed), guard.bans(), sessions

    def ask(self, method: str, target: str, json: Any = None, **more: Any) -> Answer:
        if self.client is None or self.client.ended or self.client.closed:
            self.client = self.cluster.connect()
        return self.client.ask(method, target, json, **more)

    def askRoute(self, route: Route, **headers: str) -> Answer:
        """With the example of the route's description."""
        if route.body is not None and route.body.contentType == ANYTHING:
            return self.ask(route.method, targetOf(route), body=b'{"passphrase": "correct horse"}\n', **headers)
        return self.ask(route.method, targetOf(route), bodyOf(route), **headers)

    def login(self, name: str = "full") -> dict[str, str]:
        """Headers of a session."""
        answer = self.ask("POST", "/api/v1/login", {"name": name, "password": PASSWORD})
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        return {"Cookie": cookie, "X_CSRF_Token": answer.json["csrfToken"]}


class ForgeryTests(MemoryCase):
    """Each route that changes something, as the browser of an administrator would ask it for another site."""

    def forged(self) -> Iterator[Mapping[str, str]]:
        session, other = self.login(), self.login("users")
        cookie = {"Cookie": session["Cookie"]}
        yield cookie
        yield {**cookie, "X_CSRF_Token": ""}
        yield {**cookie, "X_CSRF_Token": other["X_CSRF_Token"]}
        yield {**cookie, "X_CSRF_Token": session["X_CSRF_Token"][::-1]}
        yield {**cookie, "Csrf_Token": session["X_CSRF_Token"]}
        for origin in (EVIL, "null", "http://localhost", "https://localhost:8444", "https://localhost.evil.example"):
            yield {**session, "Origin": origin}
        for site in ("cross-site", "same-site"):
            yield {**session, "Sec_Fetch_Site": site}
        for scheme in ("Bearer", "Basic", "Basic eA=="):
            # A scheme that says nothing leaves it to the cookie, and to its rules.
            yield {**cookie, "Authorization": scheme}
        yield {"Authorization": basic("full"), "Origin": EVIL}

    def test_noRouteIsObeyed(self) -> None:
        changing = [each for each in table().known if each.method not in SAFE and each.role is not None]
        self.assertGreater(len(changing), 40)
        forged = list(self.forged())
        before = self.state()
        for route in changing:
            for headers in forged:
                status = self.askRoute(route, **headers).status
                self.assertIn(status, (401, 403), (nameOf(route), headers))
                if not headers.get("Authorization", "").startswith("B"):
                    self.assertEqual(status, 403, (nameOf(route), headers))
                self.assertEqual(self.state(), before, (nameOf(route), headers))
            cookie = {"Cookie": forged[0]["Cookie"]}
            answer = self.ask(route.method.lower(), targetOf(route), bodyOf(route), **cookie)
            self.assertIn(answer.status, (403, 405, 501), nameOf(route))
            self.assertEqual(self.state(), before, nameOf(route))

    def test_theSameIsObeyedWhereNothingIsForged(self) -> None:
        session = self.login()
        for route in table().known:
            endsIt = route.path in {"/logout", "/account/sessions"}
            if route.method not in SAFE and route.role is not None and not endsIt:
                self.assertNotIn(self.askRoute(route, **session).status, (401, 403), nameOf(route))

    def test_nothingThatIsOnlyReadChangesAnything(self) -> None:
        session = self.login()
        before = self.state()
        for route in table().known:
            if route.method not in SAFE:
                continue
            for headers in ({}, {"X_HTTP_Method_Override": "DELETE", "X_Method_Override": "PUT"}):
                self.assertLess(self.askRoute(route, **session, **headers).status, 500, nameOf(route))
                self.assertEqual(self.state(), before, nameOf(route))
            for method in ("TRACE", "CONNECT", "PROPFIND"):
                answer = self.ask(method, targetOf(route), **session)
                self.assertIn(answer.status, (400, 405, 501), (method, nameOf(route)))
                self.assertEqual(self.state(), before, (method, nameOf(route)))

    def test_everyOtherWayInIsKnown(self) -> None:
        app, nobody = Klein(), cast("Any", None)
        others = [nobody for each in attrs.fields(ConsoleRoutes)[1:] if each.init]
        ConsoleRoutes(cast("AdministratorAccess", table().access), *others).add(app)
        ways = {(method, rule.rule) for rule in app.url_map.iter_rules() for method in rule.methods or ()}
        self.assertEqual({each for each in ways if each[0] not in SAFE}, {("POST", "/login"), ("POST", "/logout")})

    def test_formsOfOtherSitesAreRefused(self) -> None:
        session = self.login()
        cookie, before = {"Cookie": session["Cookie"]}, self.state()
        form = {"Content_Type": "application/x-www-form-urlencoded"}
        for body in (b"", b"csrfToken=", b"csrfToken=" + b"0" * 64, b"csrfToken=a&csrfToken=b"):
            self.assertEqual(self.ask("POST", "/logout", body=body, **cookie, **form).status, 403, body)
        token = b"csrfToken=" + session["X_CSRF_Token"].encode()
        self.assertEqual(self.ask("POST", "/logout", body=token, **cookie, **form, Origin=EVIL).status, 403)
        login = f"name=full&password={PASSWORD.replace(' ', '+')}".encode()
        self.assertEqual(self.ask("POST", "/login", body=login, **form, Origin=EVIL).status, 403)
        self.assertEqual(self.ask("POST", "/api/v1/login", {"name": "full", "password": PASSWORD},
                                  Sec_Fetch_Site="cross-site").status, 403)  # fmt: skip
        self.assertEqual(self.state(), before)
        self.assertEqual(self.ask("POST", "/logout", body=token, **cookie, **form).status, 303)


class ClaimTests(MemoryCase):
    """Nothing but a password, a token, or a cookie that the cluster has signed, says who somebody is."""

    def claims(self) -> Iterator[Mapping[str, str]]:
        token = self.ask("POST", "/api/v1/tokens", {"name": "t", "scopes": ["full"]}, Authorization=basic("full"))
        good, cookie = token.json["token"], self.login()["Cookie"]
        _, _, value = cookie.partition("=")
        for name in (
            *("X-Forwarded-User", "X-Remote-User", "Remote-User", "X-Auth-User", "X-Webauth-User", "X-User"),
            *("X-Admin", "X-Role", "X-Cftpcluster-Role", "From", "X-Authenticated-User", "Cf-Access-User"),
        ):
            yield {name: "full"}
        for name in ("X-Forwarded-For", "X-Real-IP", "X-Client-IP", "Forwarded", "True-Client-IP", "X-Original-Host"):
            yield {name: "socket"}
            yield {name: "127.0.0.1"}
        for name in ("X-Original-URL", "X-Rewrite-URL"):
            yield {name: "/api/v1/openapi.json"}
        for said in (
            *("full", "Basic", "Basic full", "Basic ZnVsbA==", "Basic " + base64.b64encode(b"full:").decode()),
            *("Basic " + base64.b64encode(b"full\0:" + PASSWORD.encode()).decode(), "Basic Og==", "Negotiate YII="),
            *("Bearer", "Bearer full", "Bearer null", "Bearer cftp_", f"Bearer {good[:-1]}", f"Bearer {good}0"),
            *(f"Bearer {good.upper()}", f"Bearer {good} {good}", f"Token {good}", good, f"Bearer {good[:22]}"),
            *(f"Bearer {good[:22]}{'0' * 64}", f"Basic {base64.b64encode(good.encode()).decode()}"),
            *(f"Bearer {value}", 'Digest username="full"', "AWS4-HMAC-SHA256 x", f"Bearer,Bearer {good}"),
            "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJmdWxsIn0.",
        ):
            yield {"Authorization": said}
        for crumb in (
            *("user=full", "admin=1", "session=full", "__Host-cftpcluster-admin=full", "__Host-cftpcluster-admin="),
            *(f"__Host-cftpcluster-user={value}", f"cftpcluster-admin={value}", f'__Host-cftpcluster-admin="{value}"'),
            *(f"__Host-cftpcluster-admin={value}.{value}", f"__Host-cftpcluster-admin={good}"),
            f"__Host-cftpcluster-admin={base64.b64encode(b'{}').decode()}.{value.rpartition('.')[2]}",
            f"__Host-cftpcluster-admin={value.partition('.')[0]}.",
        ):
            yield {"Cookie": crumb}
        for place in range(0, len(value), max(1, len(value) // 100)):
            changed = value[:place] + ("A" if value[place] != "A" else "B") + value[place + 1 :]
            yield {"Cookie": f"__Host-cftpcluster-admin={changed}"}
        yield {"SSL_CLIENT_S_DN_CN": "full", "X-SSL-Client-CN": "full", "X-Client-Cert": "full"}

    def test_noneIsTaken(self) -> None:
        claims = list(self.claims())
        self.assertGreater(len(claims), 150)
        before = self.state()
        for claim in claims:
            headers = {name.replace("-", "_"): text for name, text in claim.items()}
            for method, path, body in (("GET", "session", None), ("PUT", "users/mallory", {})):
                answer = self.ask(method, f"/api/v1/{path}", body, **headers)
                self.assertEqual(answer.status, 401, claim)
                self.assertNotIn("Set-Cookie", answer.headers, claim)
        self.assertEqual(self.state(), before)

    def test_bodiesThatClaimAreNoLogIns(self) -> None:
        good = {"name": "full", "password": PASSWORD}
        for body in (
            {"name": "full"},
            {"name": "full", "password": None},
            {"name": "full", "password": True},
            {"name": "full", "password": 0},
            {"name": "full", "password": [PASSWORD]},
            {"name": ["full"], "password": PASSWORD},
            {"name": {"$ne": ""}, "password": {"$ne": ""}},
            {"user": "full", "password": PASSWORD},
            *({**good, key: value} for key, value in (("role", "full"), ("admin", True), ("__proto__", {}), ("", ""))),
        ):
            answer = self.ask("POST", "/api/v1/login", body)
            self.assertEqual(answer.status, 422, body)
            self.assertNotIn("Set-Cookie", answer.headers, body)
        for text in (
            b'{"name":"full","name":"auditor","password":"x"}',
            b'{"name":"full","password":NaN}',
            b'{"name":"full","password":"x"}garbage',
            b'[{"name":"full","password":"x"}]',
            b'"full"',
            b"\xff\xfe{\x00}\x00",
        ):
            answer = self.ask("POST", "/api/v1/login", body=text)
            self.assertEqual(answer.status, 400, text)

    def test_authorsCannotBeSaid(self) -> None:
        claims = {"author": "admin", "node": "node-x", "time": 0, "role": "full", "address": "socket"}
        session = self.login("users")
        for key, value in claims.items():
            answer = self.ask("PUT", "/api/v1/users/a", {key: value}, **session)
            self.assertEqual(answer.status, 422, key)
            answer = self.ask("PUT", f"/api/v1/users/a?{key}={value}", {}, **session)
            self.assertEqual(answer.status, 400, key)


class KeptOutTests(MemoryCase):
    """Who is disabled, removed or expired, at every route and by each way in."""

    def ways(self) -> dict[str, dict[str, str]]:
        """Headers of each way in, of those who have been in."""
        basicHeaders = {"Authorization": basic("full")}
        made = self.ask("POST", "/api/v1/tokens", {"name": "t", "scopes": ["full"]}, **basicHeaders)
        ways = {"session": self.login(), "basic": basicHeaders}
        ways["token"] = {"Authorization": f"Bearer {made.json['token']}"}
        for headers in ways.values():
            self.assertEqual(self.ask("GET", "/api/v1/status", **headers).status, 200)
        return ways

    def assertOut(self, ways: Mapping[str, Mapping[str, str]]) -> None:
        before = self.chainHash
        for route in table().known:
            for way, headers in ways.items():
                if route.role is not None:
                    # Whoever says so many passwords that are none is kept out altogether.
                    refused = (401, 429) if way == "basic" else (401,)
                    self.assertIn(self.askRoute(route, **headers).status, refused, (way, nameOf(route)))
        self.assertEqual((self.chainHash, self.cluster.node.performed), (before, []))

    def test_disabled(self) -> None:
        ways = self.ways()
        self.cluster.node.change(Put("admins", evolve(self.cluster.document.admins["full"], enabled=False)))
        self.assertOut(ways)

    def test_withANewPassword(self) -> None:
        ways = self.ways()
        changed = evolve(self.cluster.document.admins["full"], passwordHash=self.cluster.hashOf("another one"))
        self.cluster.node.change(Put("admins", changed))
        self.assertOut(ways)

    def test_expired(self) -> None:
        ways = self.ways()
        self.cluster.clock.advance(90 * 86400)
        del ways["basic"]
        self.assertOut(ways)


HOSTILE_TEXTS = (
    *("{{7*7}}", "${7*7}", "#{7*7}", "%s%n%x", "$(id)", "`id`", "${jndi:ldap://a}", "{0.__class__}", "<%=7%>"),
    *('=cmd|"/c calc"!A1', "+1+1", "-2+3", "@SUM(1)", "\t=1+1", "\r=1+1", "\n=1+1", "\uff1d1+1", "|calc", ";=1+1"),
    *("a\nb", "a\r\nSet-Cookie: a=b", "a\0b", "\x1b[2J", "a\u2028b", "a\x85b", "\u202etxt.exe", "\ufeffa", "a\ud83d"),
    *("!!python/object/apply:os.system [id]", "&a [*a]", "*a", "? a", "- a", "a: b", "# a", "--- a", "...", "<<", "~"),
    *("null", "true", "no", "0x10", "0o7", "1e3", ".inf", "NaN", "1_000", "2027-01-01", "'", '"', "\\", " a ", "|"),
    *("<script>alert(1)</script>", "'; DROP TABLE a;--", "../../etc/passwd", "%2e%2e%2f", "a" * 99, "\U0001f4a9", ""),
)  # fmt: skip
"""What some program takes for more than text."""

HOSTILE_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 65536, 2**31, 2**53, 2**63, 10**30, -(10**30), 1e308, [], {}, [[]], [None], [{}]),
    *(
        {"secret": "x"},
        {"": ""},
        {"__proto__": {}},
        ["", ""],
        ["a", 1],
        "node-a",
        "ftp",
        "0.0.0.0/0",
        "::/129",
        "/",
        ".",
    ),
    *HOSTILE_TEXTS,
)

OBJECTS: Mapping[str, Any] = {
    "settings": {"drainSeconds": 30, "neverBan": ["127.0.0.0/8"], "banSeconds": 600},
    "backends": [{"name": "m", "kind": "memory"}, {"name": "l", "kind": "local", "root": "/srv/files"}],
    "groups": [{"name": "g", "mounts": [{"path": "/in", "backend": "m", "folder": "in"}], "allow": ["10.0.0.0/8"]}],
    "users": [
        {"name": "u", "groups": ["g"], "mounts": [{"path": "/", "backend": "l"}], "quota": {"bytes": 10, "files": 2}},
        {"name": "v", "enabled": False, "expires": "2030-01-01T00:00:00Z", "deny": ["192.0.2.1"]},
    ],
    "listeners": [{"name": "x", "kind": "ftp", "port": 2199, "passivePorts": "50000-50010", "tls": "required"}],
    "admins": [{"name": "b", "role": "users"}],
    "observers": [{"name": "log2", "kind": "log"}],
}
"""A good document, to be mutated."""


def places(plain: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values."""
    if path:
        yield path
    for key, value in plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ():
        yield from places(value, (*path, key))


def mutated(chance: random.Random, document: Mapping[str, Any] = OBJECTS) -> bytes:
    """A document with some mistakes in it, as JSON or YAML; or its text with some."""
    plain = copy.deepcopy(dict(document))
    for _ in range(chance.choice((1, 1, 2, 4))):
        *path, last = chance.choice(list(places(plain)))
        holder: Any = plain
        for key in path:
            holder = holder[key]
        what = chance.randrange(5)
        if what < 3:
            holder[last] = chance.choice(HOSTILE_VALUES)
        elif what == 3 and isinstance(holder, dict):
            holder[str(chance.choice(HOSTILE_VALUES))] = holder.pop(last)
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[last]))
        else:
            del holder[last]
    text = json.dumps(plain).encode() if chance.random() < 0.5 else asYaml(plain)
    if chance.random() < 0.3:
        place = chance.randrange(len(text))
        text = chance.choice(
            (text[:place], text[:place] + bytes([text[place] ^ 1 << chance.randrange(8)]) + text[place + 1 :], text * 2)
        )
    return text


def asYaml(plain: Any) -> bytes:
    try:
        return exportYaml(plain).encode()
    except (UnicodeEncodeError, YAMLError):
        return json.dumps(plain).encode()


class DocumentTests(MemoryCase):
    kinds = allKinds()

    def assertGood(self, document: Document) -> None:
        """It could be applied from nothing, and comes back as it is by each way out."""
        puts = [Put(name, one) for name, section in document.sections.items() for one in section.values()]
        self.assertEqual(problems(document, Batch(tuple(puts)), self.kinds), [])
        self.assertEqual(decodeDocument(encodeDocument(document)), document)
        exported = export(document)
        self.assertEqual(parseText(exportYaml(exported)), exported)
        self.assertEqual(parseText(json.dumps(exported)), exported)

    def test_whatIsMutatedIsRefusedOrGood(self) -> None:
        chance, counted = random.Random(26), {200: 0, 422: 0}
        admin, count = {"Authorization": basic("full")}, choose(60, 1000)
        self.assertGood(self.cluster.document)
        self.assertEqual(self.ask("POST", "/api/v1/apply", OBJECTS, **admin).status, 200)
        for _ in range(count):
            before, text = self.chainHash, mutated(chance)
            answer = self.ask("POST", "/api/v1/apply", body=text, **admin)
            self.assertIn(answer.status, counted, (text, answer.body))
            counted[answer.status] += 1
            if answer.status == 422:
                self.assertTrue(answer.json["errors"], text)
                self.assertEqual(self.chainHash, before, text)
            elif self.chainHash != before:
                self.assertGood(self.cluster.document)
        figure(f"{count} mutated documents: {counted[422]} refused, {counted[200]} good, none other")

    def test_bodiesThatAreNoJSONOrTooMuchOfIt(self) -> None:
        admin, before = {"Authorization": basic("full")}, self.state()
        bodies = (
            *(b"[" * 100_000, b'{"a":' * 50_000, b'{"name":' + b"[" * 99_000 + b"]" * 99_000 + b"}", b"\xff"),
            *(b'{"name":"a","name":"b"}', b'{"name":NaN}', b'{"name":Infinity}', b'{"name":' + b"9" * 5000 + b"}"),
            *(b'{"name":"\\ud800"}', b'{"\\ud800":1}', b'{"quota":{"bytes":1e400}}', b"nul", b"{"),
            *(b'{"quota":{"bytes":' + b"9" * 4000 + b"}}", b"{} {}", b"'", b'{"__proto__":{"enabled":true}}', b"1"),
        )  # fmt: skip
        for body in bodies:
            for method, path in (("PUT", "users/a"), ("PATCH", "settings"), ("POST", "rollback"), ("POST", "apply")):
                answer = self.ask(method, f"/api/v1/{path}", body=body, **admin)
                self.assertIn(answer.status, (200, 400, 413, 422), (path, body[:60]))
                self.assertNotIn(b"Traceback", answer.body)
                self.assertEqual(self.state(), before, (path, body[:60]))

    def test_conditionsThatAreNone(self) -> None:
        admin = {"Authorization": basic("full")}
        self.assertEqual(self.ask("PUT", "/api/v1/users/a", {}, **admin).status, 201)
        revision, before = self.cluster.document.users["a"].revision, self.chainHash
        for tag in (
            *(
                str(revision),
                f'W/"{revision}"',
                f'"{revision}',
                f"'{revision}'",
                f'"0{revision}"',
                f'"+{revision}"',
                "",
            ),
            *(f'"{revision}.0"', f'" {revision}"', f'"{revision}" "{revision}"', "**", '"*"', "null", '"-1"', '"1e1"'),
            *(
                '"' + "9" * 5000 + '"',
                ",",
                ", ,",
                '"\u00b2"',
                f'"{revision - 1}"',
                f'"{revision + 1}"',
                "\\",
                "%",
                '""',
            ),
        ):
            for method in ("PUT", "PATCH", "DELETE"):
                answer = self.ask(method, "/api/v1/users/a", None if method == "DELETE" else {}, If_Match=tag, **admin)
                self.assertEqual((answer.status, answer.json["current"]["revision"]), (412, revision), (method, tag))
        for tag in ('"1"', "W/*", "x", ""):
            answer = self.ask("PUT", "/api/v1/users/a", {}, If_None_Match=tag, **admin)
            self.assertEqual(answer.status, 400, tag)
        for said in (True, -1, 1.0, "1", None, [revision], 2**70):
            answer = self.ask("PATCH", "/api/v1/users/a", {"enabled": False, "revision": said}, **admin)
            self.assertIn(answer.status, (412, 422), said)
        self.assertEqual(self.chainHash, before)

    def test_questionsThatAreNone(self) -> None:
        """Places that no page told, words that are patterns, numbers that are none: of each list."""
        admin, before = {"Authorization": basic("auditor")}, self.state()
        texts = (
            *choose(HOSTILE_TEXTS[::7], HOSTILE_TEXTS),
            "(a+)+$",
            "a*" * 1000 + "b",
            "%",
            "_",
            "1-node-a",
            "9" * 16 + "-node-a",
            "-1",
            "9" * 400,
        )
        begun = time.monotonic()
        count = 0
        for route in table().known:
            if route.method != "GET" or route.role is None or "{" in targetOf(route):
                continue
            for parameter in route.query:
                if parameter.name not in {
                    "after",
                    "search",
                    "limit",
                    "text",
                    "path",
                    "user",
                    "since",
                    "author",
                    "object",
                }:
                    continue
                for text in texts:
                    joint = "&" if "?" in targetOf(route) else "?"
                    said = quote(text.encode("utf-8", "surrogatepass"))
                    answer = self.ask("GET", f"{targetOf(route)}{joint}{parameter.name}={said}", **admin)
                    self.assertIn(answer.status, (200, 400, 404, 409, 422), (nameOf(route), parameter.name, text))
                    count += 1
        self.assertEqual(self.state(), before)
        self.assertLess((time.monotonic() - begun) / count, 0.2)


class TextTests(MemoryCase):
    """Text that another program could take for more stays text on each way out."""

    kinds = allKinds()

    def test_yamlAndJSONHoldIt(self) -> None:
        for text in HOSTILE_TEXTS:
            for plain in ({"a": text}, {text: "a"}, {"a": [text, {"b": text}]}, {"a": f"{text}\n{text}"}):
                if "\ud83d" not in text:
                    self.assertEqual(parseText(exportYaml(plain)), plain, text)

    def test_templatesStayLiteral(self) -> None:
        kept = 0
        for number, text in enumerate(HOSTILE_TEXTS):
            root = f"/srv/{text}"
            answer = self.ask(
                "PUT", f"/api/v1/backends/b{number}", {"kind": "local", "root": root}, Authorization=basic("full")
            )
            if answer.status == 201:
                kept += 1
                shown = self.ask("GET", f"/api/v1/backends/b{number}", Authorization=basic("full"))
                self.assertEqual(shown.json["root"], root)
            else:
                self.assertEqual(answer.status, 422, text)
        self.assertGreater(kept, 40)
        exported = self.ask("GET", "/api/v1/export", Authorization=basic("full"))
        roots = {one["root"] for one in parseText(exported.body)["backends"]}
        self.assertLessEqual({"/srv/{{7*7}}", "/srv/%s%n%x", "/srv/${7*7}"}, roots)

    def test_nothingGetsIntoTheBalancersConfiguration(self) -> None:
        admin = {"Authorization": basic("full")}
        evil = "\n    server evil 127.0.0.66:1\n"
        wrong = (
            f"fe80::1%{evil}",
            f"::1{evil}",
            f"127.0.0.1{evil}",
            "fe80::1%a b",
            f"fe80::%{evil}/64",
            "1.1.1.1 }",
            "a b",
        )
        before = self.chainHash
        for text in wrong:
            for path, body in (
                ("listeners/ftp", {"allow": [text]}),
                ("listeners/ftp", {"deny": [text]}),
                ("listeners/ftp", {"proxyProtocol": "optional", "trustedProxies": [text]}),
                ("listeners/ftp", {"passiveAddress": text}),
                ("listeners/ftp", {"passivePorts": f"50000-50010{text}"}),
                ("nodes/node-a", {"address": text}),
                ("users/u", {"allow": [text]}),
            ):
                answer = self.ask("PATCH", f"/api/v1/{path}", body, **admin)
                self.assertIn(answer.status, (404, 422), (path, body))
            for parameter in ("address", "source"):
                answer = self.ask("GET", f"/api/v1/haproxy?{parameter}={quote(text)}", **admin)
                self.assertIn(answer.status, (400, 422), (parameter, text))
            for name in (text, f"ftp{evil}"):
                answer = self.ask("POST", "/api/v1/listeners", {"name": name, "kind": "ftp", "port": 2222}, **admin)
                self.assertEqual(answer.status, 422, name)
        self.assertEqual(self.chainHash, before)
        self.assertNotIn("evil", self.ask("GET", "/api/v1/haproxy", **admin).json["configuration"])

    def test_formulasInExportsAreText(self) -> None:
        for text in HOSTILE_TEXTS:
            origin = originOf()
            self.cluster.audit.observe(LoginFailed(user=text, origin=origin, method="password", reason=text))
        self.cluster.clock.advance(COMMIT_SECONDS)
        answer = self.ask("GET", "/api/v1/events/export?format=csv&kind=LoginFailed", Authorization=basic("auditor"))
        rows = list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))
        self.assertEqual(len(rows), len(HOSTILE_TEXTS))
        for row in rows:
            for cell in row.values():
                self.assertNotIn(cell[:1], tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"), row)
        lines = self.ask("GET", "/api/v1/events/export?kind=LoginFailed", Authorization=basic("auditor")).body
        self.assertEqual(len(lines.decode().split("\n")) - 1, len(HOSTILE_TEXTS))

    def test_tablesOfTheCommandLineHaveOneLineForEach(self) -> None:
        out = io.StringIO()
        with redirect_stdout(out):
            printTable(("USER", "PATH"), [(text, text) for text in (*HOSTILE_TEXTS, "\x9b2J", "\x7f")])
        lines = out.getvalue().split("\n")[:-1]
        self.assertEqual(len(lines), len(HOSTILE_TEXTS) + 2)
        for line in lines:
            self.assertTrue(line.replace("\t", "", 1).isprintable(), line)

    def test_logsHaveOneLineForEach(self) -> None:
        said: list[str] = []
        observer = FileLogObserver(io.StringIO(), lambda event: said.append(formatEvent(event)) or "")
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        for text in HOSTILE_TEXTS:
            self.ask("POST", "/api/v1/login", {"name": text, "password": text})
            self.ask("GET", f"/api/v1/users/{quote(text.encode('utf-8', 'surrogatepass'), safe='')}")
        for header in ("a\x0bb", "a\x1b[2J", "Bearer cftp_\x85"):
            self.ask("GET", "/api/v1/status", Authorization=header, User_Agent=header)
        for line in said:
            self.assertEqual(len(line.splitlines()), 1, line)


class BackupTests(MemoryCase):
    """Files that somebody made who knows the passphrase, but not this cluster."""

    def restore(self, data: bytes) -> Answer:
        body = b'{"passphrase": "correct horse"}\n' + data
        return self.ask("POST", "/api/v1/restore", body=body, Authorization=basic("full"))

    def test_forgedOnesChangeNothing(self) -> None:
        cluster = self.cluster
        head = Head(1, cluster.document.revision, bytes(32), cluster.document)
        good = pack(head, Membership(cluster.identity, cluster.sealer.keys), cluster.clock.seconds())
        line, _, rest = good.partition(b"\n")
        manifest = json.loads(line)
        before = self.state()
        cheap = {"n": 2, "r": 1, "p": 1}
        for key in (*manifest, "parts", "parts"):
            for value in chosen(key):
                forged = json.dumps({**manifest, key: value}).encode() + b"\n" + rest
                sealed = sealArchive(forged, b"correct horse", os.urandom, cheap)
                answer = self.restore(sealed)
                self.assertIn(answer.status, (200, 409, 422), (key, value, answer.body))
                self.assertEqual(self.state(), before, (key, value))
        for plain in (b"", b"\n", b"{}", b"[]\n", b"null\n", b"[" * 100_000, b"\xff\n" + rest, line, rest):
            answer = self.restore(sealArchive(plain, b"correct horse", os.urandom, cheap))
            self.assertEqual(answer.status, 409, (plain[:20], answer.body))
        cut = sealArchive(good, b"correct horse", os.urandom, cheap)
        for place in random.Random(26).sample(range(len(cut)), choose(10, 200)):
            flipped = cut[:place] + bytes([cut[place] ^ 4]) + cut[place + 1 :]
            self.assertEqual({self.restore(cut[:place]).status, self.restore(flipped).status}, {409}, place)
        self.assertEqual(self.state(), before)


def chosen(key: str) -> Iterator[Any]:
    """Values for a key of a backup's first line."""
    yield from (None, True, -1, 2**70, 10**400, 1e308, "", "\ud800", [], [[]], {}, [["document", 10**400, ""]])
    if key == "parts":
        yield from ([["document", -1, "x"]], [["a", "b", "c"]], [["document", 0, hashlib.sha256().hexdigest()]])


class Editor(threading.Thread):
    """Adds entries to one user's list, each on top of what is there, through one node.

    :ivar lost: how often it was told that somebody else was first.
    :ivar wrong: what it was told that it should not have been.
    """

    def __init__(self, node: NodeProcess, token: str, user: str, number: int, edits: int) -> None:
        super().__init__(daemon=True)
        self.node, self.token, self.path = node, token, f"/api/v1/users/{user}"
        self.mine = [f"10.{number}.{edit // 256}.{edit % 256}" for edit in range(edits)]
        self.lost, self.wrong, self.done = 0, list[Any](), 0

    def run(self) -> None:
        client = HTTPSConnection(self.node.address, 8444, timeout=30, context=unverified())
        try:
            current = self.ask(client, "GET")[1]
            for one in self.mine:
                while (current := self.edit(client, one, current)) is None or one not in current["deny"]:
                    current = current or self.ask(client, "GET")[1]
                self.done += 1
        except Exception as error:  # noqa: BLE001 - told by the test
            self.wrong.append(error)
        finally:
            client.close()

    def edit(self, client: HTTPSConnection, one: str, current: Any) -> Any:
        """What is there afterwards."""
        seen, deny = current["revision"], [*current["deny"], one]
        status, value = self.ask(client, "PATCH", {"deny": deny}, f'"{seen}"')
        if status == 200:
            return {"deny": deny, "revision": value["revision"]}
        self.lost += 1
        if status != 412 or value["current"]["revision"] <= seen:
            self.wrong.append((status, seen, value))
        return value.get("current")

    def ask(self, client: HTTPSConnection, method: str, body: Any = None, match: str = "") -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.token}", **({"If-Match": match} if match else {})}
        client.request(method, self.path, None if body is None else json.dumps(body), headers)
        answer = client.getresponse()
        return answer.status, json.loads(answer.read())


class RealTests(SynchronousTestCase):
    """The same of a real cluster."""

    def setUp(self) -> None:
        self.cluster = THREE.get()
        body = {"name": "faults", "scopes": ["full"], "admin": "admin"}
        self.token = self.cluster.primary.ask("POST", "tokens", body, wait=30)["token"]

    def test_editorsOfOneObjectLoseNothing(self) -> None:
        user, edits = "edited-by-many", choose(5, 500)
        self.cluster.primary.ask("PUT", f"users/{user}", {}, wait=30)
        nodes = list(self.cluster.nodes.values())
        editors = [Editor(nodes[number % 3], self.token, user, number, edits) for number in range(8)]
        for editor in editors:
            editor.start()
        for editor in editors:
            editor.join(choose(120, 3600))
        self.assertEqual([editor.wrong for editor in editors], [[]] * 8)
        self.assertEqual([editor.done for editor in editors], [edits] * 8)
        whole(self.cluster)
        made = {f"{one}" for editor in editors for one in editor.mine}
        for node in nodes:
            self.assertEqual(sorted(node.ask("GET", f"users/{user}")["deny"]), sorted(made))
        lost = sum(editor.lost for editor in editors)
        self.assertGreater(lost, 0)
        figure(f"8 editors x {edits} edits of one user through 3 nodes: none lost, {lost} times 412 with the newer one")
        self.cluster.primary.ask("DELETE", f"users/{user}", wait=30)

    def test_mutatedDocumentsLeaveAllNodesAlive(self) -> None:
        chance, node = random.Random(27), self.cluster.secondaries[0]
        processes = [each.process.pid for each in self.cluster.nodes.values()]
        before = node.export()
        sections = {name: OBJECTS[name] for name in ("users", "groups", "backends")}
        counted = {200: 0, 422: 0}
        for _ in range(choose(60, 1000)):
            with closing(node.connection()) as connection:
                connection.request("POST", "/api/v1/apply", mutated(chance, sections))
                status = connection.getresponse().status
            self.assertIn(status, counted)
            counted[status] += 1
        whole(self.cluster)
        for name in sections:
            for one in {each["name"] for each in node.export()[name]} - {each["name"] for each in before[name]}:
                node.ask("DELETE", f"{name}/{quote(one)}", wait=30)
        self.assertEqual([each.process.pid for each in self.cluster.nodes.values()], processes)
        self.assertEqual({each.health("/livez")[0] for each in self.cluster.nodes.values()}, {200})

    def test_whoIsAnAdministratorDoesNotShow(self) -> None:
        node, count = self.cluster.primary, choose(10, 100)

        def tried(number: int) -> tuple[str, float, bytes]:
            name = "admin" if number % 2 else "nobody"
            source = f"127.55.{number // 200}.{number % 200 + 1}"
            client = HTTPSConnection(node.address, 8444, timeout=30, context=unverified(), source_address=(source, 0))
            with closing(client):
                client.connect()
                begun = time.monotonic()
                client.request("POST", "/api/v1/login", json.dumps({"name": name, "password": "wrong"}))
                answer = client.getresponse()
                said = answer.read()
                return name, time.monotonic() - begun, b"%d %s" % (answer.status, said)

        with ThreadPoolExecutor(10) as pool:
            tries = list(pool.map(tried, range(2 * count)))
        self.assertEqual(len({said for _, _, said in tries}), 1, {said for _, _, said in tries})
        known, unknown = (statistics.median(s for name, s, _ in tries if name == n) for n in ("admin", "nobody"))
        figure(f"a wrong password of an administrator: {known:.3f} s; of nobody: {unknown:.3f} s (medians of {count})")
        self.assertLess(abs(known - unknown), choose(0.5, 0.1) * unknown)
