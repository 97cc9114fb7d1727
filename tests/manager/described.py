"""Holds requests and answers of the administration to its own description."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import attrs
from jsonschema import Draft202012Validator

from cftpcluster.components import Components
from cftpcluster.manager import Administration
from cftpcluster.manager._openapi import openAPI
from cftpcluster.manager._routes import Routes
from cftpcluster.manager.access import AdministratorAccess
from cftpcluster.manager.api import administrationRoutes
from cftpcluster.node import NODE_KINDS
from cftpcluster.testing.http import Answer


@cache
def table() -> Routes:
    """Every route there is, for a node that does nothing."""
    nothing: Any = None
    administration = Administration(**{each.name: nothing for each in attrs.fields(Administration)})
    access = AdministratorAccess(*(nothing for each in attrs.fields(AdministratorAccess) if each.init))
    return administrationRoutes(administration, access)


@cache
def description() -> Mapping[str, Any]:
    """The OpenAPI document."""
    kinds = Components.gather().kinds
    return openAPI(table().known, {**kinds, "listeners": {**kinds["listeners"], **NODE_KINDS}})


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """What paths look like, those without variables first."""
    templates = sorted(description()["paths"], key=lambda template: (template.count("{"), template))
    # A network, with its slash, is the one variable that goes on.
    return [(re.compile(re.sub(r"\\{(\w+)\\}", _variable, re.escape(one))), one) for one in templates]


def _variable(match: re.Match[str]) -> str:
    return ".+" if match[1] == "network" else "[^/]+"


@cache
def validator(schema: str) -> Any:
    """Of a schema by its JSON text."""
    return Draft202012Validator({**json.loads(schema), "components": description()["components"]})


def _validator(schema: Any) -> Any:
    return validator(json.dumps(schema))


def operationOf(method: str, target: str) -> Mapping[str, Any] | None:
    """What the description says of a request; ``None`` where there is no such route."""
    path = target.partition("?")[0]
    for pattern, template in _patterns():
        operation: Mapping[str, Any] | None = description()["paths"][template].get(method.lower())
        if operation is not None and pattern.fullmatch(path):
            return operation
    return None


def misfits(method: str, target: str, answer: Answer) -> list[str]:
    """What in an answer the description does not say."""
    operation = operationOf(method, target)
    if operation is None:
        return [] if answer.status in (404, 405) else [f"{answer.status} where there is no route"]
    said = operation["responses"].get(str(answer.status), operation["responses"]["default"])
    contentType = (answer.headers.get("Content-Type") or "").partition(";")[0]
    if "content" not in said:
        return [] if not answer.body else [f"{answer.status} with a body"]
    if contentType not in said["content"]:
        return [f"{answer.status} as {contentType}, not as {', '.join(said['content'])}"]
    if contentType not in ("application/json", "application/problem+json") or method == "HEAD":
        return []
    found = _validator(said["content"][contentType]["schema"]).iter_errors(answer.json)
    return [f"{answer.status}: {one.json_path}: {one.message}" for one in found]


def exampleFaults() -> list[str]:
    """Examples of the description that are not what it says."""
    found = []
    for path, methods in description()["paths"].items():
        for method, operation in methods.items():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                if "example" in content:
                    errors = _validator(content["schema"]).iter_errors(content["example"])
                    found += [f"{method} {path}: {one.json_path}: {one.message}" for one in errors]
    return found
