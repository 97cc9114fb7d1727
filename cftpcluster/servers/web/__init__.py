"""Files over HTTPS: an API for scripts, and a page for people.

It knows no storage, no password and no right: those come with the account that the portal gives for a log-in.
"""

from ._server import WebOptions, WebServer, WebServerFactory, webServer, webServerFactory

__all__ = ["WebOptions", "WebServer", "WebServerFactory", "webServer", "webServerFactory"]
