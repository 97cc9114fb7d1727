"""Gives the cluster other keys: seals its secrets anew, and hands each node the new key so that only it can read it.

Pure values; who asks for it, and how a change becomes durable, is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from attrs import evolve, fields

from ..config.document import Document, Named, Secret
from .sealing import Sealer

N = TypeVar("N", bound=Named)


def secretsOf(value: Named) -> dict[str, Secret]:
    """The sealed attributes of an object, by name."""
    named = {one.name: getattr(value, one.name) for one in fields(type(value))}
    return {name: secret for name, secret in named.items() if isinstance(secret, Secret)}


def sealedObjects(document: Document) -> Iterator[tuple[str, Named]]:
    """Every object that holds a secret, with its section."""
    for section, objects in sorted(document.sections.items()):
        for _, value in sorted(objects.items()):
            if secretsOf(value):
                yield section, value


def resealed(value: N, opening: Sealer, sealing: Sealer) -> N:
    """The object with its secrets sealed anew; ``CannotOpen``."""
    sealed: dict[str, Any] = {name: sealing.seal(opening.open(secret)) for name, secret in secretsOf(value).items()}
    return evolve(value, **sealed)
