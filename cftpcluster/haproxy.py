"""Writes a complete HAProxy configuration for a cluster, from its document: equal documents give equal texts.

Who listens where, on which node, and who believes PROXY headers is the document's; it is not known here how nodes are
now, since balancers find that out by asking ``/readyz/LISTENER`` of each. Looks at every user: belongs in a thread.
"""

from __future__ import annotations

import ipaddress
import textwrap
from collections.abc import Iterator, Sequence
from itertools import pairwise

from attrs import frozen

from .config.document import Document, Listener, Node
from .errors import Invalid
from .networks import PRIVATE_NETWORKS, Networks, parseAddress, parseNetwork
from .passive import Ports, ftpListeners, joined, nodesInOrder, optionsOf, overlapping, segment, segmentCommands
from .services import effectiveListener
from .status import unsharedBackends
from .vocabulary import Problem

INNER_KINDS = frozenset({"cluster", "health"})
"""Listeners that are no clients' business: nodes talk to each other, and balancers to nodes, without a balancer."""


@frozen(kw_only=True)
class Balancer:
    """What an administrator says of the balancer.

    :ivar addresses: where clients reach it; empty means all IPv4 addresses of its host.
    :ivar source: the address that it connects to nodes from; "" leaves that to its host.
    :ivar relievePrimary: the primary gets clients only when no other node can have them.
    :ivar manager: administrators reach the Manager through it, too.
    """

    addresses: tuple[str, ...] = ()
    source: str = ""
    relievePrimary: bool = False
    manager: bool = False

    def check(self) -> None:
        """:raises Invalid: with every address that is none."""
        problems = []
        places = [("address", address) for address in self.addresses] + [("source", self.source)] * bool(self.source)
        for path, text in places:
            try:
                parseNetwork(text)
                ipaddress.ip_address(text)
            except ValueError:
                problems.append(Problem(path, f"{text!r} is not an IP address"))
        if problems:
            raise Invalid(problems)


@frozen
class Written:
    """A configuration, and what an administrator should see to; the warnings stand in the text, too."""

    text: str
    warnings: tuple[str, ...]


def haproxyConfiguration(document: Document, balancer: Balancer) -> Written:
    """:raises Invalid: where an address of the balancer is none."""
    balancer.check()
    writing = _Writing(document, balancer)
    sections = [*writing.sections()]
    head = [*_head(document, balancer), *_remarks(writing.warnings)]
    text = "\n".join([*head, "", _GLOBAL, *sections])
    return Written(text, tuple(writing.warnings))


# --- the text


def _head(document: Document, balancer: Balancer) -> Iterator[str]:
    words = ["cftpctl haproxy", *(f"--address {address}" for address in balancer.addresses)]
    words += [f"--source {balancer.source}"] * bool(balancer.source)
    words += ["--relieve-primary"] * balancer.relievePrimary + ["--manager"] * balancer.manager
    names = ", ".join(node.name for node in nodesInOrder(document)) or "none yet"
    yield from _comment(f"HAProxy (2.4 or later) in front of a cftpcluster; nodes: {names}")
    yield from _comment(
        f"Written by `{' '.join(words)}`. Write it anew when nodes, listeners or the primary change; a reload "
        "(systemctl reload haproxy) cuts nothing: the old process goes on with its connections until they end."
    )


def _comment(text: str) -> Iterator[str]:
    return (f"# {line}" for line in textwrap.wrap(text, 116, break_long_words=False, break_on_hyphens=False))


def _remarks(warnings: Sequence[str]) -> Iterator[str]:
    for warning in warnings:
        first, *commands = warning.split("\n")
        yield from ("#", *_comment(f"WARNING: {first}"), *(f"#   {command}" for command in commands))


_GLOBAL = """\
global
    log stdout format short daemon

defaults
    mode tcp
    log global
    option tcplog
    # Whoever only looks whether a port answers is not worth a line.
    option dontlognull

    # The nodes end sessions that are idle. Here nothing may: the control connection of a transfer is silent as long as
    # the transfer lasts. Hosts that vanished are found by keep-alives.
    timeout client 24h
    timeout server 24h
    timeout client-fin 5m
    timeout server-fin 5m
    option clitcpka
    clitcpka-idle 60s
    clitcpka-intvl 10s
    clitcpka-cnt 6
    option srvtcpka
    srvtcpka-idle 60s
    srvtcpka-intvl 10s
    srvtcpka-cnt 6

    # A connection that a node does not take goes to another one at once.
    timeout connect 2s
    retries 2
    option redispatch 1

    # A node is out a second after it stops being ready, and back a second after it is again. There is no
    # "on-marked-down shutdown-sessions": a node that drains is not ready either, and its transfers go on until they are
    # done. The connections of a node that died end by themselves.
    timeout check 1s
    default-server inter 500ms fall 2 rise 2
"""


