"""SSH clients that say anything, on real sockets, each from an address that a test chooses. Everything blocks."""

from __future__ import annotations

import contextlib
import itertools
import resource
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Self

from attrs import define, field

from cftpcluster.testing.processes import ClusterProcesses, NodeProcess
from cftpcluster.vocabulary import Permission
from tests.integration.talkers import namesOf
from tests.servers.ssh import scripted
from tests.servers.ssh.scripted import ScriptedClient, asking, opening, password, sending, string, uint32, uint64

from .clusters import PASSWORD, USER, FaultCase, Shared, user, waitFor
from .scale import choose

PORT = 2222
HURRIED_PORT = 2223
HURRIED_SECONDS = choose(4, 30)
SECONDS = 60.0

EVERYTHING = [each.value for each in Permission]

DOCUMENT = {
    "users": [
        user(mounts=[{"path": "/", "backend": "files", "folder": USER, "permissions": EVERYTHING}]),
        {**user(), "name": "bob", "mounts": [{"path": "/", "backend": "files", "folder": "bob"}]},
        {**user(), "name": "carol"},
    ],
    "listeners": [{"name": "hurried", "kind": "sftp", "port": HURRIED_PORT, "loginSeconds": HURRIED_SECONDS}],
}
"""Alice may do everything, and Carol is who others want to be: a name that fails often is delayed. A second listener
waits less long for log-ins."""

SHARED = Shared(partial(ClusterProcesses, ("node-a",)))

INIT, VERSION_REPLY, OPEN, CLOSE, READ, WRITE = 1, 2, 3, 4, 5, 6
OPENDIR, READDIR, REALPATH, STAT = 11, 12, 16, 17
STATUS, HANDLE, DATA, NAME = 101, 102, 103, 104
OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE, UNSUPPORTED = 0, 1, 2, 3, 4, 5, 8

_octets = itertools.count(1)


def elsewhere(network: int = 0) -> str:
    """An address of this machine that nobody else here comes from; of one of the networks 127.35.0.0/24 and so on."""
    number = next(_octets)
    return f"127.35.{network + number // 250}.{number % 250 + 1}"


class Gone(ConnectionError):
    """The server ended the connection; the text is what it said last."""


