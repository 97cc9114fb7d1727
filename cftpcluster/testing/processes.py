"""Real nodes in processes of their own, for integration tests, benchmarks and demonstrations.

Everything blocks: it is for programs that run no reactor. Every node gets a loopback address of its own, so that ports
are the default ones on every node, as on real hosts.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlencode

from attrs import define, field

T = TypeVar("T")

PATIENCE_SECONDS = float(os.environ.get("CFTPCLUSTER_TEST_PATIENCE", "60"))
"""How long a condition may take before a test gives up; generous, since it costs nothing when all is well."""


class Impatient(AssertionError):
    """A condition did not become true in time."""


def waitFor(
    what: str, condition: Callable[[], T | None], seconds: float = PATIENCE_SECONDS, pauseSeconds: float = 0.02
) -> T:
    """Ask until ``condition()`` is true, and return what it answered; ``Impatient`` says what never was."""
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise Impatient(f"not within {seconds:g} s: {what}; last answer {answer!r}")
        time.sleep(pauseSeconds)


def loopbackAddresses(number: int) -> list[str]:
    """Addresses of 127.0.0.0/8 on which nothing listens, for nodes of one cluster."""
    chosen: list[str] = []
    while len(chosen) < number:
        address = f"127.{random.randrange(1, 255)}.{random.randrange(255)}.{random.randrange(1, 255)}"
        if address not in chosen and not isListening(address, 8789):
            chosen.append(address)
    return chosen


def isListening(address: str, port: int) -> bool:
    """Whether a TCP connection is accepted there."""
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex((address, port)) == 0


def processorSeconds(pid: int) -> float:
    """How long a process has been computing."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def program(name: str) -> str:
    """The path of a console script of this Python's environment."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise FileNotFoundError(name)
    return found


@define(eq=False)
class NodeProcess:
    """One node, run by ``twistd -n``.

    :ivar state: its state folder.
    :ivar address: the address it binds.
    :ivar prefix: a command that runs the node, such as ``nsenter`` or ``strace``, and becomes it.
    """

    name: str
    address: str
    state: Path
    environment: dict[str, str] = field(factory=dict, repr=False)
    prefix: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def logFile(self) -> Path:
        return self.state.with_name(self.state.name + ".log")

    @property
    def log(self) -> str:
        """All that its processes have written to standard output and error."""
        return self.logFile.read_text("utf-8", "replace") if self.logFile.exists() else ""

    def spawn(self, role: str, *options: str) -> None:
        """Start the process and return at once."""
        with open(self.logFile, "ab") as output:
            self.process = subprocess.Popen(
                [
                    *self.prefix,
                    *(program("twistd"), "-n", "cftpcluster", "--role", role, "--name", self.name),
                    *("--bind", self.address, "--state-dir", str(self.state), *options),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.state.parent,
                env=dict(os.environ, **self.environment),
            )

    def start(self, role: str, *options: str) -> Self:
        """Start the process and wait until it is ready."""
        self.spawn(role, *options)
        self.waitReady()
        return self

    def waitReady(self) -> None:
        """Wait until ``/readyz`` says 200; fails at once when the process has ended."""
        waitFor(f"{self.name} ready", self._ready)

    def _ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.log[-3000:]}")
        return self.health("/readyz")[0] == 200

    def health(self, path: str) -> tuple[int, bytes]:
        """Status and body of a request to the health listener; (0, b"") when nobody answers."""
        try:
            with socket.create_connection((self.address, 8790), 5) as connection:
                connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {self.address}\r\n\r\n".encode())
                answer = b"".join(iter(lambda: connection.recv(65536), b""))
        except OSError:
            return 0, b""
        head, _, body = answer.partition(b"\r\n\r\n")
        words = head.split(None, 2)
        return (int(words[1]), body) if len(words) > 1 else (0, b"")

    def run(self, *arguments: str, stdin: bytes = b"", timeout: float = 300) -> subprocess.CompletedProcess[bytes]:
        """Run ``cftpctl`` against this node's administration socket."""
        return subprocess.run(
            [program("cftpctl"), "--state-dir", str(self.state), *arguments],
            input=stdin,
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    def ctl(self, *arguments: str, stdin: bytes = b"") -> Any:
        """Run ``cftpctl ... --json``, insist on success and return its value."""
        done = self.run(*arguments, "--json", stdin=stdin)
        if done.returncode != 0:
            raise AssertionError(
                f"cftpctl {' '.join(arguments)}: exit {done.returncode}: {done.stderr.decode(errors='replace')}"
            )
        return json.loads(done.stdout) if done.stdout.strip() else None

    def connection(self) -> HTTPConnection:
        """A connection to the REST API over the administration socket; a context manager by :func:`closing`."""
        return _SocketConnection(str(self.state / "admin.sock"))

    def request(self, method: str, path: str, value: Any = None, **query: Any) -> tuple[int, Any]:
        """Status and value of a request to the REST API, which takes no process of its own, as ``cftpctl`` does.

        :param path: what follows ``/api/v1/``.
        """
        texts = {key: str(given).lower() if isinstance(given, bool) else given for key, given in query.items()}
        target = f"/api/v1/{path}" + (f"?{urlencode(texts)}" if texts else "")
        body = None if value is None else json.dumps(value)
        with closing(self.connection()) as connection:
            connection.request(method, target, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            text = answer.read()
        return answer.status, json.loads(text) if text else None

    def ask(self, method: str, path: str, value: Any = None, **query: Any) -> Any:
        """As :meth:`request`, but insist on success and return the value."""
        status, answer = self.request(method, path, value, **query)
        if not 200 <= status < 300:
            raise AssertionError(f"{self.name}: {method} {path}: {status} {answer!r}")
        return answer

    def status(self) -> Any:
        """The cluster as this node sees it."""
        return self.ask("GET", "status")

    def export(self) -> Any:
        """The document, as plain values."""
        return self.ask("GET", "export")

    def apply(self, document: dict[str, Any], **query: Any) -> Any:
        """What ``cftpctl apply`` does, with a document given as plain values."""
        return self.ask("POST", "apply", document, **query)

    def token(self, name: str) -> str:
        """A join token for a new node."""
        made: str = self.ask("POST", "tokens/join", {"name": name})["token"]
        return made

    def signal(self, number: int) -> None:
        """Send a signal to this node's own process."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        self.signal(signal.SIGKILL)
        self._wait(30)

    def stop(self, seconds: float = 60) -> int:
        """SIGINT, which ends it at once; wait, and return the exit code."""
        self.signal(signal.SIGINT)
        return self._wait(seconds)

    def terminate(self, seconds: float = 60) -> int:
        """SIGTERM, which has it drain first; wait, and return the exit code."""
        self.signal(signal.SIGTERM)
        return self._wait(seconds)

    def _wait(self, seconds: float) -> int:
        if self.process is None:
            return 0
        return self.process.wait(seconds)


class _SocketConnection(HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@define(eq=False)
class ClusterProcesses:
    """A cluster in a temporary folder; a context manager that ends its own processes and removes the folder.

    :ivar nodes: by name; the primary is the first.
    """

    names: Iterable[str] = ("node-a", "node-b", "node-c")
    addresses: Iterable[str] | None = None
    keep: bool = False
    folder: Path = field(init=False)
    nodes: dict[str, NodeProcess] = field(factory=dict, init=False)

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="cftpcluster-"))
        names = list(self.names)
        for name, address in zip(names, self.addresses or loopbackAddresses(len(names)), strict=True):
            self.nodes[name] = NodeProcess(name, address, self.folder / name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes.values():
            if node.process is not None and node.process.poll() is None:
                node.process.kill()
                node.process.wait(30)
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def primary(self) -> NodeProcess:
        return next(iter(self.nodes.values()))

    @property
    def secondaries(self) -> list[NodeProcess]:
        return list(self.nodes.values())[1:]

    def startAll(self, *primaryOptions: str) -> Self:
        """Found the cluster, join every secondary, and wait until all follow."""
        self.primary.start("primary", *primaryOptions)
        for node in self.secondaries:
            self.join(node)
        self.converged()
        return self

    def join(self, node: NodeProcess) -> None:
        """Start a new secondary with a token from the primary."""
        tokenFile = self.folder / f"{node.name}.token"
        tokenFile.write_text(self.primary.token(node.name) + "\n")
        node.start("secondary", "--join-file", str(tokenFile))

    def converged(self) -> int:
        """Wait until every node is live on the primary's revision; returns that revision."""
        waited = waitFor("live on all nodes", self._liveEverywhere)
        heads = waitFor("equal heads", self._equalHeads)
        assert heads[0] >= waited
        return heads[0]

    def _liveEverywhere(self) -> int | None:
        answer = self.primary.ask("GET", "wait", all=True, seconds=5)
        revision: int = answer["revision"]
        return None if answer["pending"] else revision

    def _equalHeads(self) -> tuple[int, str] | None:
        heads = {
            (status["revision"], status["chainHash"]) for status in (node.status() for node in self.nodes.values())
        }
        return heads.pop() if len(heads) == 1 else None
