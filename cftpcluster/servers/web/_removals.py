"""Folders removed with all that is in them, entry by entry: each as if it had been removed by itself.

Links go, never what they lead to. What may not be removed stays, and the folders it lies in.
"""

from __future__ import annotations

from attrs import Factory, define

from ...errors import FileSystemError, FolderNotEmpty, NotFound
from ...files.paths import render
from ...interfaces import IFileSystem
from ...vocabulary import Kind, VirtualPath

MOST_TOLD = 20


@define(eq=False)
class Removal:
    """:ivar removed: how many entries are gone.
    :ivar errors: why the first ones are not, each with its path.
    :ivar failed: how many could not be removed.
    """

    _files: IFileSystem
    removed: int = 0
    failed: int = 0
    errors: list[tuple[VirtualPath, FileSystemError]] = Factory(list)

    async def remove(self, top: VirtualPath) -> None:
        """Remove a folder. Fails where it is none, or cannot be read."""
        # each folder twice: to be emptied, then to be removed
        pending: list[tuple[VirtualPath, bool]] = [(top, False)]
        while pending:
            path, isEmptied = pending.pop()
            if isEmptied:
                await self._end(path, isFolder=True)
                continue
            pending.append((path, True))
            try:
                pending += [(folder, False) for folder in await self._empty(path)]
            except FileSystemError as error:
                if path == top and not self.removed:
                    raise
                self._fail(path, error)

    async def _empty(self, folder: VirtualPath) -> list[VirtualPath]:
        """Remove what is no folder; answers with the folders."""
        folders = []
        listing = await self._files.list(folder)
        try:
            while batch := await listing.next():
                for entry in batch:
                    path = (*folder, entry.name)
                    if entry.stat.kind is Kind.folder and not entry.link:
                        folders.append(path)
                    else:
                        await self._end(path, isFolder=False)
        finally:
            listing.close()
        return folders

    async def _end(self, path: VirtualPath, isFolder: bool) -> None:
        try:
            await (self._files.removeDirectory(path) if isFolder else self._files.remove(path))
        except NotFound:
            # somebody else was faster
            return
        except FolderNotEmpty as error:
            if not self.failed:
                self._fail(path, error)
        except FileSystemError as error:
            self._fail(path, error)
        else:
            self.removed += 1

    def _fail(self, path: VirtualPath, error: FileSystemError) -> None:
        self.failed += 1
        if len(self.errors) < MOST_TOLD:
            self.errors.append((path, error))

    def told(self) -> list[tuple[str, str]]:
        """The paths that stayed, and why."""
        return [(render(path), str(error)) for path, error in self.errors]
