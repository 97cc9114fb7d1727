"""``twistd cftpcluster``: from options to a running node.

The only place, beside :mod:`cftpcluster.cli`, that imports the global reactor. It knows processes (signals, exit codes,
standard error); what a node does is :mod:`cftpcluster.node`'s.
"""

from __future__ import annotations

import atexit
import gc
import os
import re
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.failure import Failure

from . import state
from .config.document import NAME_PATTERN
from .errors import ClusterError
from .node import Node
from .starting import Start
from .supervision import Supervisor

log = Logger()


def _leave(line: str) -> NoReturn:
    """End before anything has started: one line on standard error, exit code 1."""
    raise SystemExit(f"cftpcluster: {line}")


_STATE_HELP = (
    "Folder of journal, keys and default file storage; locked while running.  "
    "[default: /var/lib/cftpcluster as root, else ~/.local/state/cftpcluster]"
)
_ADVERTISE_HELP = (
    "Address at which other nodes reach this one.  [default: the bind address, else that of the default route]"
)
_PASSWORD_HELP = (
    "First start of a primary: file with the password of administrator admin.  "
    "[default: generated, written to initial-admin-password in the state folder]"
)


class Options(usage.Options):
    """The options of ``twistd cftpcluster``; a bad one ends the process with one line on standard error."""

    synopsis = "[options]"
    longdesc = "A node of a managed file transfer cluster: FTP, FTPS, SFTP and HTTPS over one configuration."
    optParameters = [
        ["role", None, None, "primary or secondary; decides only on an empty state folder. Required."],
        ["name", None, None, "The node's name in the cluster.  [default: the host name]"],
        ["state-dir", None, None, _STATE_HELP],
        ["bind", None, None, "Address that every listener binds, and outgoing connections start from.  [default: all]"],
        ["advertise", None, None, _ADVERTISE_HELP],
        ["join-file", None, None, "File with a join token (- for standard input), for a secondary's first start."],
        ["join", None, None, "A join token; it is visible in the process list, so prefer --join-file."],
        ["admin-password-file", None, None, _PASSWORD_HELP],
    ]
    optFlags = [["existing", None, "Refuse to start on an empty state folder."]]
    compData = usage.Completions(
        optActions={
            "role": usage.CompleteList(["primary", "secondary"]),
            "state-dir": usage.CompleteDirs(),
            "join-file": usage.CompleteFiles(),
            "admin-password-file": usage.CompleteFiles(),
        }
    )

    start: Start

    def parseOptions(self, options: list[str] | None = None) -> None:
        try:
            usage.Options.parseOptions(self, options)
        except usage.UsageError as error:
            _leave(f"{error} (twistd cftpcluster --help lists the options)")

    def parseArgs(self) -> None:  # no positional arguments
        pass

    def postOptions(self) -> None:
        if self["role"] not in ("primary", "secondary"):
            _leave(
                "--role must be primary or secondary" if self["role"] else "--role is required: primary or secondary"
            )
        name = self["name"] or socket.gethostname().partition(".")[0]
        if not NAME_PATTERN.fullmatch(name):
            _leave(f"--name: {name!r} is no node's name: letters, digits, '.', '_', '@' and '-', at most 64")
        bind = _address(self["bind"], "--bind") if self["bind"] else ""
        directory = Path(self["state-dir"] or state.defaultStateDirectory()).absolute()
        try:
            self.start = Start(
                role=self["role"],
                name=name,
                state=state.StateDirectory(directory),
                bind=bind,
                advertise=self._advertised(bind),
                token=self._token(),
                existing=bool(self["existing"]),
                adminPassword=self._adminPassword(),
            )
            self.start.state.prepare()
            self.start.state.lock()
        except ClusterError as error:
            _leave(str(error))
        self._twistdFiles(directory)

    def _twistdFiles(self, directory: Path) -> None:
        """twistd's own files lie in the state folder unless given. With the lock ours, a pid file is a dead one's."""
        twistd: Any = self.parent
        if twistd["pidfile"] == "twistd.pid":
            pidFile = directory / state.PID_FILE
            pidFile.unlink(missing_ok=True)
            twistd["pidfile"] = str(pidFile)
        if not twistd["nodaemon"] and not twistd["logfile"] and not twistd.get("syslog"):
            twistd["logfile"] = str(directory / state.LOG_FILE)

    def _advertised(self, bind: str) -> str:
        given = self["advertise"]
        if given:
            if not re.fullmatch(r"[A-Za-z0-9.:-]{1,253}", given):
                _leave(f"--advertise: {given!r} is no address")
            return str(given)
        return bind if bind and not ip_address(bind).is_unspecified else _defaultRouteAddress()

    def _token(self) -> str:
        if self["join"]:
            return str(self["join"]).strip()
        return _firstLine(self["join-file"], "--join-file") if self["join-file"] else ""

    def _adminPassword(self) -> bytes | None:
        if not self["admin-password-file"]:
            return None
        password = _firstLine(self["admin-password-file"], "--admin-password-file")
        return password.encode("utf-8", "surrogateescape")


