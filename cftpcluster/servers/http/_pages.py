"""Pages in HTML: templates, the policy that browsers hold them to, and the look that the document gives them.

CSP level 3, WCAG 2.2 section 1.4.3 (contrast). Which pages there are is not known here.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any, Self

from attrs import define, field, frozen
from jinja2 import DictLoader, Environment, StrictUndefined
from klein import Klein
from twisted.web.iweb import IRequest

from ...config.document import Branding
from ._assets import Asset, Assets
from ._problems import HTTPProblem

POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    b"frame-src 'self'; media-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    b"require-trusted-types-for 'script'"
)

READABLE = 4.5
"""The least contrast of text (WCAG 2.2, level AA)."""

_PROBLEMS: Mapping[int, tuple[str, str, str]] = {
    400: ("file-question-mark", "That address makes no sense", "It may have been cut off when it was copied."),
    403: ("lock", "You may not do that", "If you should, ask whoever gave you this log-in."),
    404: ("file-question-mark", "There is nothing here", "It may have been moved, renamed or deleted."),
    429: ("lock", "Too many attempts", "Wait a minute, then try again."),
    503: ("server-off", "Not available right now", "Try again in a moment."),
}
"""Picture, title and advice for people, by status."""

_LIGHT_GROUND, _DARK_GROUND = (0xF1, 0xF3, 0xF6), (0x23, 0x2A, 0x34)
_STEPS = 20

Color = tuple[int, int, int]


@frozen
class Look:
    """What pages look like because the document says so.

    :ivar name: what stands at their head.
    :ivar version: changes with everything else.
    """

    name: str
    version: str
    _colors: Asset | None
    _logo: Asset | None

    @classmethod
    def of(cls, branding: Branding, name: str) -> Self:
        """:param name: where the document gives none."""
        colors = Asset.named("colors.css", _colorSheet(branding.accentColor)) if branding.accentColor else None
        logo = None
        if branding.logo:
            data = base64.b64decode(branding.logo)
            logo = Asset.named("logo.png" if data.startswith(b"\x89PNG") else "logo.svg", data)
        told = f"{branding.accentColor} {branding.logo}".encode()
        return cls(branding.name or name, hashlib.blake2b(told, digest_size=8).hexdigest(), colors, logo)

    @property
    def colorsURL(self) -> str:
        return f"/branding/{self.version}/colors.css" if self._colors else ""

    @property
    def logoURL(self) -> str:
        return f"/branding/{self.version}/logo" if self._logo else ""

    def answer(self, request: Any, version: str, name: str) -> bytes:
        asset = {"colors.css": self._colors, "logo": self._logo}.get(name)
        if asset is None:
            raise HTTPProblem(404)
        request.setHeader(b"Content-Security-Policy", b"default-src 'none'; style-src 'unsafe-inline'; sandbox")
        return asset.answer(request, version == self.version)


@define(eq=False)
class Pages:
    """Renders templates of packages, those of this one included.

    :ivar title: the name of pages where the document has none.
    """

    assets: Assets
    title: str
    _branding: Callable[[], Branding]
    _templates: Environment
    _look: tuple[Branding, Look] | None = field(default=None, init=False)

    def look(self) -> Look:
        """The look that holds now."""
        branding = self._branding()
        if self._look is None or self._look[0] is not branding:
            self._look = branding, Look.of(branding, self.title)
        return self._look[1]

    def add(self, app: Klein) -> None:
        """Have an application serve what the pages refer to."""
        self.assets.add(app)

        @app.route("/branding/<version>/<name>", methods=["GET"])
        def branding(request: IRequest, version: str, name: str) -> bytes:
            return self.look().answer(request, version, name)

    def render(self, request: Any, name: str, status: int, values: Mapping[str, Any]) -> bytes:
        """Set status and headers of a page, whose body is returned."""
        common = {"static": self.assets.url, "look": self.look()}
        page = self._templates.get_template(name).render({**common, **values}).encode("utf-8", "backslashreplace")
        request.setResponseCode(status)
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
        request.setHeader(b"Content-Security-Policy", POLICY)
        # without it browsers do not say of forms where they come from
        request.setHeader(b"Referrer-Policy", b"same-origin")
        request.setHeader(b"Content-Length", b"%d" % len(page))
        return page

    def login(self, request: Any, status: int, purpose: str, target: str, name: str = "", message: str = "") -> bytes:
        """The page that asks who somebody is, for ``purpose``; whoever has logged in goes on to ``target``."""
        values = {"purpose": purpose, "name": name, "message": message, "next": target}
        return self.render(request, "login.html", status, values)

    def problem(self, request: Any, problem: HTTPProblem) -> bytes:
        """A problem, for people."""
        unknown = ("triangle-alert", str(problem.plain()["title"]), "")
        picture, title, advice = _PROBLEMS.get(problem.status, unknown)
        values = {"picture": picture, "title": title, "advice": advice, "detail": _sentence(problem.detail)}
        return self.render(request, "problem.html", problem.status, values)


def _sentence(detail: str) -> str:
    return f"{detail[:1].upper()}{detail[1:].rstrip('.')}." if detail else ""


def templatesOf(*packages: str) -> Environment:
    """All templates in the folders ``templates`` of packages; it reads them, so it is called when they are imported."""
    texts = {
        each.name: each.read_text("utf-8")
        for package in packages
        for each in resources.files(package).joinpath("templates").iterdir()
        if each.name.endswith(".html")
    }
    return Environment(
        loader=DictLoader(texts),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )


# --- colours


def _colorSheet(accent: str) -> bytes:
    """The style sheet for an accent colour, made darker or lighter until it can be read on either ground."""
    color = parsed(accent)
    light, dark = _readableOn(_LIGHT_GROUND, color), _readableOn(_DARK_GROUND, color)
    lightRules, darkRules = (
        f"--accent: {_rendered(one)}; --onAccent: {_rendered(_textOn(one))};" for one in (light, dark)
    )
    return (
        f":root {{ {lightRules} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root:not([data-theme=light]) {{ {darkRules} }} }}\n"
        f":root[data-theme=dark] {{ {darkRules} }}\n"
    ).encode("ascii")


def parsed(text: str) -> Color:
    """The colour that ``#rrggbb`` names."""
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def _rendered(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def _textOn(color: Color) -> Color:
    return max(((255, 255, 255), (0, 0, 0)), key=lambda text: contrast(text, color))


def _readableOn(ground: Color, color: Color) -> Color:
    towards = _textOn(ground)
    for step in range(_STEPS):
        mixed = tuple(round(one + (other - one) * step / _STEPS) for one, other in zip(color, towards, strict=True))
        if contrast(mixed, ground) >= READABLE:  # type: ignore[arg-type]
            return mixed  # type: ignore[return-value]
    return towards


def contrast(one: Color, other: Color) -> float:
    """How well two colours can be told apart: 1 to 21."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: Color) -> float:
    red, green, blue = (part / 255 / 12.92 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
