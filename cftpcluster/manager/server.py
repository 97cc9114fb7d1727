"""Where the administration is served: the listener kind ``manager``, and a node's administration socket."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IProtocol
from twisted.plugin import IPlugin
from zope.interface import implementer

from ..config.document import Settings
from ..interfaces import IPrivateServer, IServer, IServerFactory
from ..servers.http import RoutedResource, Sessions, Site, VerifiedLogins
from ..vocabulary import Author
from ._console import ConsoleRoutes
from .access import AUDIENCE, COOKIE, AdministratorAccess, SocketAccess
from .api import Administration, administrationResource, administrationRoutes


@frozen(kw_only=True)
class ManagerOptions:
    """Options of a listener of kind ``manager``: there are none beside its port, networks and certificate."""


@implementer(IServer, IPrivateServer)
@define(eq=False)
class ManagerServer:
    """The administration over HTTPS: console and API."""

    site: Site
    implicitTLS = True

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        protocol: IProtocol | None = self.site.buildProtocol(addr)
        return protocol

    def doStart(self) -> None:
        self.site.doStart()

    def doStop(self) -> None:
        self.site.doStop()

    def reconfigure(self, config: ManagerOptions) -> Deferred[None]:
        return succeed(None)

    def drain(self) -> Deferred[None]:
        # A draining node is still administered, if only to be told to resume.
        return succeed(None)

    def resume(self) -> None:
        pass

    def disconnect(self) -> None:
        self.site.disconnect()


@implementer(IPlugin, IServerFactory)
@define(eq=False)
class ManagerServerFactory:
    """Made by the node itself, since it serves the node's own parts.

    :ivar authenticate: as :meth:`cftpcluster.auth.administrators.AdminPasswords.authenticate`.
    """

    _administration: Administration
    _authenticate: Callable[[str, bytes, str], Deferred[Author]]
    _randomBytes: Callable[[int], bytes] = os.urandom
    kind: str = field(default="manager", init=False)
    summary: str = field(default="the administrators' console and REST API", init=False)
    configClass: type = field(default=ManagerOptions, init=False)
    needsTLS: bool = field(default=True, init=False)

    def build(
        self,
        config: ManagerOptions,
        *,
        reactor: Any,
        sessionKeys: Callable[[], Sequence[bytes]],
        settings: Callable[[], Settings],
        **others: Any,
    ) -> ManagerServer:
        sessions = Sessions(COOKIE, AUDIENCE, sessionKeys, settings, reactor.seconds, self._randomBytes)
        access = AdministratorAccess(
            self._administration.node.document,
            self._authenticate,
            sessions,
            VerifiedLogins(self._randomBytes(32), reactor.seconds),
            self._administration.rules.sessions,
            self._administration.tokens,
            self._administration.notify,
        )
        routes = administrationRoutes(self._administration, access)
        node = self._administration.node
        ConsoleRoutes(access, lambda: str(node.status()["node"]), node.document).add(routes.app)
        return ManagerServer(Site(RoutedResource(routes.app), reactor))


def socketSite(administration: Administration) -> Site:
    """The factory to listen with on the administration socket."""
    access = SocketAccess(administration.reactor, administration.pool)
    return Site(administrationResource(administration, access), administration.reactor)
