"""Hosts of their own on this machine: network namespaces around a router, and what can go wrong between them.

Whoever tests is beside the router, and reaches every host whatever is wrong between two of them. Needs root.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Self, TypeVar

from attrs import define, field, frozen

C = TypeVar("C")

_CLONE_NEWNET = 0x40000000
_NAMESPACES = Path("/run/netns")
_PROGRAMS = ("ip", "iptables", "nsenter", "tc")
_libc = ctypes.CDLL(None, use_errno=True)
_numbers = count(1)


def _missing() -> str:
    """Why there can be no namespaces here; "" when there can."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"cftpcluster-{os.getpid()}-try"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"no network namespaces here: {tried.stderr.strip()}"
    subprocess.run(["ip", "netns", "delete", name], check=True)
    return ""


MISSING = _missing()


def needsNetwork(tested: C) -> C:
    """Mark a test class or method as skipped, by name, where there are no network namespaces."""
    if MISSING:
        tested.skip = MISSING  # type: ignore[attr-defined]
    return tested


@frozen
class Host:
    """One host.

    :ivar namespace: its network namespace.
    :ivar device: the router's device that leads to it.
    """

    namespace: str
    address: str
    device: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """The command that runs another one on this host, in the same process."""
        return ("nsenter", f"--net={_NAMESPACES / self.namespace}")


@define(eq=False)
class Network:
    """A router and its hosts; a context manager that takes them down again."""

    _name: str = field(factory=lambda: f"cftpcluster-{os.getpid()}-{next(_numbers)}", init=False)
    _hosts: list[Host] = field(factory=list, init=False)

    ROUTER_ADDRESS = "10.77.0.254"

    def __enter__(self) -> Self:
        _sweep()
        self._make(self._name)
        with self.inside():
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        return self

    def __exit__(self, *error: object) -> None:
        for name in (*(host.namespace for host in self._hosts), self._name):
            subprocess.run(["ip", "netns", "delete", name], check=False)

    def newHost(self) -> Host:
        """One more host, which reaches all others."""
        number = len(self._hosts) + 1
        host = Host(f"{self._name}-{number}", f"10.77.0.{number}", f"host{number}")
        self._make(host.namespace)
        self._hosts.append(host)
        _run(
            "ip",
            "link",
            "add",
            host.device,
            "netns",
            self._name,
            "type",
            "veth",
            "peer",
            "eth0",
            "netns",
            host.namespace,
        )
        self._inRouter("ip", "address", "add", self.ROUTER_ADDRESS, "dev", host.device)
        self._inRouter("ip", "link", "set", host.device, "up")
        self._inRouter("ip", "route", "add", host.address, "dev", host.device)
        _run(*host.prefix, "ip", "address", "add", host.address, "dev", "eth0")
        _run(*host.prefix, "ip", "link", "set", "eth0", "up")
        _run(*host.prefix, "ip", "route", "add", self.ROUTER_ADDRESS, "dev", "eth0")
        _run(*host.prefix, "ip", "route", "add", "default", "via", self.ROUTER_ADDRESS)
        return host

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets that this thread makes here are beside the router."""
        with open("/proc/thread-self/ns/net") as own, open(_NAMESPACES / self._name) as router:
            _enter(router.fileno())
            try:
                yield
            finally:
                _enter(own.fileno())

    @property
    def prefix(self) -> tuple[str, ...]:
        """The command that runs another one beside the router."""
        return ("nsenter", f"--net={_NAMESPACES / self._name}")

    # --- faults

    def dropFrom(self, source: Host, destination: Host) -> None:
        """What one host sends to another is gone; nobody is told. The way back stays as it is."""
        self._inRouter("iptables", "-w", "-A", "FORWARD", "-s", source.address, "-d", destination.address, "-j", "DROP")

    def part(self, host: Host, *others: Host) -> None:
        """A black hole between a host and others, in both directions."""
        for other in others:
            self.dropFrom(host, other)
            self.dropFrom(other, host)

    def cut(self, host: Host, *others: Host) -> None:
        """Connections between a host and others are reset, and new ones refused."""
        for other in others:
            for source, destination in ((host, other), (other, host)):
                self._inRouter(
                    *("iptables", "-w", "-A", "FORWARD", "-s", source.address, "-d", destination.address),
                    *("-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"),
                )

    def lose(self, host: Host, share: float) -> None:
        """Packets that other hosts send to this one are lost by chance."""
        self._inRouter(
            *("iptables", "-w", "-A", "FORWARD", "-d", host.address),
            *("-m", "statistic", "--mode", "random", "--probability", str(share), "-j", "DROP"),
        )

    def slow(self, host: Host, bytesPerSecond: int) -> None:
        """The host's line carries that much, in both directions."""
        rate = ("tbf", "rate", f"{bytesPerSecond * 8}bit", "burst", "4kb", "latency", "2s")
        self._inRouter("tc", "qdisc", "replace", "dev", host.device, "root", *rate)
        _run(*host.prefix, "tc", "qdisc", "replace", "dev", "eth0", "root", *rate)

    def heal(self) -> None:
        """Everything is as it should be again."""
        self._inRouter("iptables", "-w", "-F", "FORWARD")
        for host in self._hosts:
            for prefix, device in ((self.prefix, host.device), (host.prefix, "eth0")):
                # Without a rate there is nothing to delete.
                subprocess.run(
                    [*prefix, "tc", "qdisc", "delete", "dev", device, "root"], capture_output=True, check=False
                )

    def _make(self, namespace: str) -> None:
        _run("ip", "netns", "add", namespace)
        _run("ip", "-n", namespace, "link", "set", "lo", "up")

    def _inRouter(self, *command: str) -> None:
        _run(*self.prefix, *command)


def _sweep() -> None:
    """Remove what a process left that was killed."""
    for path in _NAMESPACES.glob("cftpcluster-*"):
        process = path.name.split("-")[1]
        if process.isdigit() and not Path("/proc", process).exists():
            subprocess.run(["ip", "netns", "delete", path.name], capture_output=True, check=False)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
