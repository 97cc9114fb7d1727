"""What the objects of a document have in common: a name, and options that their kind decides about.

What kinds of objects there are is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from attrs import Factory, field, frozen

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
"""What every name in a document must match, whole; names are case-sensitive."""

Options: TypeAlias = Mapping[str, Any]
"""Plain JSON values by key; never changed in place."""


@frozen
class Secret:
    """Key material, sealed with the cluster key (see :mod:`cftpcluster.cluster.sealing`); its repr hides it."""

    sealed: bytes = field(repr=False)


@frozen(kw_only=True)
class Named:
    """What every object of a section has.

    :ivar name: names the object within its section.
    :ivar revision: the revision of its last change; never part of what an administrator writes.
    :ivar extra: keys that this version does not know, kept as they came.
    """

    name: str
    revision: int = 0
    extra: Options = Factory(dict)


@frozen(kw_only=True)
class Component(Named):
    """An object that a plug-in's factory of the same ``kind`` builds from ``options``.

    :ivar kind: what it is; decides which options it has.
    :ivar options: those of its kind, written beside its other keys.
    """

    kind: str
    options: Options = Factory(dict)
