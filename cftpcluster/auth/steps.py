"""What a user has to prove before it is let in, and how far a client has come. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from ..config.document import Document, User

PASSWORD = "password"
INTERACTIVE = "keyboard-interactive"
PUBLIC_KEY = "publickey"
CERTIFICATE = "certificate"


@frozen
class Proof:
    """What a client has proven on one connection. The portal alone makes it; it is no good anywhere else.

    :ivar name: as whom.
    :ivar methods: by what, in order; none at the beginning.
    :ivar revision: of the document when it began.
    """

    name: str = ""
    methods: tuple[str, ...] = ()
    revision: int = 0


def wanted(document: Document, user: User) -> Sequence[tuple[str, ...]]:
    """The lists of methods of which one has to be gone through; none where any one method will do."""
    lists = user.authentication
    if not lists:
        groups = (document.groups.get(name) for name in user.groups)
        lists = next((group.authentication for group in groups if group is not None and group.authentication), ())
    return [tuple(method.value for method in each) for each in lists]


def mayFollow(lists: Sequence[tuple[str, ...]], methods: tuple[str, ...]) -> Sequence[str]:
    """What may be proven next; nothing where ``methods`` are the beginning of no list."""
    length = len(methods)
    return list(dict.fromkeys(each[length] for each in lists if len(each) > length and each[:length] == methods))


def suffice(lists: Sequence[tuple[str, ...]], methods: Sequence[str]) -> bool:
    """Whether whoever has proven ``methods`` is let in."""
    return bool(methods) and (not lists or any(set(each) <= set(methods) for each in lists))
