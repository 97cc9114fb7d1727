"""What lists of a section can be asked for besides a text in the name: which users are in a group, may log in, or have
a mount on a backend.

Where the objects come from, and how they are paged, is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..servers.http import HTTPProblem
from ._bodies import queryText
from ._routes import Parameter

Fits = Callable[[Any], bool]

_GROUP = Parameter("group", "Only those in this group.")
_ENABLED = Parameter("enabled", "Only those that may log in, or that may not.", {"type": "boolean"})
_BACKEND = Parameter("backend", "Only those that have a mount of their own on this backend.")

FILTERS: Mapping[str, tuple[Parameter, ...]] = {
    "users": (_GROUP, _ENABLED, _BACKEND),
    "groups": (_BACKEND,),
}
"""The parameters of a section's list, by section."""


def filterOf(section: str, request: Any) -> Fits | None:
    """Tells of an object whether it is asked for; ``None`` where all are."""
    given = ((each.name, queryText(request, each.name)) for each in FILTERS.get(section, ()))
    wanted = [_fits(name, value) for name, value in given if value is not None]
    return (lambda one: all(fits(one) for fits in wanted)) if wanted else None


def _fits(name: str, value: str) -> Fits:
    if name == "group":
        return lambda user: value in user.groups
    if name == "backend":
        return lambda one: any(mount.backend == value for mount in one.mounts)
    if value not in {"true", "false"}:
        raise HTTPProblem(400, f"{name}: expected true or false")
    return lambda user: user.enabled == (value == "true")
