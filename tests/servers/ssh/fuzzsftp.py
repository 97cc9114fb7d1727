"""Hostile sessions of SFTP: requests as they should be, with the handles that the server gave, some of them damaged.

Held to: every well-framed request is answered exactly once, in order, by a packet of a fitting type that can be read to
its end; credit is given back; what is held stays bounded; nothing is left when the session has ended.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.task import Clock

from cftpcluster.files.memory import MemoryBackend
from cftpcluster.servers.ssh import packets, sftp
from cftpcluster.servers.ssh.wire import Reader

from .choices import Choices, Exhausted, nothingBreaks
from .peers import SFTPPeer
from .scripted import string, uint32

CAPACITY_BYTES = 1 << 19
TURNS = 20_000

NAMES = [
    *(b"/f", b"/d/g", b"/d", b"/", b"/new", b"/d/new", b"/link", b"f", b"/d/./../f", b"/missing/new", b"", b".", b".."),
    *(b"../..", b"/d/../../../f", b"/f/", b"//d//g", b"/f/x", b"~", b"~/f", b"~root", b"/a\0b", b"/a\nb", b"/\xff\xfe"),
    *(b"/" + b"n" * 255, b"/" + b"n" * 256, b"/x" * 3000, "/\u202e\u200b".encode(), b"\\f", b"*"),
]
EXTENSIONS = [
    *(b"posix-rename@openssh.com", b"fsync@openssh.com", b"limits@openssh.com", b"expand-path@openssh.com"),
    *(b"statvfs@openssh.com", b"fstatvfs@openssh.com", b"hardlink@openssh.com", b"lsetstat@openssh.com"),
    *(b"copy-data", b"home-directory", b"users-groups-by-id@openssh.com", b"check-file-name", b"check-file-handle"),
    *(b"check-file", b"md5-hash", b"md5-hash-handle", b"space-available", b"get-temp-folder", b"vendor-id", b""),
]
HASHES = [b"md5", b"sha256,md5", b"sha1", b"", b",", b"crc32", b"x" * 300]

HANDLE, PATH, COUNT, OFFSET, CONTENT, ATTRIBUTES, FLAGS, EXTENSION, HASH = "hpnocafex"
"""Kinds of fields."""

SHAPES = {
    packets.OPEN: (PATH, FLAGS, ATTRIBUTES),
    packets.READ: (HANDLE, OFFSET, COUNT),
    packets.WRITE: (HANDLE, OFFSET, CONTENT),
    packets.CLOSE: (HANDLE,),
    packets.OPENDIR: (PATH,),
    packets.READDIR: (HANDLE,),
    packets.LSTAT: (PATH,),
    packets.FSTAT: (HANDLE,),
    packets.SETSTAT: (PATH, ATTRIBUTES),
    packets.FSETSTAT: (HANDLE, ATTRIBUTES),
    packets.REMOVE: (PATH,),
    packets.MKDIR: (PATH, ATTRIBUTES),
    packets.RMDIR: (PATH,),
    packets.REALPATH: (PATH,),
    packets.STAT: (PATH,),
    packets.RENAME: (PATH, PATH),
    packets.READLINK: (PATH,),
    packets.SYMLINK: (PATH, PATH),
}
KINDS = [packets.OPEN, packets.OPEN, packets.READ, packets.READ, packets.WRITE, packets.WRITE, packets.READDIR, *SHAPES]
EXTENDED_SHAPES = [
    (PATH,),
    (HANDLE,),
    (PATH, PATH),
    (PATH, ATTRIBUTES),
    (PATH, HASH, OFFSET, OFFSET, COUNT),
    (HANDLE, HASH, OFFSET, OFFSET, COUNT),
    (HANDLE, OFFSET, OFFSET, HANDLE, OFFSET),
    (PATH, OFFSET, OFFSET, CONTENT),
    (HANDLE, OFFSET, OFFSET, CONTENT),
    (COUNT, COUNT, PATH),
    (),
]
ANY_FIELDS = [HANDLE, PATH, COUNT, OFFSET, CONTENT, ATTRIBUTES, FLAGS, HASH]


def attributes(choices: Choices) -> bytes:
    """Mostly as their flags say."""
    flags = choices.often(0, 4, 8, 12, 1, 15, 2, 0x80000000, 0x8000000F, 0xFFFFFFFF)
    parts = [uint32(flags)]
    if flags & 1:
        parts.append(choices.longNumber())
    for flag, count in ((2, 2), (4, 1), (8, 2)):
        if flags & flag:
            parts += [choices.number() for _ in range(count)]
    if flags & 0x80000000:
        extended = choices.below(3)
        parts.append(choices.often(uint32(extended), uint32(extended + 1), b"\xff" * 4))
        parts += [string(choices.bytes(5)) for _ in range(2 * extended)]
    return b"".join(parts)


FITTING = {
    packets.OPEN: {packets.HANDLE},
    packets.OPENDIR: {packets.HANDLE},
    packets.READ: {packets.DATA},
    packets.READDIR: {packets.NAME},
    packets.REALPATH: {packets.NAME},
    packets.READLINK: {packets.NAME},
    packets.STAT: {packets.ATTRS},
    packets.LSTAT: {packets.ATTRS},
    packets.FSTAT: {packets.ATTRS},
    packets.EXTENDED: {packets.EXTENDED_REPLY, packets.NAME, packets.ATTRS},
}
"""What may be answered besides a STATUS."""


def _attributesRead(reader: Reader) -> None:
    flags = reader.uint32()
    for flag, size in ((1, 8), (2, 8), (4, 4), (8, 8)):
        if flags & flag:
            reader.take(size)


@define(eq=False)
class SFTPSession:
    """One session: what was asked, and what came of it."""

    choices: Choices
    holds: bool
    pieceBytes: int
    peer: SFTPPeer = field(init=False)
    asked: list[tuple[int, int]] = field(factory=list, init=False)
    handles: list[bytes] = field(factory=list, init=False)
    answered: int = field(default=0, init=False)
    seen: set[tuple[int, int]] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        clock = Clock()
        clock.advance(1_000_000_000)
        backend = MemoryBackend(clock, CAPACITY_BYTES)
        first = SFTPPeer.of(backend, clock, "bob")
        first.put(b"/f", b"some data")
        first.code(packets.MKDIR, string(b"/d"), uint32(0))
        first.put(b"/d/g", bytes(1000))
        first.code(packets.SYMLINK, string(b"f"), string(b"/link"))
        self.peer = SFTPPeer.of(backend, clock, "alice", hold=self.holds)
        for path, flags in ((b"/f", 1), (b"/new", 26), (b"/d/g", 3)):
            self.request(packets.OPEN, string(path) + uint32(flags) + uint32(0))
        self.request(packets.OPENDIR, string(b"/d"))
        self.settle(True)

    @property
    def waiting(self) -> list[Any]:
        files: Any = self.peer.files
        return files.waiting if self.holds else []

    def field(self, kind: str) -> bytes:
        choices = self.choices
        if kind == HANDLE:
            if self.handles and choices.byte() < 230:
                return string(choices.pick(self.handles[-5:]))
            return string(choices.often(bytes(16), choices.bytes(20)))
        if kind == PATH:
            return string(choices.often(choices.pick(NAMES[:7]), choices.pick(NAMES), choices.bytes(12)))
        if kind == EXTENSION:
            return string(choices.pick(EXTENSIONS))
        if kind == HASH:
            return string(choices.pick(HASHES))
        if kind == CONTENT:
            return string(choices.often(choices.bytes(20), bytes(1000), bytes(70_000)))
        if kind == FLAGS:
            return choices.often(uint32(choices.pick([1, 26, 2, 3, 10, 27, 30, 42])), choices.number())
        if kind == ATTRIBUTES:
            return attributes(choices)
        return choices.number() if kind == COUNT else choices.longNumber()

    def ask(self) -> None:
        """Send a request."""
        choices = self.choices
        what = choices.below(16)
        if what < 13:
            kind = choices.pick(KINDS)
            body = b"".join(map(self.field, SHAPES[kind]))
        elif what < 15:
            kind = packets.EXTENDED
            body = self.field(EXTENSION) + b"".join(map(self.field, choices.pick(EXTENDED_SHAPES)))
        else:
            kind = choices.byte()
            kind = packets.OPEN if kind == packets.INIT else kind
            body = b"".join(self.field(choices.pick(ANY_FIELDS)) for _ in range(choices.below(5)))
        self.request(kind, choices.damaged(body, 64))

    def request(self, kind: int, body: bytes) -> None:
        number = len(self.asked) % 5 + (1 << 31) * (len(self.asked) % 2)  # numbers come again
        self.asked.append((number, kind))
        self.send(string(bytes((kind,)) + uint32(number) + body))

    def send(self, data: bytes) -> None:
        size = self.pieceBytes if len(data) < 2000 else 20_000
        for at in range(0, len(data), size):
            self.peer.raw(data[at : at + size])

    def step(self) -> None:
        what = self.choices.below(32)
        if what < 26:
            self.ask()
        elif what < 29:
            self.goOn(self.choices.byte())
        elif what == 29:
            self.peer.channel.blocked = True
        elif what == 30:
            self.peer.channel.unblock()
        else:
            self.peer.clock.advance(0)
        self.check()

    def goOn(self, which: int = 0) -> None:
        """Let one of the operations go on that wait."""
        if self.waiting:
            files: Any = self.peer.files
            files.goOn(which % len(self.waiting))

    def check(self) -> None:
        """Look at the answers, and at what is held."""
        for reply in self.peer.replies():
            number, kind = self.asked[self.answered]
            self.answered += 1
            assert reply.requestId == number, "an answer out of turn"
            assert reply.type == packets.STATUS or reply.type in FITTING.get(kind, ()), (kind, reply.type)
            self.read(reply)
        assert self.peer.channel.queued <= sftp.UNSENT_LIMIT_BYTES + packets.LONGEST_PACKET
        assert len(self.waiting) <= sftp.REQUEST_LIMIT
        assert self.peer.channel.consumedBytes <= self.peer.sentBytes

    def read(self, reply: Any) -> None:
        """To its end."""
        body: Reader = reply.body
        code = body.uint32() if reply.type == packets.STATUS else 0
        self.seen.add((reply.type, code))
        if reply.type == packets.STATUS:
            assert code in range(9)
            body.string().decode("utf-8")
            body.string()
        elif reply.type == packets.HANDLE:
            handle = body.string()
            assert 0 < len(handle) <= 256
            assert handle not in self.handles
            self.handles.append(handle)
        elif reply.type == packets.DATA:
            assert 0 < len(body.view()) <= packets.LONGEST_DATA
        elif reply.type == packets.NAME:
            for _ in range(body.uint32()):
                body.string(), body.string()
                _attributesRead(body)
        elif reply.type == packets.ATTRS:
            _attributesRead(body)
        else:
            return
        assert body.rest() == b"", "an answer that is too long"

    def settle(self, isCounted: bool) -> None:
        """Let everything go on that waits."""
        self.peer.channel.unblock()
        for turn in range(TURNS):
            self.goOn(turn)
            self.peer.clock.advance(0.01)
            if isCounted:
                self.check()
            self.peer.channel.sent.clear()
            if not (self.waiting or self.peer.clock.getDelayedCalls()):
                break
        else:
            raise AssertionError("it never comes to rest")

    def end(self) -> None:
        """In the middle of everything, in order, or with bytes of which nobody knows what they ask for."""
        how = len(self.choices.data) % 4
        if how < 2:
            self.settle(True)
            assert self.answered == len(self.asked), "requests that were not answered"
            assert self.peer.channel.consumedBytes == self.peer.sentBytes, "credit that was not given back"
        elif how == 2:
            self.send(self.choices.data[:40])
        if how:
            self.peer.server.eofReceived()
            self.settle(False)
            assert self.peer.channel.exitStatus in (0, 1)
        closed: list[Any] = []
        self.peer.server.channelClosed().addBoth(closed.append)
        self.settle(False)
        assert closed == [None], "the session does not end"
        assert not self.peer.server.busy
        assert not len(self.peer.server._handles) and not len(self.peer.server._order)
        self.checkStorage()

    def checkStorage(self) -> None:
        """The session holds no file any more: its user replaces and removes what there is."""
        later = SFTPPeer.of(self.peer.backend, self.peer.clock, "alice")
        for path in (b"/f", b"/new", b"/d/new"):
            flags = packets.FLAG_WRITE | packets.FLAG_CREATE | packets.FLAG_TRUNCATE
            reply = later.ask(packets.OPEN, string(path), uint32(flags), uint32(0))
            if reply.type == packets.HANDLE:
                assert later.close(reply.body.string()) == packets.OK


def trySession(data: bytes) -> set[tuple[int, int]]:
    """One session, of which nothing may break; the types and the codes of the answers."""
    choices = Choices(data)
    with nothingBreaks():
        session = SFTPSession(choices, bool(choices.byte() & 1), choices.often(1 << 20, 1, 7, 64))
        try:
            while True:
                session.step()
        except Exhausted:
            session.end()
    return session.seen
