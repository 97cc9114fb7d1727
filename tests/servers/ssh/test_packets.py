"""Tests of SFTP's packets."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster import errors
from cftpcluster.servers.ssh import packets
from cftpcluster.servers.ssh.wire import Reader, Truncated, string, uint32
from cftpcluster.vocabulary import Attributes, Entry, Kind, Space, Stat

BODIES = st.binary(min_size=5, max_size=200)


class FramesTests(SynchronousTestCase):
    @given(st.lists(BODIES, max_size=8), st.lists(st.integers(1, 300)))
    def test_packetsComeOutHoweverTheyArrive(self, bodies: list[bytes], cuts: list[int]) -> None:
        stream, frames, seen, position = b"".join(map(string, bodies)), packets.Frames(), [], 0
        for size in [*cuts, len(stream) + 1]:
            frames.feed(memoryview(stream[position : position + size]))
            position += size
            while (packet := frames.next()) is not None:
                seen.append(packet.tobytes())
        self.assertEqual(seen, bodies)

    def test_aPacketInOnePieceIsNotCopied(self) -> None:
        stream, frames = string(b"x" * 100) + string(b"y" * 100), packets.Frames()
        frames.feed(memoryview(stream))
        for expected in (b"x" * 100, b"y" * 100):
            packet = frames.next()
            assert packet is not None
            self.assertIs(packet.obj, stream)
            self.assertEqual(packet, expected)

    def test_longAndShortPacketsCannotBeFollowed(self) -> None:
        for length in (0, 1, 4, packets.LONGEST_PACKET + 1, 2**31, 2**32 - 1):
            frames = packets.Frames()
            frames.feed(memoryview(uint32(length)))
            self.assertRaises(packets.Unframed, frames.next)

    def test_theLongestPacketCan(self) -> None:
        frames = packets.Frames()
        frames.feed(memoryview(string(bytes(packets.LONGEST_PACKET))))
        packet = frames.next()
        assert packet is not None
        self.assertEqual(len(packet), packets.LONGEST_PACKET)


class AttributesTests(SynchronousTestCase):
    def test_everythingIsRead(self) -> None:
        flags = packets.HAS_SIZE | packets.HAS_OWNER | packets.HAS_MODE | packets.HAS_TIMES | packets.HAS_EXTENDED
        body = struct.pack(">IQIIIII", flags, 7, 1000, 1000, 0o100644, 11, 22)
        reader = Reader(body + uint32(1) + string(b"name") + string(b"value") + b"rest")
        changes = packets.readAttributes(reader)
        self.assertEqual(changes.attributes, Attributes(size=7, mode=0o644, accessed=11.0, modified=22.0))
        self.assertTrue(changes.owner)
        self.assertEqual(reader.rest(), b"rest")

    def test_nothingIsReadWhereNothingIs(self) -> None:
        self.assertEqual(packets.readAttributes(Reader(uint32(0))), packets.Changes(Attributes(), False))

    def test_bitsThatRaisePrivilegesAreDropped(self) -> None:
        changes = packets.readAttributes(Reader(uint32(packets.HAS_MODE) + uint32(0o106755)))
        self.assertEqual(changes.attributes.mode, 0o755)

    def test_aBombOfExtensionsIsTruncated(self) -> None:
        body = uint32(packets.HAS_EXTENDED) + uint32(2**32 - 1) + string(b"") * 4
        self.assertRaises(Truncated, packets.readAttributes, Reader(body))

    @given(st.floats(allow_nan=False), st.integers(0, 2**63), st.sampled_from(Kind))
    def test_anyStatIsEncoded(self, moment: float, size: int, kind: Kind) -> None:
        encoded = packets.encodeAttributes(Stat(kind, size=size, modified=moment, accessed=moment, mode=0o640))
        flags, readSize, user, group, mode, accessed, modified = struct.unpack(">IQIIIII", encoded)
        self.assertEqual((flags, readSize, user, group, mode & 0o777), (15, size, 0, 0, 0o640))
        self.assertEqual(accessed, modified)


class NamesTests(SynchronousTestCase):
    def longName(self, stat: Stat, now: float = 1_000_000_000, name: str = "name") -> bytes:
        reader = Reader(packets.encodeEntry(Entry(name, stat), now))
        reader.string()
        return reader.string()

    def test_recentEntriesShowTheTimeOfDay(self) -> None:
        line = self.longName(Stat(Kind.file, size=1234, modified=999_990_000, mode=0o640, links=2))
        self.assertEqual(line, b"-rw-r-----    2 user     group            1234 Sep  8 23:00 name")

    def test_oldOnesShowTheYear(self) -> None:
        line = self.longName(Stat(Kind.folder, modified=86400, mode=0o755))
        self.assertEqual(line, b"drwxr-xr-x    1 user     group               0 Jan  2  1970 name")

    def test_linksAreLinksWhereverTheyLead(self) -> None:
        encoded = packets.encodeEntry(Entry("name", Stat(Kind.folder, mode=0o755), link=True), 0)
        reader = Reader(encoded)
        reader.string()
        self.assertEqual(reader.string()[:10], b"lrwxrwxrwx")
        _, _, _, _, mode, _, _ = struct.unpack(">IQIIIII", reader.rest())
        self.assertEqual(mode, 0o120777)

    def test_namesKeepTheirBytes(self) -> None:
        name = b"caf\xc3\xa9 \xff\n".decode("utf-8", "surrogateescape")
        encoded = packets.encodeEntry(Entry(name, Stat(Kind.file)), 0)
        self.assertEqual(Reader(encoded).string(), b"caf\xc3\xa9 \xff\n")


class RepliesTests(SynchronousTestCase):
    def test_errorsBecomeCodesOfVersion3(self) -> None:
        expected = {
            errors.NotFound: packets.NO_SUCH_FILE,
            errors.NotAFolder: packets.NO_SUCH_FILE,
            errors.PermissionDenied: packets.PERMISSION_DENIED,
            errors.PathEscapes: packets.PERMISSION_DENIED,
            errors.Unsupported: packets.OP_UNSUPPORTED,
            errors.AlreadyExists: packets.FAILURE,
            errors.QuotaExceeded: packets.FAILURE,
            errors.FolderNotEmpty: packets.FAILURE,
            errors.InvalidName: packets.FAILURE,
        }
        for error, code in expected.items():
            reader = Reader(packets.errorReply(7, error())[4:])
            self.assertEqual((reader.byte(), reader.uint32(), reader.uint32()), (packets.STATUS, 7, code), error)
            self.assertEqual(reader.string(), error.message.encode())

    def test_spaceWithoutBoundsIsLarge(self) -> None:
        values = struct.unpack(">11Q", packets.encodeSpace(Space()))
        self.assertGreater(values[0] * values[2], 1 << 50)
        self.assertEqual(values[10], 255)

    def test_spaceIsInBlocks(self) -> None:
        values = struct.unpack(">11Q", packets.encodeSpace(Space(409600, 8192, 10, 3)))
        self.assertEqual(values[:8], (4096, 4096, 100, 2, 2, 10, 3, 3))

    def test_limitsAreThoseThatHold(self) -> None:
        longest, read, write, handles = struct.unpack(">4Q", packets.encodeLimits(256))
        self.assertLessEqual(read + 13, longest)
        self.assertLessEqual(longest, packets.LONGEST_PACKET)
        self.assertEqual((write, handles), (read, 256))

    def test_versionCarriesExtensions(self) -> None:
        reply = packets.versionReply([(b"a@b", b"1")])
        self.assertEqual(reply, string(b"\2" + uint32(3) + string(b"a@b") + string(b"1")))

    def test_dataHeadCountsItsData(self) -> None:
        head = packets.dataHead(9, 100)
        self.assertEqual(Reader(head).uint32(), len(head) - 4 + 100)
