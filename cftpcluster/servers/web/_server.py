"""The server of one listener of kind ``web``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import define, frozen
from klein import Klein
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.threads import deferToThreadPool
from twisted.plugin import IPlugin
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from ...auth.portal import AccountPortal
from ...config.document import Listener, Settings
from ...events import Notify
from ...interfaces import IFile, IServer, IServerFactory, IValidator
from ...vocabulary import Problem
from ..http import RoutedResource, Sessions, Site, VerifiedLogins, answerProblems
from ._access import AUDIENCE, COOKIE, UserAccess
from ._account import AccountRoutes
from ._checksums import ALGORITHMS, Checked
from ._files import FileRoutes
from ._names import FILES, FOLDERS, UPLOADS
from ._pages import PageRoutes
from ._uploads import UploadRoutes
from ._uploadtokens import UploadTokens
from ._writers import Writers

UNLIMITED_BYTES = 2**62


@implementer(IValidator)
@frozen(kw_only=True)
class WebOptions:
    """Options of a listener of kind ``web``.

    :ivar uploadLimitBytes: how long a file may be that is uploaded here; 0 for no limit.
    """

    uploadLimitBytes: int = 0

    def problems(self) -> Sequence[Problem]:
        if self.uploadLimitBytes < 0:
            return [Problem("uploadLimitBytes", f"{self.uploadLimitBytes} is negative")]
        return []


@implementer(IServer)
@define(eq=False)
class WebServer:
    """Serves users over HTTPS.

    :ivar options: those of requests to come.
    """

    options: WebOptions
    site: Site
    implicitTLS = True

    def buildProtocol(self, addr: IAddress) -> Any:
        return self.site.buildProtocol(addr)

    def doStart(self) -> None:
        self.site.doStart()

    def doStop(self) -> None:
        self.site.doStop()

    def reconfigure(self, config: WebOptions) -> Deferred[None]:
        self.options = config
        return succeed(None)

    def drain(self) -> Deferred[None]:
        return self.site.drain()

    def resume(self) -> None:
        self.site.resume()

    def disconnect(self) -> None:
        self.site.disconnect()

    def uploadLimit(self) -> int:
        """How long an upload may be now."""
        return self.options.uploadLimitBytes or UNLIMITED_BYTES

    def knownLimit(self) -> int | None:
        """As :meth:`uploadLimit`; ``None`` where there is none."""
        return self.options.uploadLimitBytes or None


def webServer(
    options: WebOptions,
    *,
    listener: str,
    reactor: Any,
    portal: AccountPortal,
    sessionKeys: Callable[[], Sequence[bytes]],
    settings: Callable[[], Settings],
    notify: Notify,
    now: Callable[[], float],
    randomBytes: Callable[[int], bytes],
    pool: ThreadPool,
) -> WebServer:
    """A server made of its parts.

    :param now: the time of day, as files have it; seconds since the epoch.
    :param pool: for what takes a processor's time.
    """
    app = Klein()
    answerProblems(app)
    sessions = Sessions(COOKIE, AUDIENCE, sessionKeys, settings, reactor.seconds, randomBytes)
    verified = VerifiedLogins(randomBytes(32), reactor.seconds)
    access = UserAccess(portal, listener, sessions, verified, notify, randomBytes)
    access.addRoutes(app)
    site = Site(RoutedResource(app, *(prefix.encode("ascii") for prefix in (FILES, UPLOADS, FOLDERS))), reactor)
    server = WebServer(options, site)
    AccountRoutes(access, portal, sessions, server.knownLimit).add(app)

    run = partial(deferToThreadPool, reactor, pool)

    def checked(opened: IFile, algorithm: str) -> Checked:
        return Checked(opened, ALGORITHMS[algorithm](), run)

    files = FileRoutes(access, server.uploadLimit, now, randomBytes, run)
    files.add(app)
    tokens = UploadTokens(sessionKeys, randomBytes)
    UploadRoutes(files.served, tokens, Writers(reactor), checked, server.knownLimit, settings, now).add(app)
    PageRoutes(access, settings).add(app)
    return server


@implementer(IServerFactory, IPlugin)
class WebServerFactory:
    kind = "web"
    summary = "files over HTTPS: the file manager, and an API for scripts"
    configClass = WebOptions
    needsTLS = True

    def build(
        self,
        config: WebOptions,
        *,
        listener: Listener,
        reactor: Any,
        portal: Any,
        tls: Any,
        hostKeys: Callable[[], Sequence[bytes]],
        sessionKeys: Callable[[], Sequence[bytes]],
        settings: Callable[[], Settings],
        notify: Notify,
        bindAddress: str,
        pool: ThreadPool,
    ) -> IServer:
        return webServer(
            config,
            listener=listener.name,
            reactor=reactor,
            portal=portal,
            sessionKeys=sessionKeys,
            settings=settings,
            notify=notify,
            now=time.time,
            randomBytes=os.urandom,
            pool=pool,
        )


webServerFactory = WebServerFactory()
