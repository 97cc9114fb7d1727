"""A channel without a connection, for programs with standard streams."""

from __future__ import annotations

from typing import Any

from attrs import Factory, define, field
from twisted.internet.task import Clock

from cftpcluster.config.document import Limits
from cftpcluster.files.memory import MemoryBackend
from cftpcluster.files.paths import parse
from cftpcluster.files.policy import Permitted
from cftpcluster.files.throttled import AllRates, SessionFlows, Throttled
from cftpcluster.servers.ssh import commands
from cftpcluster.servers.ssh.standard import Main, StandardProgram
from cftpcluster.servers.ssh.wire import Buffer
from cftpcluster.vocabulary import OpenMode, Permission


@define(eq=False)
class FakeChannel:
    """
    :ivar sent: what went to standard output, and was not taken yet.
    :ivar said: what went to standard error.
    :ivar blocked: while true, nothing that is sent leaves.
    """

    sent: bytearray = Factory(bytearray)
    said: bytearray = Factory(bytearray)
    queued: int = 0
    consumedBytes: int = 0
    exitStatus: int | None = None
    blocked: bool = False

    def send(self, *parts: Buffer) -> None:
        for part in parts:
            self.sent += part
            if self.blocked:
                self.queued += len(part)

    def sendError(self, text: bytes) -> None:
        self.said += text

    def consumed(self, size: int) -> None:
        self.consumedBytes += size

    def finish(self, exitStatus: int) -> None:
        assert self.exitStatus is None
        self.exitStatus = exitStatus


@define(eq=False)
class Running:
    """A program, and the one who runs it."""

    main: Main
    clock: Clock
    channel: FakeChannel = Factory(FakeChannel)
    fedBytes: int = field(default=0, init=False)
    program: StandardProgram = field(init=False)

    def __attrs_post_init__(self) -> None:
        channel: Any = self.channel
        self.program = StandardProgram(channel, self.clock, self.main)
        assert not self.channel.sent, "said something before its request was answered"
        self.turn()

    def turn(self) -> None:
        """Let whatever waits for a turn go on."""
        while any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
            self.clock.advance(0)

    def feed(self, data: bytes, pieceBytes: int = 1 << 18) -> bytes:
        """Send something; what is answered."""
        for start in range(0, len(data), pieceBytes):
            piece = data[start : start + pieceBytes]
            self.fedBytes += len(piece)
            self.program.dataReceived(memoryview(piece))
        self.turn()
        return self.taken()

    def taken(self) -> bytes:
        """What was answered since the last time."""
        taken = bytes(self.channel.sent)
        self.channel.sent.clear()
        return taken

    def end(self) -> int | None:
        """End the program's input; its exit status."""
        self.program.eofReceived()
        self.turn()
        return self.channel.exitStatus

    def unblock(self) -> None:
        self.channel.blocked, self.channel.queued = False, 0
        self.program.sentSome()
        self.turn()


@define(eq=False)
class Shelf:
    """Files in memory, of which programs are run.

    :ivar limits: of that user.
    :ivar files: of user ``alice``; a program may be given others.
    """

    limits: Limits = Factory(Limits)
    clock: Clock = Factory(Clock)
    backend: MemoryBackend = field(init=False)
    _rates: AllRates = field(init=False)
    files: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(1_000_000_000)
        self.backend = MemoryBackend(self.clock, 1 << 26)
        self._rates = AllRates(self.clock, lambda user: self.limits)
        self.files = self.session(*Permission)

    def session(self, *permissions: Permission) -> Any:
        """Alice's files, as far as she has these permissions."""
        own = Permitted(self.backend.fileSystem("", "alice", True), permissions)
        return Throttled(own, SessionFlows(self._rates.of("alice")))

    def run(self, command: bytes, files: Any = None) -> Running:
        """Run a command."""
        shown = self.files if files is None else files
        return Running(lambda streams: commands.run(shown, streams, command), self.clock)

    def answer(self, command: bytes, files: Any = None) -> tuple[int | None, bytes, bytes]:
        """Run a command that reads nothing: its exit status, output and errors."""
        running = self.run(command, files)
        running.end()
        return running.channel.exitStatus, running.taken(), bytes(running.channel.said)

    def put(self, path: str, data: bytes = b"") -> None:
        """Store a file, and the folders that it lies in."""
        whole = parse(path)
        for length in range(1, len(whole)):
            self.files.makeDirectory(whole[:length]).addErrback(lambda _: None)
        opened: list[Any] = []
        self.files.open(whole, OpenMode.replace).addCallback(opened.append)
        opened[0].write(0, data)
        opened[0].commit()

    def get(self, path: str) -> bytes | None:
        """What others see stored; ``None`` where there is no file."""
        opened: list[Any] = []
        other: Any = self.backend.fileSystem("", "other", True)
        other.open(parse(path), OpenMode.read).addCallbacks(opened.append, lambda _: None)
        if not opened:
            return None
        data: list[bytes] = []
        opened[0].read(0, 1 << 26).addCallback(data.append)
        opened[0].abort(False)
        return data[0]

    def stat(self, path: str) -> Any:
        """What is there; ``None`` if nothing."""
        found: list[Any] = []
        self.files.stat(parse(path)).addCallbacks(found.append, lambda _: None)
        return found[0] if found else None

    def names(self, path: str = "/") -> list[str]:
        """What is in a folder."""
        listings: list[Any] = []
        self.files.list(parse(path)).addCallback(listings.append)
        names: list[str] = []
        while True:
            batch: list[Any] = []
            listings[0].next().addCallback(batch.extend)
            if not batch:
                return sorted(names)
            names += [entry.name for entry in batch]
