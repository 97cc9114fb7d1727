"""The console: pages for administrators, as frames that their scripts fill from the REST API.

Whoever is not logged in is asked to at every page, and whoever has the initial password still, to choose another one.
What pages show, and what can be done there, is not known here: it is what the API tells and takes, with its rights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field, frozen
from klein import Klein
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from werkzeug.exceptions import NotFound

from ..config.document import Branding, Document, Role
from ..servers.http import (
    Assets,
    FormLogin,
    HTTPProblem,
    Pages,
    templatesOf,
)
from ..vocabulary import Author
from .access import AdministratorAccess
from .rights import hasRole

TITLE = "cftpcluster"
PURPOSE = "Log in to administer the cluster."

_PACKAGES = ("cftpcluster.servers.http", __package__)
_ASSETS, _TEMPLATES = Assets.of(*_PACKAGES), templatesOf(*_PACKAGES)
_LOOK = Branding()


@frozen
class ConsolePage:
    """One page.

    :ivar name: of its script, and of its own style sheet where it has one.
    :ivar icon: in the navigation.
    :ivar group: of the navigation; ``None`` where it does not stand there.
    :ivar hasObjects: whether there is a page for each object too, beneath its path.
    :ivar role: the least role that may see it.
    """

    name: str
    path: str
    title: str
    icon: str
    group: str | None
    hasObjects: bool = False
    role: Role = Role.auditor
    styles: tuple[str, ...] = ()


PAGES = (
    ConsolePage("cluster", "/", "Cluster", "network", "", styles=("uplot-1.6.32.min.css", "cluster.css")),
    ConsolePage("history", "/history", "History", "history", "", styles=("past.css",)),
    ConsolePage("events", "/events", "Events", "scroll-text", "", styles=("objects.css", "past.css")),
    ConsolePage("users", "/users", "Users", "user", "Access", hasObjects=True, styles=("service.css",)),
    ConsolePage("groups", "/groups", "Groups", "users", "Access", hasObjects=True, styles=("service.css",)),
    ConsolePage("bans", "/bans", "Bans", "shield-ban", "Access", styles=("activity.css",)),
    ConsolePage("sessions", "/sessions", "Sessions", "monitor-smartphone", "Activity", styles=("activity.css",)),
    ConsolePage("transfers", "/transfers", "Transfers", "arrow-up-down", "Activity", styles=("activity.css",)),
    ConsolePage("backends", "/backends", "Backends", "hard-drive", "Service", hasObjects=True, styles=("service.css",)),
    ConsolePage("listeners", "/listeners", "Listeners", "plug", "Service", hasObjects=True, styles=("service.css",)),
    ConsolePage(
        "certificates", "/certificates", "Certificates and keys", "key-round", "Service", styles=("service.css",)
    ),
    ConsolePage("settings", "/settings", "Settings", "sliders-horizontal", "Service", styles=("service.css",)),
    ConsolePage(
        "admins", "/admins", "Administrators", "shield-user", "Administration", hasObjects=True, styles=("service.css",)
    ),
    ConsolePage(
        "guide", "/guide", "Getting started", "compass", "Administration", role=Role.full, styles=("account.css",)
    ),
    ConsolePage("addnode", "/nodes/add", "Add a node", "plus", None, role=Role.full, styles=("cluster.css",)),
    ConsolePage("account", "/account", "Your account", "user", None, styles=("account.css",)),
)


@define(eq=False)
class ConsoleRoutes:
    """
    :ivar _node: gives the name of the node that serves them.
    :ivar _document: gives the document that is live here.
    """

    _access: AdministratorAccess
    _node: Callable[[], str]
    _document: Callable[[], Document]
    _pages: Pages = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pages = Pages(_ASSETS, TITLE, lambda: _LOOK, _TEMPLATES)

    def add(self, app: Klein) -> None:
        for page in PAGES:
            self._add(app, page)

        FormLogin(self._pages, PURPOSE, self._access.logIn, self._logOut).add(app)

        @app.handle_errors(NotFound)
        def notFound(request: Any, failure: Failure) -> bytes:
            problem = HTTPProblem(404)
            isForPeople = "html" in (request.getHeader("Accept") or "") and not request.path.startswith(b"/api/")
            return self._pages.problem(request, problem) if isForPeople else problem.answer(request)

        # klein asks the error handlers in their order, and the one for everything was there first.
        app._error_handlers.insert(0, app._error_handlers.pop())
        self._pages.add(app)

    def _add(self, app: Klein, page: ConsolePage) -> None:
        def shown(request: IRequest, name: str = "") -> bytes:
            return self._shown(request, page)

        app.route(page.path, methods=["GET"], endpoint=page.name)(shown)
        if page.hasObjects:
            app.route(f"{page.path}/<name>", methods=["GET"], endpoint=f"{page.name} by name")(shown)

    def _shown(self, request: Any, page: ConsolePage) -> bytes:
        try:
            author, token = self._access.visitor(request)
            if self._document().admins[author.name].initialPassword:
                return self._pages.render(request, "choose.html", 200, self._choice(author, token))
            if not hasRole(author, page.role):
                raise HTTPProblem(403, f"role {author.role} may not do this")
        except HTTPProblem as problem:
            if problem.status != 401:
                return self._pages.problem(request, problem)
            # Whoever comes to the front door is not refused, but asked who they are.
            target = request.uri.decode("ascii", "replace")
            return self._pages.login(request, 200 if page.path == "/" else 401, PURPOSE, target)
        return self._pages.render(request, "frame.html", 200, self._values(page, author, token))

    def _choice(self, author: Author, token: str) -> Mapping[str, Any]:
        least = self._document().settings.leastPasswordCharacters
        return {"user": author.name, "csrfToken": token, "least": least}

    def _values(self, page: ConsolePage, author: Author, token: str) -> Mapping[str, Any]:
        groups: dict[str, list[ConsolePage]] = {}
        for each in PAGES:
            if each.group is not None and hasRole(author, each.role):
                groups.setdefault(each.group, []).append(each)
        return {
            "page": page,
            "groups": list(groups.items()),
            "styles": [name for name in ("console.css", "objects.css", *page.styles) if name in _ASSETS],
            "script": script if (script := f"{page.name}.js") in _ASSETS else "",
            "user": author.name,
            "role": author.role,
            "csrfToken": token,
            "node": self._node(),
        }

    async def _logOut(self, request: Any) -> None:
        self._access.visitor(request)
        self._access.logOut(request)
