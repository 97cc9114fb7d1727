"""The nodes of a file system in memory, and how names lead to them.

It knows no sessions and no permissions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from attrs import Factory, define

from ..errors import AlreadyExists, FolderNotEmpty, IsAFolder, NotAFolder, NotFound, PathEscapes
from ..vocabulary import Attributes, Kind, Stat, VirtualPath

LINKS_LIMIT = 40
"""Links followed for one path, as on Linux."""


@define(eq=False)
class File:
    """:ivar writer: whether an upload to it is open; :ivar version: counts its changes."""

    number: int
    modified: float
    accessed: float
    mode: int = 0o640
    data: bytearray = Factory(bytearray)
    links: int = 1
    writer: bool = False
    version: int = 0

    def stat(self) -> Stat:
        identity = f"{self.number:x}-{self.version:x}"
        size = len(self.data)
        return Stat(Kind.file, size, self.modified, self.accessed, self.mode, self.links, identity)

    def resize(self, size: int, now: float) -> None:
        if size < len(self.data):
            del self.data[size:]
        else:
            self.data.extend(bytes(size - len(self.data)))
        self.touch(now)

    def touch(self, now: float) -> None:
        self.modified = now
        self.version += 1


@define(eq=False)
class Folder:
    """:ivar partials: uncommitted new files by (owner, name); :ivar writers: number of uploads open in it."""

    modified: float
    accessed: float
    mode: int = 0o750
    children: dict[str, Node] = Factory(dict)
    partials: dict[tuple[str, str], File] = Factory(dict)
    writers: int = 0

    def stat(self) -> Stat:
        return Stat(Kind.folder, 0, self.modified, self.accessed, self.mode, 2)

    def files(self) -> Iterator[File]:
        """Every file in it and beneath, once for each of its names, partials too."""
        yield from self.partials.values()
        for child in self.children.values():
            if isinstance(child, File):
                yield child
            elif isinstance(child, Folder):
                yield from child.files()


@define(eq=False)
class Link:
    """:ivar text: where it leads, relative to its folder."""

    text: str
    modified: float

    def stat(self) -> Stat:
        return Stat(Kind.link, len(self.text), self.modified, self.modified, 0o777)


Node: TypeAlias = File | Folder | Link


@define
class Place:
    """Where a path leads; ``node`` is ``None`` where nothing has this name yet."""

    folder: Folder
    name: str
    node: Node | None


def locate(root: Folder, path: VirtualPath, follow: bool) -> Place:
    """Walk from ``root``, through links as long as they stay beneath it; with ``follow`` through the last name too."""
    pending = list(reversed(path))
    stack = [root]
    links = 0
    while pending:
        name = pending.pop()
        if name == "..":
            if len(stack) == 1:
                raise PathEscapes
            stack.pop()
            continue
        if name in {"", "."}:
            continue
        node = stack[-1].children.get(name)
        if isinstance(node, Link) and (pending or follow):
            links += 1
            if links > LINKS_LIMIT:
                raise NotFound("too many links")
            if node.text.startswith("/"):
                raise PathEscapes
            pending.extend(reversed(node.text.split("/")))
        elif not any(rest not in {"", "."} for rest in pending):
            return Place(stack[-1], name, node)
        elif node is None:
            raise NotFound
        elif not isinstance(node, Folder):
            raise NotAFolder
        else:
            stack.append(node)
    return Place(stack[-2] if len(stack) > 1 else root, "", stack[-1])


def put(place: Place, node: Node, now: float) -> None:
    """Give ``node`` this place, in place of what was there."""
    unlink(place)
    place.folder.children[place.name] = node
    place.folder.modified = now


def unlink(place: Place) -> None:
    old = place.folder.children.pop(place.name, None)
    if isinstance(old, File):
        old.links -= 1


def checkReplace(node: Node, target: Node | None, overwrite: bool) -> None:
    """Raise unless a rename may put ``node`` where ``target`` is."""
    if target is None:
        return
    if not overwrite:
        raise AlreadyExists
    if isinstance(target, Folder):
        if not isinstance(node, Folder):
            raise IsAFolder
        if target.children or target.writers or target.partials:
            raise FolderNotEmpty
    elif isinstance(node, Folder):
        raise NotAFolder


def setAttributes(node: Node, attributes: Attributes, now: float, reserve: Callable[[int], None]) -> None:
    """As :meth:`~cftpcluster.interfaces.IFileSystem.setAttributes`; ``reserve`` checks room for so many more bytes."""
    if isinstance(node, Link):
        raise NotFound
    if attributes.size is not None:
        if not isinstance(node, File):
            raise IsAFolder
        reserve(attributes.size - len(node.data))
        node.resize(attributes.size, now)
    if attributes.mode is not None:
        node.mode = attributes.mode & 0o777
    if attributes.accessed is not None:
        node.accessed = attributes.accessed
    if attributes.modified is not None:
        node.modified = attributes.modified
