"""The part of the file systems' contract that is about what they hold. It knows no implementation."""

from __future__ import annotations

from ..errors import NotFound
from ..files.wrappers import ability
from ..interfaces import ILinks, IUsageReport
from ..vocabulary import Held, OpenMode, Usage
from ._contract import Contract, write


class UsageContract(Contract):
    """What is held, of file systems that can tell."""

    async def test_usageIsThatOfAllFilesEachOnce(self) -> None:
        files = self.makeSession()
        report = ability(IUsageReport, files)
        if report is None:
            return
        await files.makeDirectory(("d",))
        await write(files, "/d/f", b"12345")
        await write(files, "/g", b"123")
        if (links := ability(ILinks, files)) is not None:
            await links.makeHardLink(("h",), ("g",))
        self.assertTrue(await self.broken(files, "/p", b"12"))
        self.assertEqual(await report.usage(()), Usage(10, 3))
        self.assertEqual(await report.usage(("d",)), Usage(5, 1))
        await self.refused(NotFound, report.usage(("none",)))

    async def test_heldIsWhatOthersSeeAndWhatIsKept(self) -> None:
        files = self.makeSession()
        report = ability(IUsageReport, files)
        if report is None:
            return
        await write(files, "/f", b"123")
        replacing = await self.open(files, "/f", OpenMode.replace, b"12345")
        held = await report.held(("f",), True)
        self.assertEqual((held.committed and held.committed.size, held.partial), (3, None))
        await replacing.abort(keep=False)
        self.assertTrue(await self.broken(files, "/p", b"12"))
        held = await report.held(("p",), False)
        self.assertEqual((held.committed, held.partial and held.partial.size), (None, 2))
        self.assertEqual(await report.held(("none",), False), Held())
