"""The API's description is whole, true and well-formed, and its page shows text as text."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files

from jsonschema import Draft202012Validator

from cftpcluster.config.document import Role
from cftpcluster.manager._openapi import marked, rendered

from .described import description, exampleFaults, table
from .support import AdministrationTestCase


class DescriptionTests(AdministrationTestCase):
    def test_everyRouteIsInIt(self) -> None:
        told = {(method.upper(), path) for path, methods in description()["paths"].items() for method in methods}
        served = set()
        for rule in table().app.url_map.iter_rules():
            path = re.sub(r"<(?:[^<>:]+:)?(\w+)>", r"{\1}", rule.rule)
            served |= {(method, path) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
        self.assertEqual(told, served)
        self.assertGreater(len(told), 80)

    def test_schemasAreSchemas(self) -> None:
        schemas = description()["components"]["schemas"]
        for schema in schemas.values():
            Draft202012Validator.check_schema(schema)
        named = set(re.findall(r"#/components/schemas/(\w+)", str(description())))
        self.assertEqual(named - set(schemas), set())

    def test_examplesAreWhatTheySay(self) -> None:
        self.assertEqual(exampleFaults(), [])

    def test_operationsHaveNamesOfTheirOwnAndRoles(self) -> None:
        operations = [one for methods in description()["paths"].values() for one in methods.values()]
        names = [one["operationId"] for one in operations]
        self.assertEqual(len(names), len(set(names)))
        for one in operations:
            self.assertTrue(one["summary"].endswith("."), one["summary"])
            self.assertIn(one.get("x-role"), [None, *(role.value for role in Role)])
            if "x-role" not in one:
                self.assertEqual(one["security"], [])

    def test_everyKeyIsExplained(self) -> None:
        for name in ("UserWritten", "GroupWritten", "AdminWritten", "Settings", "Mount", "NodeWritten"):
            for key, schema in description()["components"]["schemas"][name]["properties"].items():
                self.assertTrue(key == "name" or "$ref" in schema or schema.get("description"), f"{name}.{key}")

    def test_whatIsServedIsTheDescription(self) -> None:
        self.client = self.cluster.connect()
        answer = self.ask("GET", "openapi.json").json
        self.assertEqual(answer["paths"].keys(), description()["paths"].keys())
        self.assertEqual(answer["openapi"], "3.1.0")


class PageTests(AdministrationTestCase):
    def test_pageLoadsNothing(self) -> None:
        self.client = self.cluster.connect()
        answer = self.ask("GET", "docs")
        page = answer.body.decode()
        style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
        assert style is not None
        digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
        policy = answer.headers["Content-Security-Policy"]
        self.assertIn(f"style-src 'sha256-{digest}'", policy)
        self.assertIn("default-src 'none'", policy)
        self.assertEqual(re.findall(r"<script|<link|<img|<iframe| style=| on\w+=", page), [])
        self.assertEqual(set(re.findall(r'href="([^#"][^"]*)"', page)), {"/api/v1/openapi.json"})

    def test_everythingIsShown(self) -> None:
        page = self.ask("GET", "docs").body.decode()
        anchors = set(re.findall(r' id="([^"]+)"', page))
        self.assertEqual(set(re.findall(r'href="#([^"]+)"', page)) - anchors, set())
        for methods in description()["paths"].values():
            for operation in methods.values():
                if operation["tags"] != ["log-in"]:
                    self.assertIn(operation["operationId"], anchors)

    def test_whatLooksLikeMarkupIsText(self) -> None:
        evil = "<script>alert(1)</script>"
        schema = {"properties": {evil: {"enum": [evil], "description": f"`{evil}`", "default": evil}}}
        document = {
            "info": {"title": evil, "description": evil},
            "tags": [{"name": "t"}],
            "paths": {f"/{evil}": {"get": {"operationId": "o", "summary": evil, "tags": ["t"], "responses": {}}}},
            "components": {"schemas": {"S": schema}},
        }
        template = files("cftpcluster.manager").joinpath("docs.html").read_text("utf-8")
        self.assertNotIn("<script", rendered(template, "", document))
        self.assertEqual(marked("a `<b>` c"), "a <code>&lt;b&gt;</code> c")
