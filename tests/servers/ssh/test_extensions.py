"""Tests of what SFTP's extensions do to files."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.document import Limits
from cftpcluster.files.memory import MemoryBackend
from cftpcluster.files.policy import Permitted
from cftpcluster.files.throttled import AllRates, SessionFlows, Throttled
from cftpcluster.servers.ssh.hashing import LONGEST_ANSWER
from cftpcluster.servers.ssh.packets import (
    BAD_MESSAGE,
    CLOSE,
    EOF,
    EXTENDED,
    EXTENDED_REPLY,
    FAILURE,
    FLAG_APPEND,
    FLAG_CREATE,
    FLAG_READ,
    FLAG_TRUNCATE,
    FLAG_WRITE,
    FSTAT,
    HAS_MODE,
    HAS_SIZE,
    HAS_TIMES,
    LSTAT,
    NAME,
    NO_SUCH_FILE,
    OK,
    OP_UNSUPPORTED,
    PERMISSION_DENIED,
    STAT,
    STATUS,
    SYMLINK,
    WRITE,
)
from cftpcluster.servers.ssh.sftp import REQUEST_LIMIT, UNSENT_LIMIT_BYTES
from cftpcluster.servers.ssh.wire import boolean, string, uint32, uint64
from cftpcluster.vocabulary import Permission

from .peers import Reply, SFTPPeer

NEW = FLAG_WRITE | FLAG_CREATE | FLAG_TRUNCATE
DATA = bytes(range(256)) * 20


class ExtensionsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.permissions = set(Permission)
        self.clock = Clock()
        self.clock.advance(1_000_000_000)
        self.backend = MemoryBackend(self.clock, 1 << 26)
        self.rates = AllRates(self.clock, lambda user: Limits())
        self.peer = self.session()

    def session(self) -> SFTPPeer:
        files: Any = Permitted(self.backend.fileSystem("", "alice", True), self.permissions)
        peer = SFTPPeer(Throttled(files, SessionFlows(self.rates.of("alice"))), self.clock, self.backend)
        peer.initialize()
        return peer


class CopyDataTests(ExtensionsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.peer.put(b"/source", DATA)

    def copy(self, source: bytes, offset: int, length: int, target: bytes, at: int) -> int:
        return self.peer.extended(
            b"copy-data", string(source), uint64(offset), uint64(length), string(target), uint64(at)
        ).code

    def opened(self, flags: int = NEW) -> tuple[bytes, bytes]:
        return self.peer.opened(b"/source", FLAG_READ), self.peer.opened(b"/target", flags)

    def test_wholeFile(self) -> None:
        source, target = self.opened()
        self.assertEqual(self.copy(source, 0, 0, target, 0), OK)
        self.assertEqual(self.peer.get(b"/target"), DATA)
        self.assertEqual((self.peer.close(target), self.peer.close(source)), (OK, OK))
        self.assertEqual(self.session().get(b"/target"), DATA)

    def test_partOfAFileToAnyPlace(self) -> None:
        source, target = self.opened()
        self.peer.write(target, 0, b"0123456789")
        self.assertEqual(self.copy(source, 65, 3, target, 4), OK)
        self.peer.close(target)
        self.assertEqual(self.peer.get(b"/target"), b"0123ABC789")

    def test_lessThanAskedForIsTold(self) -> None:
        source, target = self.opened()
        self.assertEqual(self.copy(source, len(DATA) - 2, 10, target, 0), EOF)
        self.peer.close(target)
        self.assertEqual(self.peer.get(b"/target"), DATA[-2:])

    def test_appends(self) -> None:
        self.peer.put(b"/target", b"head ")
        source, target = self.opened(FLAG_WRITE | FLAG_APPEND)
        self.assertEqual(self.copy(source, 65, 3, target, 0), OK)
        self.assertEqual(self.peer.write(target, 0, b"!"), OK)
        self.peer.close(target)
        self.assertEqual(self.peer.get(b"/target"), b"head ABC!")

    def test_withinAFile(self) -> None:
        handle = self.peer.opened(b"/source", FLAG_READ | FLAG_WRITE)
        self.assertEqual(self.copy(handle, 0, 10, handle, 10), OK)
        other = self.peer.opened(b"/source", FLAG_READ)
        self.assertEqual(self.copy(other, 0, 10, handle, 20), OK)
        self.assertEqual(self.peer.read(handle, 0, 31), DATA[:10] * 3 + DATA[30:31])

    def test_overlapIsRefused(self) -> None:
        handle = self.peer.opened(b"/source", FLAG_READ | FLAG_WRITE)
        other = self.peer.opened(b"/source", FLAG_READ)
        self.assertEqual(self.copy(handle, 0, 10, handle, 9), FAILURE)
        self.assertEqual(self.copy(handle, 9, 10, handle, 0), FAILURE)
        self.assertEqual(self.copy(other, 0, 0, handle, 100), FAILURE)
        self.assertEqual(self.peer.get(b"/source"), DATA)

    def test_overlapUnderAnotherNameIsRefused(self) -> None:
        self.peer.extended(b"hardlink@openssh.com", string(b"/source"), string(b"/name"))
        source, target = self.peer.opened(b"/source", FLAG_READ), self.peer.opened(b"/name", FLAG_WRITE)
        self.assertEqual(self.copy(source, 0, 10, target, 5), FAILURE)

    def test_rightsOfHandlesCount(self) -> None:
        source, target = self.opened()
        self.assertEqual(self.copy(target, 0, 0, target, 0), PERMISSION_DENIED)
        self.assertEqual(self.copy(source, 0, 0, source, 0), PERMISSION_DENIED)
        self.assertEqual(self.copy(b"?", 0, 0, target, 0), FAILURE)

    def test_placesThatNoFileHasAreRefused(self) -> None:
        source, target = self.opened()
        self.assertEqual(self.copy(source, 2**64 - 1, 1, target, 0), FAILURE)
        self.assertEqual(self.copy(source, 0, 1, target, 2**63), FAILURE)
        self.assertEqual(self.copy(source, 0, 2**64 - 1, target, 0), FAILURE)

    def test_whatDoesNotFitIsNeverCommitted(self) -> None:
        source, target = self.opened()
        self.assertEqual(self.copy(source, 0, 0, target, 1 << 27), FAILURE)
        self.assertEqual(self.peer.close(target), FAILURE)
        self.assertEqual(self.session().get(b"/target"), NO_SUCH_FILE)

    def test_writesBeforeItAreCopied(self) -> None:
        peer = self.peer
        target = peer.opened(b"/target", NEW)
        source = peer.opened(b"/source", FLAG_READ | FLAG_WRITE)
        peer.start(WRITE, string(source), uint64(0), string(b"new"))
        peer.start(EXTENDED, string(b"copy-data"), string(source), uint64(0), uint64(5), string(target), uint64(0))
        peer.start(WRITE, string(source), uint64(0), string(b"NEWER"))
        peer.start(CLOSE, string(target))
        peer.start(CLOSE, string(source))
        self.assertEqual([reply.code for reply in peer.replies()], [OK] * 5)
        self.assertEqual(peer.get(b"/target"), b"new" + DATA[3:5])


class CheckFileTests(ExtensionsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.peer.put(b"/f", DATA)

    def check(
        self, which: bytes, what: bytes, names: bytes, offset: int = 0, length: int = 0, blockBytes: int = 0
    ) -> Reply:
        return self.peer.extended(
            which, string(what), string(names), uint64(offset), uint64(length), uint32(blockBytes)
        )

    def found(self, reply: Reply) -> tuple[bytes, bytes]:
        self.assertEqual(reply.type, EXTENDED_REPLY)
        return reply.body.string(), reply.body.rest()

    def test_asWinSCPAsks(self) -> None:
        for name in (b"md5", b"sha1", b"sha224", b"sha256", b"sha384", b"sha512"):
            expected = hashlib.new(name.decode(), DATA).digest()
            self.assertEqual(self.found(self.check(b"check-file-name", b"/f", name)), (name, expected))

    def test_asParamikoAsks(self) -> None:
        handle = self.peer.opened(b"/f", FLAG_READ)
        reply = self.check(b"check-file", handle, b"md5")
        self.assertEqual((reply.body.string(), reply.body.string()), (b"check-file", b"md5"))
        self.assertEqual(reply.body.rest(), hashlib.md5(DATA).digest())

    def test_firstKnownAlgorithmIsUsed(self) -> None:
        handle = self.peer.opened(b"/f", FLAG_READ)
        name, digest = self.found(self.check(b"check-file-handle", handle, b"whirlpool,sha-256,md5", 10, 20))
        self.assertEqual((name, digest), (b"sha-256", hashlib.sha256(DATA[10:30]).digest()))
        self.assertEqual(self.check(b"check-file-handle", handle, b"whirlpool").code, FAILURE)

    def test_blocks(self) -> None:
        _, digests = self.found(self.check(b"check-file-name", b"/f", b"sha1", 0, 600, 256))
        parts = DATA[:256], DATA[256:512], DATA[512:600]
        self.assertEqual(digests, b"".join(hashlib.sha1(part).digest() for part in parts))

    def test_blocksThatAreTooSmallOrTooManyAreRefused(self) -> None:
        self.assertEqual(self.check(b"check-file-name", b"/f", b"md5", 0, 0, 255).code, FAILURE)
        handle = self.peer.opened(b"/large", NEW)
        self.peer.write(handle, 256 * 20_000, b".")
        self.peer.close(handle)
        self.assertEqual(self.check(b"check-file-name", b"/large", b"md5", 0, 0, 256).code, FAILURE)
        self.assertEqual(self.check(b"check-file-name", b"/large", b"md5", 0, 0, 512).type, EXTENDED_REPLY)

    def test_largeAnswersAreBoundedBeforeTheyAreThere(self) -> None:
        peer = SFTPPeer.of(self.peer.backend, self.peer.clock, "alice", hold=True)
        files: Any = peer.files
        for blockBytes, count in ((256, UNSENT_LIMIT_BYTES // LONGEST_ANSWER + 1), (0, REQUEST_LIMIT)):
            body = string(b"/f") + string(b"md5") + uint64(0) * 2 + uint32(blockBytes)
            for _ in range(REQUEST_LIMIT):
                peer.start(EXTENDED, string(b"check-file-name"), body)
            self.assertEqual(files.names, ["open"] * count)
            files.goOnWithAll()
            self.assertEqual(len(peer.replies()), REQUEST_LIMIT)

    def test_anUploadIsSeenByItsSession(self) -> None:
        handle = self.peer.opened(b"/new", NEW)
        self.peer.write(handle, 0, b"data")
        self.assertEqual(self.found(self.check(b"check-file-name", b"/new", b"md5"))[1], hashlib.md5(b"data").digest())

    def test_needsTheRightToDownload(self) -> None:
        self.permissions -= {Permission.download}
        self.assertEqual(self.check(b"check-file-name", b"/f", b"md5").code, PERMISSION_DENIED)
        handle = self.peer.opened(b"/f", FLAG_WRITE)
        self.assertEqual(self.check(b"check-file-handle", handle, b"md5").code, PERMISSION_DENIED)

    def test_whatIsNoFileIsRefused(self) -> None:
        self.assertEqual(self.check(b"check-file-name", b"/", b"md5").code, FAILURE)
        self.assertEqual(self.check(b"check-file-name", b"/none", b"md5").code, NO_SUCH_FILE)
        self.assertEqual(self.check(b"check-file-handle", b"?", b"md5").code, FAILURE)

    def test_truncatedRequests(self) -> None:
        for name in (b"check-file-name", b"md5-hash", b"copy-data", b"copy-file", b"lsetstat@openssh.com"):
            reply = self.peer.extended(name, string(b"/f")[:-1])
            self.assertEqual((reply.type, reply.code), (STATUS, BAD_MESSAGE))

    def md5(self, which: bytes, what: bytes, offset: int, length: int, quick: bytes) -> bytes:
        reply = self.peer.extended(which, string(what), uint64(offset), uint64(length), string(quick))
        self.assertEqual((reply.type, reply.body.string()), (EXTENDED_REPLY, b"md5-hash"))
        return reply.body.string()

    def test_md5(self) -> None:
        handle = self.peer.opened(b"/f", FLAG_READ)
        self.assertEqual(self.md5(b"md5-hash", b"/f", 0, 0, b""), hashlib.md5(DATA).digest())
        self.assertEqual(self.md5(b"md5-hash-handle", handle, 5, 10, b""), hashlib.md5(DATA[5:15]).digest())

    def test_quickCheckSparesTheRest(self) -> None:
        quick = hashlib.md5(DATA[:2048]).digest()
        self.assertEqual(self.md5(b"md5-hash", b"/f", 0, 0, quick), hashlib.md5(DATA).digest())
        self.assertEqual(self.md5(b"md5-hash", b"/f", 0, 0, bytes(16)), b"")


class OtherExtensionTests(ExtensionsTestCase):
    def test_copyFile(self) -> None:
        self.peer.put(b"/f", DATA)
        self.assertEqual(self.peer.extended(b"copy-file", string(b"/f"), string(b"/g"), boolean(False)).code, OK)
        self.assertEqual(self.peer.get(b"/g"), DATA)
        self.assertEqual(self.peer.extended(b"copy-file", string(b"/f"), string(b"/g"), boolean(False)).code, FAILURE)
        self.assertEqual(self.peer.extended(b"copy-file", string(b"/f"), string(b"/g"), boolean(True)).code, OK)

    def test_spaceAvailable(self) -> None:
        reply = self.peer.extended(b"space-available", string(b"/"))
        self.assertEqual(reply.type, EXTENDED_REPLY)
        total, free, userTotal, userFree, unit = struct.unpack(">QQQQI", reply.body.rest())
        self.assertEqual((total, free, unit), (1 << 26, 1 << 26, 4096))
        self.assertEqual((userTotal, userFree), (total, free))

    def test_everybodyIsAtHomeAtTheRoot(self) -> None:
        for name in (b"", b"alice", b"bob"):
            reply = self.peer.extended(b"home-directory", string(name))
            self.assertEqual((reply.type, reply.body.uint32(), reply.body.string()), (NAME, 1, b"/"))

    def test_lsetstatSetsWhatIsNoLink(self) -> None:
        self.peer.put(b"/f", b"")
        self.lsetstat(b"/f", OK, HAS_MODE, 0o600)
        self.assertEqual(self.mode(b"/f"), 0o100600)
        self.lsetstat(b"/none", NO_SUCH_FILE, HAS_MODE, 0o600)

    def test_lsetstatDoesNotFollowLinks(self) -> None:
        self.peer.put(b"/f", b"")
        self.peer.code(SYMLINK, string(b"f"), string(b"/link"))
        self.lsetstat(b"/link", OK, HAS_TIMES, 11, 22)
        self.assertEqual(self.modified(LSTAT, b"/link"), 22)
        self.assertNotEqual(self.modified(STAT, b"/link"), 22)
        self.lsetstat(b"/link", OP_UNSUPPORTED, HAS_MODE, 0o600)

    def test_linksHaveNoLengthToSet(self) -> None:
        self.peer.put(b"/f", b"data")
        reply = self.peer.extended(b"lsetstat@openssh.com", string(b"/f"), uint32(HAS_SIZE), uint64(0))
        self.assertEqual(reply.code, FAILURE)
        self.assertEqual(self.peer.get(b"/f"), b"data")

    def lsetstat(self, path: bytes, code: int, *body: int) -> None:
        packed = b"".join(map(uint32, body))
        self.assertEqual(self.peer.extended(b"lsetstat@openssh.com", string(path), packed).code, code)

    def mode(self, path: bytes) -> int:
        return int(struct.unpack(">IQIIIII", self.peer.ask(STAT, string(path)).body.rest())[4])

    def modified(self, request: int, path: bytes) -> int:
        return int(struct.unpack(">IQIIIII", self.peer.ask(request, string(path)).body.rest())[6])

    def test_fstatTellsWhatWasCopied(self) -> None:
        self.peer.put(b"/f", DATA)
        source, target = self.peer.opened(b"/f", FLAG_READ), self.peer.opened(b"/g", NEW)
        self.peer.extended(b"copy-data", string(source), uint64(0), uint64(0), string(target), uint64(0))
        size = struct.unpack(">IQIIIII", self.peer.ask(FSTAT, string(target)).body.rest())[1]
        self.assertEqual(size, len(DATA))