class _Writing:
    """Makes the sections of one configuration, and gathers warnings."""

    def __init__(self, document: Document, balancer: Balancer) -> None:
        self.document = document
        self.balancer = balancer
        self.warnings: list[str] = []
        self.nodes = nodesInOrder(document)
        self.unshared = unsharedBackends(document)
        self.ftp = ftpListeners(document)
        self.overlap = bool(self.ftp) and overlapping(document)

    def sections(self) -> Iterator[str]:
        self._warnAboutPorts()
        for _, listener in sorted(self.document.listeners.items()):
            if listener.kind in INNER_KINDS or (listener.kind == "manager" and not self.balancer.manager):
                continue
            yield self._frontend(listener)
            yield self._backend(listener)
        if self.nodes and self.ftp:
            yield from self._passiveSections()

    # --- warnings

    def _warnAboutPorts(self) -> None:
        if self.overlap:
            self.warnings.append(
                "nodes use the same passive ports, so FTP clients are kept on one node by a hash of their address, and "
                "data connections of a node that drains get lost. Give each node its own:\n"
                + "\n".join(segmentCommands(self.document))
            )
        for one, other in pairwise(self.ftp):
            if self._isProxied(one) != self._isProxied(other):
                self.warnings.append(
                    f"listeners {one.name} and {other.name} share this balancer, and only one of them takes PROXY "
                    "headers: where they share passive ports, too, data connections of one of them fail. Give both the "
                    "same proxyProtocol and trustedProxies."
                )
        for listener in self.ftp:
            if not self._isProxied(listener) and not optionsOf(listener).passiveAddress:
                self.warnings.append(
                    f"clients that say PASV to listener {listener.name} are told their node's own address. Have nodes "
                    "tell them the balancer's, by PROXY headers (see the backend) or by\n"
                    f"cftpctl listener set {listener.name} passiveAddress={self._anAddress()}"
                )

    def _anAddress(self) -> str:
        fourth = [address for address in self.balancer.addresses if ":" not in address]
        return fourth[0] if fourth else "BALANCER"

    def _isProxied(self, listener: Listener) -> bool:
        """Whether the nodes expect headers from this balancer."""
        if listener.proxyProtocol == "off" or not listener.trustedProxies:
            return False
        try:
            trusted = Networks.parse(listener.trustedProxies)
        except ValueError:
            return False
        return not self.balancer.source or self.balancer.source in trusted

    # --- control connections, and everything that has no others

    def _frontend(self, listener: Listener) -> str:
        lines = [f"frontend {_name(listener.name)}", *self._binds(str(listener.port))]
        if listener.kind == "manager":
            lines.append("    # The nodes see a connection from this balancer, which may be a private address.")
        lines += self._admission(listener)
        lines.append(f"    default_backend {_name(listener.name)}")
        return _section(lines)

    def _binds(self, ports: str) -> list[str]:
        places = [f"[{each}]" if ":" in each else each for each in self.balancer.addresses] or ["*"]
        return [f"    bind {place}:{ports}" for place in places]

    def _isRelieved(self, listener: Listener) -> bool:
        return self.balancer.relievePrimary and listener.kind != "manager" and len(self.nodes) > 1

    @staticmethod
    def _admission(listener: Listener) -> list[str]:
        """The listener's own rule, which nodes cannot keep where they do not see who the client is."""
        allow = listener.allow or (PRIVATE_NETWORKS if listener.kind == "manager" else ())
        lines = [f"    tcp-request connection reject if {{ src {' '.join(listener.deny)} }}"] if listener.deny else []
        return lines + ([f"    tcp-request connection reject if !{{ src {' '.join(allow)} }}"] if allow else [])

    def _backend(self, listener: Listener) -> str:
        lines = [f"backend {_name(listener.name)}", *self._choice(listener)]
        port = self._healthPort()
        if port is None:
            lines.append("    # There is no listener of kind health: whether a node is ready cannot be asked.")
        else:
            lines += [f"    option httpchk GET /readyz/{listener.name}", "    http-check expect status 200"]
        lines += self._proxyRemark(listener)
        if self._isRelieved(listener):
            lines.append("    # The primary (backup) gets clients only while no other node is ready.")
        for node in self.nodes:
            served = effectiveListener(listener, self.document, node.name)
            words = [self._server(node, served.port), *self._check(node), *self._ending(listener, node)]
            lines.append("    " + " ".join(words))
        return _section(lines)

    def _choice(self, listener: Listener) -> list[str]:
        if self.unshared and listener.kind != "manager":
            return [
                "    # Storage that users reach differs by node, so a client is sent to the same node each time, over",
                "    # every protocol. By a hash, not a stick-table: balancers agree on it, and a reload keeps it.",
                "    balance source",
                "    hash-type consistent",
            ]
        if self.overlap and listener.kind == "ftp":
            return ["    balance source", "    hash-type consistent"]
        return ["    balance leastconn"]

    def _proxyRemark(self, listener: Listener) -> list[str]:
        trusted = " ".join(listener.trustedProxies)
        if self._isProxied(listener):
            return [f"    # The nodes believe PROXY headers of {trusted}: this balancer must connect from there."]
        if listener.proxyProtocol != "off":
            self.warnings.append(
                f"listener {listener.name} believes PROXY headers of {trusted}, not of {self.balancer.source}"
            )
        address = self.balancer.source or "BALANCER"
        return [
            "    # The nodes take this balancer for the client. To have them told whom connections are from:",
            f"    # cftpctl listener set {listener.name} proxyProtocol=optional 'trustedProxies=[\"{address}\"]'",
            "    # where that is the address it connects from, then write this file anew and reload.",
        ]

    def _server(self, node: Node, port: int | None) -> str:
        source = self.balancer.source
        try:
            version = parseAddress(node.address).version
        except ValueError:
            place, late = node.address, "init-addr last,libc,none"
        else:
            place, late = f"[{node.address}]" if version == 6 else node.address, ""
            if source and parseAddress(source).version != version:
                source = ""
        words = [f"server {_name(node.name)}", place if port is None else f"{place}:{port}", late]
        words += [f"id {node.number}"] * bool(node.number) + [f"source {source}"] * bool(source)
        return " ".join(filter(None, words))

    def _health(self) -> Listener | None:
        found = [each for _, each in sorted(self.document.listeners.items()) if each.kind == "health"]
        return found[0] if found else None

    def _healthPort(self) -> int | None:
        health = self._health()
        return health.port if health else None

    def _check(self, node: Node) -> list[str]:
        health = self._health()
        if health is None:
            return ["check"]
        port = effectiveListener(health, self.document, node.name).port
        return ["check", f"port {port}", *(["check-send-proxy"] * self._isProxied(health))]

    def _ending(self, listener: Listener, node: Node) -> list[str]:
        words = ["send-proxy-v2"] * self._isProxied(listener)
        if self._isRelieved(listener) and node.name == self.document.promoted.name:
            words.append("backup")
        return words

    # --- data connections

    def _passiveSections(self) -> Iterator[str]:
        first = self.ftp[0]
        if self.overlap:
            ports = joined(each for node in self.nodes for each in segment(self.document, node))
            yield self._passiveOfAll(ports, first)
            return
        for node in self.nodes:
            ports = segment(self.document, node)
            if ports:
                yield self._passiveOf(node, ports, first)

    def _passiveOf(self, node: Node, ports: Sequence[Ports], first: Listener) -> str:
        lines = [f"listen _passive-{_name(node.name)}"]
        lines += [
            f"    # Passive data connections of {node.name}, to the same port there. Not checked: a node that drains",
            "    # still has transfers to begin.",
            *(line for each in ports for line in self._binds(str(each))),
            "    " + " ".join([self._server(node, None), *["send-proxy-v2"] * self._isProxied(first)]),
        ]
        return _section(lines)

    def _passiveOfAll(self, ports: Sequence[Ports], first: Listener) -> str:
        lines = [
            "listen _passive",
            "    # Passive data connections, to the node that the client's control connection is at: chosen in the",
            "    # same way, from the same nodes.",
            *(line for each in ports for line in self._binds(str(each))),
            "    balance source",
            "    hash-type consistent",
        ]
        for node in self.nodes:
            tracked = f"track {_name(first.name)}/{_name(node.name)}"
            lines.append("    " + " ".join([self._server(node, None), tracked, *self._ending(first, node)]))
        return _section(lines)


def _name(name: str) -> str:
    """A name of the document as HAProxy takes it."""
    return name.replace("@", ":")


def _section(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"
