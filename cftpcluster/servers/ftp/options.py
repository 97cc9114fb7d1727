"""The options of an FTP listener, as an administrator writes them. Pure: knows no socket."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from attrs import frozen

from ...networks import Networks, parseAddress, parseNetwork
from ...vocabulary import Problem
from ..tls import Profile, checkAuthorities

_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


@frozen(kw_only=True)
class PassiveAddress:
    """The address that clients of one network are told.

    :ivar network: the clients' network (CIDR).
    :ivar address: where their data connections reach this listener.
    """

    network: str
    address: str


@frozen(kw_only=True)
class FTPOptions:
    """Options of a listener of kind ``ftp``.

    :ivar implicit: every connection starts with a TLS handshake, as on port 990.
    :ivar tls: ``required``: no log-in and no data without TLS; ``optional``: the client chooses; ``off``.
    :ivar passivePorts: the ports of passive data connections, such as ``50000-50999``.
    :ivar passiveAddress: the IPv4 address in the answer to PASV: one for all clients, or a list of which the first
        entry whose network holds the client counts. Without one it is the address that the client connected to.
    :ivar requireCloseNotify: over TLS, an upload whose data connection ends without TLS's own end (close_notify) is
        broken, since anybody between client and server could have cut it short.
    :ivar clientCertificates: ``optional``: whoever shows a certificate that is signed by one of ``clientAuthorities``
        logs in by USER alone, as one of those whom it is for (common name, DNS names or mail addresses of
        subjectAltName); others by password. ``required``: nobody logs in without; ``off``.
    :ivar clientAuthorities: certificates of the authorities, PEM.
    :ivar tlsSessionReuse: ``required``: data connections are refused that do not resume the TLS session of their
        control connection, which proves that the same client makes them; ``optional``: they may; ``off``: no session
        can be resumed.
    """

    implicit: bool = False
    tls: Literal["required", "optional", "off"] = "required"
    passivePorts: str = "50000-50999"
    passiveAddress: str | tuple[PassiveAddress, ...] = ""
    requireCloseNotify: bool = True
    clientCertificates: Literal["off", "optional", "required"] = "off"
    clientAuthorities: str = ""
    tlsSessionReuse: Literal["off", "optional", "required"] = "optional"

    def problems(self) -> Sequence[Problem]:
        found = []
        if self.implicit and self.tls == "off":
            found.append(Problem("tls", "implicit TLS cannot be off"))
        if self.clientCertificates != "off":
            if self.tls == "off":
                found.append(Problem("clientCertificates", "certificates are shown over TLS alone, which is off"))
            fault = checkAuthorities(self.clientAuthorities)
            if fault:
                found.append(Problem("clientAuthorities", fault))
        if not self.ports:
            found.append(
                Problem("passivePorts", f"expected a range of ports such as 50000-50999, got {self.passivePorts!r}")
            )
        if isinstance(self.passiveAddress, str):
            if self.passiveAddress and not _isAddress(self.passiveAddress):
                found.append(Problem("passiveAddress", _notAnAddress(self.passiveAddress)))
            return found
        for index, rule in enumerate(self.passiveAddress):
            if not _isAddress(rule.address):
                found.append(Problem(f"passiveAddress[{index}].address", _notAnAddress(rule.address)))
            try:
                parseNetwork(rule.network)
            except ValueError as error:
                found.append(Problem(f"passiveAddress[{index}].network", str(error)))
        return found

    @property
    def profile(self) -> Profile:
        """What is asked of clients in TLS's handshake."""
        if self.clientCertificates == "off":
            return Profile()
        return Profile((), self.clientAuthorities, self.clientCertificates == "required")

    @property
    def ports(self) -> range:
        """The passive ports; empty where ``passivePorts`` is no range of ports."""
        match = _PORTS.fullmatch(self.passivePorts)
        if match is None:
            return range(0)
        first, last = int(match[1]), int(match[2] or match[1])
        return range(first, last + 1) if 0 < first <= last <= 65535 else range(0)

    def passiveAddressFor(self, client: str) -> str:
        """The address to tell a client; "" where nothing is said of it."""
        if isinstance(self.passiveAddress, str):
            return self.passiveAddress
        for rule in self.passiveAddress:
            if client in Networks.parse([rule.network]):
                return rule.address
        return ""


def _isAddress(text: str) -> bool:
    try:
        return "%" not in text and parseAddress(text).version == 4
    except ValueError:
        return False


def _notAnAddress(text: str) -> str:
    return f"expected an IPv4 address, got {text!r}"