@define(eq=False)
class Attacker:
    """One connection.

    :ivar source: the address that it comes from.
    """

    node: NodeProcess
    source: str = field(factory=elsewhere)
    port: int = PORT
    strict: bool = True
    exchanges: bool = True
    socket: socket.socket = field(init=False)
    client: ScriptedClient = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.socket = socket.create_connection((self.node.address, self.port), SECONDS, (self.source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client = ScriptedClient(self.write, exchanges=self.exchanges)
        if not self.strict:
            self.client.kexInit = scripted.kexInit((b"curve25519-sha256",))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def write(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except OSError:
            # What the server said last can still be read.
            pass

    def read(self) -> None:
        """Some bytes of the server; ``Gone``."""
        try:
            data = self.socket.recv(1 << 18)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Gone(self.farewell)
        self.client.feed(data)

    @property
    def farewell(self) -> str:
        """Why the server disconnected, or ""."""
        said = [scripted.farewell(each).decode() for each in self.client.came if each[0] == scripted.DISCONNECT]
        return said[0] if said else ""

    def until(self, condition: Callable[[], Any]) -> Any:
        """Read until ``condition()`` is true, and give what it answered."""
        while not (answer := condition()):
            self.read()
        return answer

    def answer(self, *numbers: int) -> bytes:
        """The next message, of one of these numbers; others are dropped."""

        def found() -> bytes:
            while self.client.came:
                if self.client.came[0][0] == scripted.DISCONNECT:
                    raise Gone(self.farewell)
                message = self.client.came.pop(0)
                if message[0] in numbers:
                    return message
            return b""

        return bytes(self.until(found))

    def ended(self) -> str:
        """Wait until the server has ended the connection; why, as it said."""
        try:
            while True:
                self.read()
        except Gone as gone:
            return str(gone)

    def send(self, *messages: bytes) -> None:
        for message in messages:
            self.client.send(message)

    # --- as others do

    def exchangeKeys(self) -> Self:
        self.client.start()
        self.until(lambda: self.client.keyed)
        return self

    def requestService(self) -> Self:
        self.send(bytes((scripted.SERVICE_REQUEST,)) + string(b"ssh-userauth"))
        self.answer(scripted.SERVICE_ACCEPT)
        return self

    def tryPassword(self, user: bytes, secret: bytes) -> bool:
        self.send(password(user, secret))
        return self.answer(scripted.USERAUTH_SUCCESS, scripted.USERAUTH_FAILURE)[0] == scripted.USERAUTH_SUCCESS

    def logIn(self, user: str = USER) -> Self:
        self.exchangeKeys().requestService()
        assert self.tryPassword(user.encode(), PASSWORD.encode())
        return self


@define(eq=False)
class SFTP(Attacker):
    """A session of SFTP, which may say anything too.

    :ivar channel: the server's number of its channel.
    """

    user: str = USER
    channel: int = field(default=0, init=False)
    _bytes: bytearray = field(factory=bytearray, init=False)
    _numbers: Any = field(factory=itertools.count, init=False)

    def __attrs_post_init__(self) -> None:
        Attacker.__attrs_post_init__(self)
        self.logIn(self.user)
        self.openChannel()

    def openChannel(self) -> None:
        """Have a new channel, and greet."""
        self.send(opening())
        self.channel = int.from_bytes(self.answer(scripted.OPEN_CONFIRMATION)[5:9], "big")
        self.send(asking(self.channel, b"subsystem", string(b"sftp")))
        self.answer(scripted.CHANNEL_SUCCESS)
        self._bytes.clear()
        self.send(sending(self.channel, string(bytes((INIT,)) + uint32(3))))
        assert self.packet()[0] == VERSION_REPLY

    def packet(self) -> bytes:
        """The next packet of SFTP."""
        while len(self._bytes) < 4 or len(self._bytes) < 4 + int.from_bytes(self._bytes[:4], "big"):
            message = self.answer(scripted.CHANNEL_DATA, scripted.CHANNEL_CLOSE)
            if message[0] == scripted.CHANNEL_CLOSE:
                raise Gone("the channel was closed")
            self._bytes += message[9:]
        end = 4 + int.from_bytes(self._bytes[:4], "big")
        packet = bytes(self._bytes[4:end])
        del self._bytes[:end]
        return packet

    def request(self, kind: int, *body: bytes) -> int:
        """Ask, without waiting; the number of the request."""
        number: int = next(self._numbers)
        self.send(sending(self.channel, string(bytes((kind,)) + uint32(number) + b"".join(body))))
        return number

    def ask(self, kind: int, *body: bytes) -> bytes:
        """The answer, which must be to this request: its type, and what follows the number."""
        number = self.request(kind, *body)
        packet = self.packet()
        assert int.from_bytes(packet[1:5], "big") == number, packet
        return packet[:1] + packet[5:]

    def askAll(self, requests: Sequence[tuple[int, bytes]], together: int = 50) -> list[bytes]:
        """Ask many things, some at a time; the answers as :meth:`ask` gives them."""
        answers = []
        for start in range(0, len(requests), together):
            part = requests[start : start + together]
            numbers = [self.request(kind, body) for kind, body in part]
            packets = [self.packet() for _ in part]
            assert [int.from_bytes(each[1:5], "big") for each in packets] == numbers
            answers += [each[:1] + each[5:] for each in packets]
        return answers

    def opened(self, path: bytes, flags: int = 1) -> bytes:
        """A handle, as a field of requests."""
        answer = self.ask(OPEN, string(path), uint32(flags), uint32(0))
        assert answer[0] == HANDLE, answer
        return answer[1:]

    def put(self, path: bytes, data: bytes) -> None:
        handle = self.opened(path, 26)
        for at in range(0, len(data), 1 << 17):
            assert codeOf(self.ask(WRITE, handle, uint64(at), string(data[at : at + (1 << 17)]))) == OK
        assert codeOf(self.ask(CLOSE, handle)) == OK

    def list(self, path: bytes = b"/") -> list[bytes]:
        """The names in a folder."""
        answer = self.ask(OPENDIR, string(path))
        assert answer[0] == HANDLE, answer
        handle, names = answer[1:], []
        while (read := self.ask(READDIR, handle))[0] == NAME:
            names += [name for name in namesOf(read[1:]) if name not in {b".", b".."}]
        assert codeOf(self.ask(CLOSE, handle)) == OK
        return names


def codeOf(answer: bytes) -> int:
    """Of a STATUS; -1 where it is another answer."""
    return int.from_bytes(answer[1:5], "big") if answer[0] == STATUS else -1


class Bystander(threading.Thread):
    """Another user who lists a small folder all the time, and notes how long that takes.

    :ivar seconds: one for each listing.
    """

    def __init__(self, node: NodeProcess, user: str) -> None:
        super().__init__(daemon=True)
        self.session = SFTP(node, user=user)
        self.seconds: list[float] = []
        self.failures: list[str] = []
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(0.01):
            begun = time.monotonic()
            try:
                self.session.list()
            except (OSError, AssertionError) as error:
                self.failures.append(repr(error))
                return
            self.seconds.append(time.monotonic() - begun)

    def rest(self, seconds: float) -> float:
        """Let it list for so long; the median."""
        return statistics.median(self.during(lambda: time.sleep(seconds)))

    def during(self, work: Callable[[], object]) -> list[float]:
        """What the listings took while ``work`` was done, and the one that was under way then."""
        first = len(self.seconds)
        begun = time.monotonic()
        work()
        while len(self.seconds) == first and not self.failures and time.monotonic() - begun < SECONDS:
            time.sleep(0.005)
        assert not self.failures, self.failures
        return self.seconds[first:]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        self.join(SECONDS)
        self.session.socket.close()


@contextlib.contextmanager
def manyDescriptors() -> Iterator[None]:
    """As many open files as this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class SSHCase(FaultCase):
    """One node, whose log tells of no fault at the end of a test."""

    shared = SHARED

    def setUp(self) -> None:
        super().setUp()
        (self.node,) = self.nodes
        if not isOpen(self.node, HURRIED_PORT):
            self.node.apply(DOCUMENT)
            waitFor("the second listener", lambda: isOpen(self.node, HURRIED_PORT))
        self.logged = len(self.node.log)

    def tearDown(self) -> None:
        said = self.node.log[self.logged :]
        self.assertNotIn("Traceback", said)
        self.assertNotIn("Unhandled", said)

    def assertServes(self) -> None:
        with SFTP(self.node) as sftp:
            sftp.list()

    def logInSeconds(self, port: int = PORT) -> float:
        """How long a log-in takes, from the connection on."""
        begun = time.monotonic()
        with Attacker(self.node, port=port) as attacker:
            attacker.logIn()
        return time.monotonic() - begun


def isOpen(node: NodeProcess, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((node.address, port)) == 0


def isKeptOut(node: NodeProcess, source: str) -> bool:
    """Whether nobody can log in over SFTP from this address."""
    try:
        with Attacker(node, source=source) as attacker:
            attacker.logIn()
    except (Gone, OSError):
        return True
    return False