def _firstLine(path: str, option: str) -> str:
    """The first line of a small file, or of standard input; an empty one is refused."""
    try:
        with open(0 if path == "-" else path, "rb", closefd=path != "-") as file:
            line = file.read(65536).decode("utf-8", "surrogateescape").partition("\n")[0].rstrip("\r")
    except OSError as error:
        _leave(f"{option}: cannot read {path}: {error.strerror}")
    if not line:
        _leave(f"{option}: {path} is empty")
    return line


def _address(text: str, option: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        _leave(f"{option}: {text!r} is no IP address")


def _defaultRouteAddress() -> str:
    """The local address of the default route, IPv4 first; nothing is sent. Loopback where there is no route."""
    for family, somewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((somewhere, 9))
            except OSError:
                continue
            return str(probe.getsockname()[0])
    return "127.0.0.1"


def steadily(wallTime: Callable[[], float], elapsed: Callable[[], float]) -> Callable[[], float]:
    """A clock that shows the time of day as it is now, and goes on from there whatever becomes of the system's.

    :param wallTime: seconds since the epoch.
    :param elapsed: seconds since some moment, never set and never going back.
    """
    begun = wallTime() - elapsed()
    return lambda: begun + elapsed()


def keepTime(reactor: Any) -> None:
    """Have time-outs, delays, bans and sessions last as long as they should when the system's clock is set.

    A reactor counts by the time of day: an hour forward and every time-out is over, an hour back and no delayed call
    comes for an hour. Calls that are scheduled already stay as they are, since the numbers go on from where they were.
    The time that the machine sleeps counts, so that nothing outlives its time by it.
    """
    reactor.seconds = steadily(time.time, lambda: time.clock_gettime(time.CLOCK_BOOTTIME))


END_SECONDS = 30.0
"""What a supervisor should allow for the end of a process, beside the time that transfers have to finish."""

GARBAGE_THRESHOLDS = (50_000, 20, 100)
"""A large document is millions of objects that live long; looking for cycles among them stops everything else."""


def _settleMemory() -> None:
    """What lives now lives as long as the process: the collector need not look at it again."""
    gc.collect()
    gc.freeze()


def _raiseDescriptorLimit() -> None:
    """Every connection and every open file takes a descriptor; the soft limit is there for programs that use select."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _exitWithFailure() -> None:
    """twistd always ends with 0 when its reactor was stopped; this is the last thing to run, after it tidied up."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


@define(eq=False)
class NodeService(Service):
    """Runs one node in this process: starts it, ends the process when it cannot go on, drains it on SIGTERM."""

    _start: Start
    _reactor: Any
    _supervisor: Supervisor
    _node: Node = field(init=False)
    _terminating: bool = field(default=False, init=False)
    _stopping: bool = field(default=False, init=False)

    def startService(self) -> None:
        super().startService()
        try:
            self._start.state.lock()
        except ClusterError as error:
            _leave(str(error))
        self._node = Node(start=self._start, reactor=self._reactor)
        self._reactor.callWhenRunning(self._run)

    def _run(self) -> None:
        _raiseDescriptorLimit()
        gc.set_threshold(*GARBAGE_THRESHOLDS)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        started = self._node.start().addCallback(lambda _: self._started())
        _ = started.addErrback(self._failed)

    def _started(self) -> None:
        _settleMemory()
        self._supervisor.ready(self._node.describe)

    def _failed(self, failure: Failure) -> None:
        if self._stopping:
            return
        if failure.check(ClusterError):
            line = failure.getErrorMessage().replace("\n", "; ")
        else:
            log.failure("The node did not start", failure)
            line = f"the node did not start: {failure.getErrorMessage()}"
        log.critical("{line}", line=line)
        print(f"cftpcluster: {line}", file=sys.__stderr__, flush=True)  # twistd turns sys.stderr into a log
        atexit.register(_exitWithFailure)
        self._stop()

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._terminate, signal.Signals(number))

    def _terminate(self, number: signal.Signals) -> None:
        if self._terminating or number == signal.SIGINT:
            log.info("{signal}: stopping at once", signal=number.name)
            self._stop()
            return
        self._terminating = True
        log.info("{signal}: draining", signal=number.name)
        self._supervisor.stopping(self._node.drainSeconds + END_SECONDS)
        drained = self._node.drain().addErrback(lambda failure: log.failure("draining failed", failure))
        _ = drained.addBoth(lambda _: self._stop())

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._reactor.stop()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._supervisor.stop()
        return self._node.stop().addBoth(self._stopped)

    def _stopped(self, result: object) -> None:
        if isinstance(result, Failure):
            log.failure("The node did not stop cleanly", result)
        self._start.state.unlock()


def makeService(options: Options) -> NodeService:
    """What twistd runs."""
    from twisted.internet import reactor

    keepTime(reactor)
    return NodeService(options.start, reactor, Supervisor.of(os.environ, os.getpid(), reactor))
