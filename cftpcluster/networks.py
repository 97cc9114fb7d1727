"""Client networks: which addresses a list of CIDR texts means, and whom a limit by address counts together.

Pure values: nothing here knows a socket.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Self, TypeAlias

from attrs import frozen

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

PRIVATE_NETWORKS = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
)
"""Loopback, private and link-local networks."""


@lru_cache(1024)
def parseAddress(text: str) -> Address:
    """The address that ``text`` is; an IPv4 address in IPv6 clothing (``::ffff:192.0.2.1``) is the IPv4 address, so
    that it cannot pass by rules written for it. ``ValueError`` for anything else, host names included."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def parseNetwork(text: str) -> Network:
    """The network that ``text`` is, such as ``192.0.2.0/24`` or a single address; bits beyond the prefix must be 0.
    ``ValueError`` for anything else."""
    # A zone, which may follow an IPv6 address, can hold any character, and no network has one.
    if "%" in text:
        raise ValueError("a network has no zone")
    network = ipaddress.ip_network(text)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return network


def countedAs(address: str) -> str:
    """Whom limits by address count ``address`` as: an IPv6 client commands a whole /64, so that is one client."""
    try:
        parsed = parseAddress(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)


@frozen
class Networks:
    """A list of networks."""

    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """From CIDR texts; ``ValueError`` names the first that is none."""
        return cls(tuple(parseNetwork(text) for text in texts))

    def __bool__(self) -> bool:
        return bool(self.networks)

    def __contains__(self, address: str) -> bool:
        """Whether ``address`` lies in one of them; a text that is no address lies in none."""
        try:
            parsed = parseAddress(address)
        except ValueError:
            return False
        return any(parsed in network for network in self.networks)


@frozen
class AddressRule:
    """Who may come in: with ``allow`` only those; ``deny`` is stronger."""

    allow: Networks = Networks()
    deny: Networks = Networks()

    def admits(self, address: str) -> bool:
        """A text that is no address is admitted only where nothing is restricted."""
        if not self.allow and not self.deny:
            return True
        try:
            parseAddress(address)
        except ValueError:
            return False
        return address not in self.deny and (not self.allow or address in self.allow)
