"""Tests of what SFTP's requests do to files."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ssh.operations import namesLinksFirst
from cftpcluster.servers.ssh.packets import (
    ATTRS,
    BAD_MESSAGE,
    CLOSE,
    EOF,
    EXTENDED_REPLY,
    FAILURE,
    FLAG_APPEND,
    FLAG_CREATE,
    FLAG_EXCLUSIVE,
    FLAG_READ,
    FLAG_TRUNCATE,
    FLAG_WRITE,
    FSETSTAT,
    FSTAT,
    HANDLE,
    HAS_MODE,
    HAS_OWNER,
    HAS_SIZE,
    HAS_TIMES,
    LONGEST_NAMES,
    LSTAT,
    MKDIR,
    NAME,
    NAMES_LIMIT,
    NO_SUCH_FILE,
    OK,
    OP_UNSUPPORTED,
    OPEN,
    OPENDIR,
    PERMISSION_DENIED,
    READ,
    READDIR,
    READLINK,
    REALPATH,
    REMOVE,
    RENAME,
    RMDIR,
    SETSTAT,
    STAT,
    SYMLINK,
    WRITE,
)
from cftpcluster.servers.ssh.wire import string, uint32, uint64

from .peers import Reply, SFTPPeer

NEW = FLAG_WRITE | FLAG_CREATE | FLAG_TRUNCATE


class OperationsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.peer = SFTPPeer.inMemory()

    def statOf(self, reply: Reply) -> tuple[int, int]:
        """Size, and type with permissions."""
        self.assertEqual(reply.type, ATTRS)
        _, size, _, _, mode, _, _ = struct.unpack(">IQIIIII", reply.body.rest())
        return size, mode

    def sizeOf(self, path: bytes) -> int:
        return self.statOf(self.peer.ask(STAT, string(path)))[0]

    def other(self) -> SFTPPeer:
        """A session of another user of the same storage."""
        return SFTPPeer.of(self.peer.backend, self.peer.clock, "bob")

    def again(self) -> SFTPPeer:
        """Another session of the same user."""
        return SFTPPeer.of(self.peer.backend, self.peer.clock, "alice")

    def leave(self, peer: SFTPPeer) -> None:
        """The connection is lost."""
        self.successResultOf(peer.server.channelClosed())


class OpenTests(OperationsTestCase):
    def test_uploadIsThereWhenItIsClosed(self) -> None:
        handle = self.peer.opened(b"/f", NEW)
        self.assertEqual(self.peer.write(handle, 0, b"data"), OK)
        self.assertEqual(self.other().get(b"/f"), NO_SUCH_FILE)
        self.assertEqual(self.peer.close(handle), OK)
        self.assertEqual(self.other().get(b"/f"), b"data")

    def test_replacementIsSeenWholeOrNotAtAll(self) -> None:
        self.peer.put(b"/f", b"old")
        handle = self.peer.opened(b"/f", NEW)
        self.peer.write(handle, 0, b"new data")
        self.assertEqual(self.other().get(b"/f"), b"old")
        self.peer.close(handle)
        self.assertEqual(self.other().get(b"/f"), b"new data")

    def test_lostConnectionLeavesTheOldFile(self) -> None:
        self.peer.put(b"/f", b"old")
        self.peer.write(self.peer.opened(b"/f", NEW), 0, b"new")
        self.leave(self.peer)
        self.assertEqual(self.again().get(b"/f"), b"old")

    def test_brokenUploadIsContinuedByItsOwner(self) -> None:
        self.peer.write(self.peer.opened(b"/f", NEW), 0, b"first ")
        self.leave(self.peer)
        again = self.again()
        self.assertEqual(self.statOf(again.ask(STAT, string(b"/f")))[0], 6)
        handle = again.opened(b"/f", FLAG_WRITE | FLAG_CREATE)
        again.write(handle, 6, b"second")
        self.assertEqual(again.close(handle), OK)
        self.assertEqual(again.get(b"/f"), b"first second")

    def test_someResumeWithoutAskingToCreate(self) -> None:
        self.peer.write(self.peer.opened(b"/f", NEW), 0, b"first ")
        self.leave(self.peer)
        again = self.again()
        handle = again.opened(b"/f", FLAG_WRITE)
        again.write(handle, 6, b"second")
        self.assertEqual(again.close(handle), OK)
        self.assertEqual(again.get(b"/f"), b"first second")

    def test_truncatingOpenDiscardsThePartial(self) -> None:
        self.peer.write(self.peer.opened(b"/f", NEW), 0, b"first ")
        self.leave(self.peer)
        again = self.again()
        again.put(b"/f", b"x")
        self.assertEqual(again.get(b"/f"), b"x")

    def test_appendingToABrokenUploadContinuesIt(self) -> None:
        self.peer.write(self.peer.opened(b"/f", NEW), 0, b"first ")
        self.leave(self.peer)
        again = self.again()
        handle = again.opened(b"/f", FLAG_WRITE | FLAG_CREATE | FLAG_APPEND)
        again.write(handle, 0, b"second")
        again.close(handle)
        self.assertEqual(again.get(b"/f"), b"first second")

    def test_existingFileIsChangedInPlace(self) -> None:
        self.peer.put(b"/f", b"0123456789")
        for flags in (FLAG_WRITE, FLAG_WRITE | FLAG_CREATE, FLAG_READ | FLAG_WRITE):
            handle = self.peer.opened(b"/f", flags)
            self.assertEqual(self.peer.write(handle, 2, b"ab"), OK)
            self.assertEqual(self.other().get(b"/f"), b"01ab456789")
            self.peer.close(handle)

    def test_appendingGoesToTheEndWhateverTheOffset(self) -> None:
        self.peer.put(b"/f", b"0123")
        handle = self.peer.opened(b"/f", FLAG_WRITE | FLAG_APPEND)
        self.peer.write(handle, 0, b"45")
        self.peer.write(handle, 1, b"67")
        self.peer.close(handle)
        self.assertEqual(self.peer.get(b"/f"), b"01234567")

    def test_exclusiveCreationFailsWhereAFileIs(self) -> None:
        self.peer.put(b"/f", b"old")
        self.assertEqual(self.peer.openCode(b"/f", FLAG_WRITE | FLAG_CREATE | FLAG_EXCLUSIVE), FAILURE)
        handle = self.peer.opened(b"/g", FLAG_WRITE | FLAG_CREATE | FLAG_EXCLUSIVE)
        self.assertEqual(self.peer.close(handle), OK)

    def test_missingFilesAreNotMadeUnasked(self) -> None:
        for flags in (0, FLAG_READ, FLAG_WRITE, FLAG_READ | FLAG_WRITE, FLAG_WRITE | FLAG_TRUNCATE):
            self.assertEqual(self.peer.openCode(b"/f", flags), NO_SUCH_FILE)
        self.assertEqual(self.peer.get(b"/f"), NO_SUCH_FILE)

    def test_readingMayCreate(self) -> None:
        handle = self.peer.opened(b"/f", FLAG_READ | FLAG_CREATE)
        self.assertEqual(self.peer.read(handle, 0, 10), EOF)
        self.assertEqual(self.other().get(b"/f"), b"")

    def test_foldersAreNotOpened(self) -> None:
        self.peer.code(MKDIR, string(b"/d"), uint32(0))
        for flags in (FLAG_READ, NEW, FLAG_WRITE | FLAG_TRUNCATE, FLAG_WRITE):
            self.assertEqual(self.peer.openCode(b"/d", flags), FAILURE)

    def test_handlesDoOnlyWhatTheyWereOpenedFor(self) -> None:
        self.peer.put(b"/f", b"data")
        reading, writing = self.peer.opened(b"/f", FLAG_READ), self.peer.opened(b"/f", FLAG_WRITE)
        self.assertEqual(self.peer.write(reading, 0, b"x"), PERMISSION_DENIED)
        self.assertEqual(self.peer.read(writing, 0, 1), PERMISSION_DENIED)

    def test_uploadsCanBeReadBackWhereThatWasAskedFor(self) -> None:
        handle = self.peer.opened(b"/f", NEW | FLAG_READ)
        self.peer.write(handle, 0, b"data")
        self.assertEqual(self.peer.read(handle, 1, 2), b"at")

    def test_closedHandlesAreGone(self) -> None:
        handle = self.peer.opened(b"/f", NEW)
        self.assertEqual(self.peer.close(handle), OK)
        self.assertEqual(self.peer.close(handle), FAILURE)
        self.assertEqual(self.peer.write(handle, 0, b"x"), FAILURE)

    def test_handlesAreCounted(self) -> None:
        self.peer.put(b"/f", b"data")
        handles = [self.peer.opened(b"/f", FLAG_READ) for _ in range(256)]
        self.assertEqual(len(set(handles)), 256)
        self.assertEqual(self.peer.openCode(b"/f", FLAG_READ), FAILURE)
        self.peer.close(handles[0])
        self.peer.opened(b"/f", FLAG_READ)

    def test_uploadThatDidNotFitIsNotStored(self) -> None:
        self.peer.backend.capacityBytes = 100
        handle = self.peer.opened(b"/f", NEW)
        self.assertEqual(self.peer.write(handle, 0, b"x" * 60), OK)
        self.assertEqual(self.peer.write(handle, 60, b"x" * 60), FAILURE)
        self.assertEqual(self.peer.close(handle), FAILURE)
        self.assertEqual(self.peer.get(b"/f"), NO_SUCH_FILE)

    def test_handlesThatAppendDoSoAfterEachOther(self) -> None:
        for flags in (FLAG_WRITE | FLAG_APPEND | FLAG_CREATE, FLAG_WRITE | FLAG_APPEND):
            first, second = self.peer.opened(b"/log", flags), self.peer.opened(b"/log", flags)
            for handle, data in ((first, b"1"), (second, b"22"), (first, b"3"), (second, b"4")):
                self.assertEqual(self.peer.write(handle, 0, data), OK)
            self.assertEqual((self.peer.close(first), self.peer.close(second)), (OK, OK))
        self.assertEqual(self.peer.get(b"/log"), b"1223412234")

    def modeOf(self, path: bytes, mode: int, flags: int = NEW) -> int:
        """Of a file opened with this mode."""
        reply = self.peer.ask(OPEN, string(path), uint32(flags), uint32(HAS_MODE), uint32(mode))
        self.assertEqual(self.peer.close(reply.body.string()), OK)
        return self.statOf(self.peer.ask(STAT, string(path)))[1] & 0o777

    def test_aNewProgramStaysOne(self) -> None:
        self.assertEqual(self.modeOf(b"/plain", 0o100600), 0o640)
        self.assertEqual(self.modeOf(b"/program", 0o100755), 0o750)
        self.assertEqual(self.modeOf(b"/own", 0o100700, FLAG_WRITE | FLAG_CREATE | FLAG_EXCLUSIVE), 0o740)
        self.assertEqual(self.modeOf(b"/plain", 0o100755), 0o640)


class ReadTests(OperationsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.peer.put(b"/f", b"0123456789")
        self.handle = self.peer.opened(b"/f", FLAG_READ)

    def test_partsAndTheEnd(self) -> None:
        self.assertEqual(self.peer.read(self.handle, 2, 3), b"234")
        self.assertEqual(self.peer.read(self.handle, 8, 100), b"89")
        self.assertEqual(self.peer.read(self.handle, 10, 1), EOF)

    def test_offsetsBeyondEverythingAreTheEnd(self) -> None:
        for offset in (2**63 - 1, 2**63, 2**64 - 1):
            self.assertEqual(self.peer.read(self.handle, offset, 2**32 - 1), EOF)

    def test_lengthsAreBounded(self) -> None:
        big = self.peer.opened(b"/big", NEW | FLAG_READ)
        for at in range(3):
            self.peer.write(big, at << 18, bytes(1 << 18))
        data = self.peer.read(big, 0, 2**32 - 1)
        assert isinstance(data, bytes)
        self.assertEqual(len(data), 256 * 1024)

    def test_writesBeyondEverythingAreRefused(self) -> None:
        handle = self.peer.opened(b"/g", NEW)
        self.assertEqual(self.peer.write(handle, 2**64 - 1, b"x"), FAILURE)

    def test_trailingBytesAreNobodysBusiness(self) -> None:
        handle = self.peer.opened(b"/g", NEW)
        self.assertEqual(self.peer.code(WRITE, string(handle), uint64(0), string(b"data"), b"pad"), OK)
        self.assertEqual(self.peer.code(CLOSE, string(handle), b"pad"), OK)
        self.assertEqual(self.peer.get(b"/g"), b"data")


class AttributeTests(OperationsTestCase):
    def test_statTellsTypeSizeAndMode(self) -> None:
        self.peer.put(b"/f", b"data")
        self.peer.code(MKDIR, string(b"/d"), uint32(0))
        for request in (STAT, LSTAT):
            size, mode = self.statOf(self.peer.ask(request, string(b"/f")))
            self.assertEqual((size, mode & 0o170000), (4, 0o100000))
            self.assertEqual(self.statOf(self.peer.ask(request, string(b"/d")))[1] & 0o170000, 0o040000)
            self.assertEqual(self.peer.code(request, string(b"/missing")), NO_SUCH_FILE)

    def test_anUploadIsSeenByItsSession(self) -> None:
        handle = self.peer.opened(b"/f", NEW)
        self.peer.write(handle, 0, b"data")
        self.assertEqual(self.sizeOf(b"/f"), 4)
        self.assertEqual(self.statOf(self.peer.ask(FSTAT, string(handle)))[0], 4)

    def test_setstatTruncatesAndChangesModeAndTimes(self) -> None:
        self.peer.put(b"/f", b"0123456789")
        flags = HAS_SIZE | HAS_MODE | HAS_TIMES
        body = struct.pack(">IQIII", flags, 4, 0o100600, 11, 22)
        self.assertEqual(self.peer.code(SETSTAT, string(b"/f"), body), OK)
        _, size, _, _, mode, _, modified = struct.unpack(">IQIIIII", self.peer.ask(STAT, string(b"/f")).body.rest())
        self.assertEqual((size, mode & 0o777, modified), (4, 0o600, 22))
        self.assertEqual(self.peer.get(b"/f"), b"0123")

    def test_fsetstatDoesSoOnAHandle(self) -> None:
        handle = self.peer.opened(b"/f", NEW)
        self.peer.write(handle, 0, b"0123456789")
        self.assertEqual(self.peer.code(FSETSTAT, string(handle), uint32(HAS_SIZE), uint64(3)), OK)
        self.peer.close(handle)
        self.assertEqual(self.peer.get(b"/f"), b"012")

    def test_ownersCannotBeChanged(self) -> None:
        self.peer.put(b"/f", b"")
        owner = struct.pack(">III", HAS_OWNER, 1, 1)
        self.assertEqual(self.peer.code(SETSTAT, string(b"/f"), owner), PERMISSION_DENIED)

    def test_ownerThatAFileHasCanBeSet(self) -> None:
        self.peer.put(b"/f", b"")
        owner = struct.pack(">III", HAS_OWNER, 0, 0)
        self.assertEqual(self.peer.code(SETSTAT, string(b"/f"), owner), OK)
        self.assertEqual(self.peer.code(SETSTAT, string(b"/g"), owner), NO_SUCH_FILE)
        handle = self.peer.opened(b"/f", FLAG_READ)
        self.assertEqual(self.peer.code(FSETSTAT, string(handle), owner), OK)

    def test_aSizeBeyondEverythingIsRefused(self) -> None:
        self.peer.put(b"/f", b"")
        self.assertEqual(self.peer.code(SETSTAT, string(b"/f"), uint32(HAS_SIZE), uint64(2**64 - 1)), FAILURE)

    def test_foldersHaveHandlesToo(self) -> None:
        handle = self.peer.ask(OPENDIR, string(b"/")).body.string()
        self.assertEqual(self.statOf(self.peer.ask(FSTAT, string(handle)))[1] & 0o170000, 0o040000)
        self.assertEqual(self.peer.code(READ, string(handle), uint64(0), uint32(1)), FAILURE)


class FolderTests(OperationsTestCase):
    def listed(self, path: bytes) -> list[bytes]:
        handle = self.peer.ask(OPENDIR, string(path)).body.string()
        names: list[bytes] = []
        while (reply := self.peer.ask(READDIR, string(handle))).type == NAME:
            count = reply.body.uint32()
            self.assertLessEqual(count, NAMES_LIMIT)
            for _ in range(count):
                names.append(reply.body.string())
                reply.body.string()
                reply.body.take(32)
        self.assertEqual(reply.code, EOF)
        self.assertEqual(self.peer.code(READDIR, string(handle)), EOF)
        self.assertEqual(self.peer.close(handle), OK)
        self.assertEqual(names[:2], [b".", b".."])
        return names[2:]

    def test_everyNameIsListedOnce(self) -> None:
        self.peer.code(MKDIR, string(b"/d"), uint32(0))
        names = {b"%0200d" % number for number in range(450)} | {b"caf\xe9 \xff"}
        for name in names:
            self.peer.put(b"/d/" + name, b"")
        listed = self.listed(b"/d")
        self.assertEqual(len(listed), 451)
        self.assertEqual(set(listed), names)

    def test_answersStaySmall(self) -> None:
        for number in range(150):
            self.peer.put(b"/%0250d" % number, b"")
        handle = self.peer.ask(OPENDIR, string(b"/")).body.string()
        self.peer.start(READDIR, string(handle))
        self.assertLess(len(self.peer.channel.sent), LONGEST_NAMES + 1024)

    def test_emptyFolder(self) -> None:
        self.assertEqual(self.listed(b"/"), [])

    def test_filesAreNotListed(self) -> None:
        self.peer.put(b"/f", b"")
        self.assertEqual(self.peer.code(OPENDIR, string(b"/f")), NO_SUCH_FILE)
        self.assertEqual(self.peer.code(OPENDIR, string(b"/missing")), NO_SUCH_FILE)

    def test_foldersAreMadeAndRemoved(self) -> None:
        self.assertEqual(self.peer.code(MKDIR, string(b"/d"), uint32(0)), OK)
        self.assertEqual(self.peer.code(MKDIR, string(b"/d"), uint32(0)), FAILURE)
        self.peer.put(b"/d/f", b"")
        self.assertEqual(self.peer.code(RMDIR, string(b"/d")), FAILURE)
        self.assertEqual(self.peer.code(REMOVE, string(b"/d")), FAILURE)
        self.assertEqual(self.peer.code(REMOVE, string(b"/d/f")), OK)
        self.assertEqual(self.peer.code(RMDIR, string(b"/d")), OK)
        self.assertEqual(self.peer.code(RMDIR, string(b"/d")), NO_SUCH_FILE)


class NameTests(OperationsTestCase):
    def test_renameNeverOverwrites(self) -> None:
        self.peer.put(b"/a", b"a")
        self.peer.put(b"/b", b"b")
        self.assertEqual(self.peer.code(RENAME, string(b"/a"), string(b"/b")), FAILURE)
        self.assertEqual(self.peer.code(RENAME, string(b"/a"), string(b"/c")), OK)
        self.assertEqual((self.peer.get(b"/a"), self.peer.get(b"/b"), self.peer.get(b"/c")), (NO_SUCH_FILE, b"b", b"a"))

    def test_posixRenameDoes(self) -> None:
        self.peer.put(b"/a", b"a")
        self.peer.put(b"/b", b"b")
        self.assertEqual(self.peer.extended(b"posix-rename@openssh.com", string(b"/a"), string(b"/b")).code, OK)
        self.assertEqual((self.peer.get(b"/a"), self.peer.get(b"/b")), (NO_SUCH_FILE, b"a"))

    def test_realpathStaysWithin(self) -> None:
        for asked, answer in {
            b"": b"/",
            b".": b"/",
            b"/a/../..": b"/",
            b"../../etc": b"/etc",
            b"a//b/./c/": b"/a/b/c",
            b"/caf\xc3\xa9/\xff": b"/caf\xc3\xa9/\xff",
        }.items():
            reply = self.peer.ask(REALPATH, string(asked))
            self.assertEqual(reply.body.uint32(), 1)
            self.assertEqual(reply.body.string(), answer)

    def test_namesThatNoFileCanHaveAreRefused(self) -> None:
        for name in (b"/a\0b", b"/" + b"n" * 256, b"/.cftpcluster-part-1"):
            for request in (STAT, OPENDIR, REMOVE, RMDIR, REALPATH, READLINK):
                self.assertEqual(self.peer.code(request, string(name)), FAILURE)
            self.assertEqual(self.peer.openCode(name, NEW), FAILURE)

    def test_symbolicLinksInTheOrderOfOpenSSH(self) -> None:
        self.peer.put(b"/f", b"data")
        self.assertEqual(self.peer.code(SYMLINK, string(b"f"), string(b"/link")), OK)
        reply = self.peer.ask(READLINK, string(b"/link"))
        self.assertEqual((reply.body.uint32(), reply.body.string()), (1, b"f"))
        self.assertEqual(self.statOf(self.peer.ask(LSTAT, string(b"/link")))[1] & 0o170000, 0o120000)
        self.assertEqual(self.peer.get(b"/link"), b"data")

    def test_clientsThatKeepToTheDraft(self) -> None:
        for version in (b"AsyncSSH_2.24.1", b"WinSCP_release_6.3.3", b"libssh_0.10.6", b"libssh-0.6.3"):
            self.assertTrue(namesLinksFirst(b"SSH-2.0-" + version), version)
        for version in (b"OpenSSH_9.2p1 Debian-2", b"libssh2_1.11.0", b"paramiko_5.1.0", b"Go", b"PuTTY_Release_0.80"):
            self.assertFalse(namesLinksFirst(b"SSH-2.0-" + version), version)

    def test_symbolicLinksInTheOrderOfTheDraft(self) -> None:
        peer = SFTPPeer.inMemory(draftLinks=True)
        self.assertEqual(peer.code(SYMLINK, string(b"/link"), string(b"f")), OK)
        reply = peer.ask(READLINK, string(b"/link"))
        self.assertEqual((reply.body.uint32(), reply.body.string()), (1, b"f"))

    def test_whatIsNoLinkIsNotRead(self) -> None:
        self.peer.put(b"/f", b"data")
        self.assertEqual(self.peer.code(READLINK, string(b"/f")), FAILURE)

    def test_hardLinks(self) -> None:
        self.peer.put(b"/f", b"data")
        self.assertEqual(self.peer.extended(b"hardlink@openssh.com", string(b"/f"), string(b"/g")).code, OK)
        self.peer.code(REMOVE, string(b"/f"))
        self.assertEqual(self.peer.get(b"/g"), b"data")


class ExtensionTests(OperationsTestCase):
    def test_whatIsThereIsAdvertised(self) -> None:
        extensions = SFTPPeer.inMemory(initialize=False).initialize()
        self.assertEqual(
            {name.decode() for name in extensions},
            {
                *("posix-rename@openssh.com", "fsync@openssh.com", "limits@openssh.com", "expand-path@openssh.com"),
                *("statvfs@openssh.com", "fstatvfs@openssh.com", "hardlink@openssh.com", "lsetstat@openssh.com"),
                *("copy-data", "copy-file", "home-directory", "space-available"),
                *("check-file", "check-file-name", "check-file-handle", "md5-hash", "md5-hash-handle"),
            },
        )

    def test_unknownOnesAreUnsupported(self) -> None:
        for name in (b"", b"no-such@extension", b"\xff\0"):
            self.assertEqual(self.peer.extended(name, b"whatever").code, OP_UNSUPPORTED)

    def test_fsync(self) -> None:
        handle = self.peer.opened(b"/f", NEW)
        self.assertEqual(self.peer.extended(b"fsync@openssh.com", string(handle)).code, OK)
        self.assertEqual(self.peer.extended(b"fsync@openssh.com", string(b"other")).code, FAILURE)

    def test_space(self) -> None:
        handle = self.peer.opened(b"/f", NEW)
        for name, argument in ((b"statvfs@openssh.com", b"/"), (b"fstatvfs@openssh.com", handle)):
            reply = self.peer.extended(name, string(argument))
            self.assertEqual(reply.type, EXTENDED_REPLY)
            self.assertEqual(reply.body.uint64(), 4096)

    def test_limits(self) -> None:
        reply = self.peer.extended(b"limits@openssh.com")
        self.assertEqual(reply.body.uint64(), 256 * 1024)

    def test_expandPath(self) -> None:
        for asked, answer in {b"~": b"/", b"~/a": b"/a", b"a/../b": b"/b"}.items():
            reply = self.peer.extended(b"expand-path@openssh.com", string(asked))
            self.assertEqual((reply.body.uint32(), reply.body.string()), (1, answer))
        self.assertEqual(self.peer.extended(b"expand-path@openssh.com", string(b"~bob/a")).code, NO_SUCH_FILE)


class MalformedTests(OperationsTestCase):
    def test_truncatedRequestsAreBadMessages(self) -> None:
        whole = string(b"/f") + uint32(NEW) + uint32(0)
        for size in range(len(whole)):
            self.assertEqual(self.peer.code(OPEN, whole[:size]), BAD_MESSAGE)
        handle = self.peer.opened(b"/f", NEW)
        write = string(handle) + uint64(0) + string(b"data")
        for size in range(len(write)):
            self.assertIn(self.peer.code(WRITE, write[:size]), {BAD_MESSAGE})
        self.assertEqual(self.peer.ask(OPEN, whole).type, HANDLE)

    def test_lengthsThatLieAreBadMessages(self) -> None:
        self.assertEqual(self.peer.code(STAT, uint32(2**32 - 1) + b"/f"), BAD_MESSAGE)

    def test_unknownRequestsAreUnsupported(self) -> None:
        for number in (0, 2, 21, 99, 101, 105, 199, 201, 255):
            self.assertEqual(self.peer.code(number, b"whatever"), OP_UNSUPPORTED)
