"""Whether a change makes sense in its document; who made it, and what runs, is not known here."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..vocabulary import Problem
from .changes import Change
from .document import Document

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


def problems(document: Document, change: Change, kinds: Mapping[str, Mapping[str, type]]) -> list[Problem]:
    return []
