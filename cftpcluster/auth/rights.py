"""What a user reaches by the document, and whether that became less. It builds nothing; see :mod:`.tree`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from attrs import evolve, frozen

from ..config.document import Backend, Document, Mount, User
from ..networks import AddressRule, Networks
from ..vocabulary import Permission

Rights: TypeAlias = "Mapping[tuple[str, ...], Reach]"
"""By the names of the path where it is mounted."""


@frozen
class Reach:
    """What is at one mount.

    :ivar storage: the backend as it is set up, whenever that was written; ``None`` where there is none of that name.
    """

    storage: Backend | None
    folder: str
    permissions: frozenset[Permission]

    def covers(self, other: Reach) -> bool:
        """Whether this is the same place with at least the permissions of ``other``."""
        return (self.storage, self.folder) == (other.storage, other.folder) and self.permissions >= other.permissions


def mountsOf(document: Document, user: User) -> Iterator[Mount]:
    """Of two at the same path the first counts: the user's own, then the groups' in their order."""
    yield from user.mounts
    for name in user.groups:
        if group := document.groups.get(name):
            yield from group.mounts


def rightsOf(document: Document, user: User) -> Rights:
    """What a session that begins now reaches."""
    rights: dict[tuple[str, ...], Reach] = {}
    for mount in mountsOf(document, user):
        path = tuple(name for name in mount.path.split("/") if name)
        if path not in rights:
            backend = document.backends.get(mount.backend)
            storage = evolve(backend, revision=0) if backend is not None else None
            rights[path] = Reach(storage, mount.folder, mount.permissions)
    return rights


def isLess(now: Rights, before: Rights) -> bool:
    """Whether something that could be done before cannot be done now.

    A mount that came to lie within another takes its place there, so it is less where it permits less.
    """
    if any(path not in now or not now[path].covers(reach) for path, reach in before.items()):
        return True
    for path in now.keys() - before.keys():
        around = max((each for each in before if path[: len(each)] == each), key=len, default=None)
        if around is not None and not now[path].permissions >= before[around].permissions:
            return True
    return False


def rulesOf(document: Document, user: User) -> Iterator[tuple[str, AddressRule]]:
    """The rules of networks that a log-in of the user has to pass, all of them, each with whose it is."""
    settings = document.settings
    lists = [("settings", settings.allow, settings.deny), ("user", user.allow, user.deny)]
    lists += [
        (f"group {name}", group.allow, group.deny) for name in user.groups if (group := document.groups.get(name))
    ]
    for whose, allow, deny in lists:
        if allow or deny:
            yield whose, AddressRule(Networks.parse(allow), Networks.parse(deny))
