"""Sessions in signed cookies, and what keeps other sites from using them.

RFC 6265bis (cookies, the ``__Host-`` prefix), RFC 7617 (Basic). A session says who logged in, and when; never what they
may do. Any node that has the key knows a session, without asking anybody. What a session is for is not known here.

The cookie is ``base64url(payload).base64url(signature)``; the payload is canonical JSON, and only canonical encodings
are accepted, so that one session has one text. The token against forged requests is a MAC of the session's id under
another label: it tells nothing about the cookie.

Of several keys the first one signs. What another one has signed says so (:attr:`Session.isOfOldKey`): who has such a
key could have made it, so whoever takes it knows of the session from elsewhere.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from attrs import Factory, evolve, field, frozen

from ...config.document import Settings

SESSION_ID_BYTES = 16
CSRF_HEADER = "X-CSRF-Token"
SAFE_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
VERIFIED_SECONDS = 60
"""How long a password that was verified is not verified again (Basic authentication sends it with each request)."""

_MOST_COOKIE_BYTES = 2048
_MOST_VERIFIED = 1000
_KINDS = (str, str, int, int, int, int, str)
_RENEW_PARTS = 10
"""A cookie is renewed when a tenth of its idle time has passed."""


@frozen
class Session:
    """One log-in over HTTP.

    :ivar name: who logged in.
    :ivar sessionId: unguessable, lower-case hex.
    :ivar issued: when they did; this and the others are seconds since the epoch.
    :ivar seen: when the cookie was last renewed.
    :ivar ends: it is not good from then on, however much it is used.
    :ivar credentialsRevision: of the user or administrator at the log-in.
    :ivar node: the name of the node that issued it.
    :ivar isOfOldKey: whether it was signed by a key that signs no more.
    """

    name: str
    sessionId: str
    issued: int
    seen: int
    ends: int
    credentialsRevision: int
    node: str
    isOfOldKey: bool = field(default=False, eq=False)


@frozen
class Sessions:
    """Makes and reads the cookies of one kind of session.

    :ivar cookieName: with the prefix ``__Host-``.
    :ivar audience: what the sessions are for; a cookie made for another audience is none.
    :ivar keys: to sign with the first of, and to accept any of.
    :ivar now: seconds since the epoch, by a clock that nobody sets.
    """

    cookieName: str
    audience: str
    _keys: Callable[[], Sequence[bytes]]
    _settings: Callable[[], Settings]
    _now: Callable[[], float]
    _randomBytes: Callable[[int], bytes]

    def start(self, name: str, credentialsRevision: int, node: str = "") -> Session:
        """A new session, with an id of its own."""
        now, sessionId = int(self._now()), self._randomBytes(SESSION_ID_BYTES).hex()
        return Session(
            name, sessionId, now, now, now + self._settings().sessionAbsoluteSeconds, credentialsRevision, node
        )

    def read(self, request: Any) -> Session | None:
        """The session whose cookie a request carries; ``None`` without a valid one."""
        cookies = [
            value.strip()
            for header in request.requestHeaders.getRawHeaders(b"Cookie", [])
            for name, _, value in (each.partition(b"=") for each in header.split(b";"))
            if name.strip() == self.cookieName.encode("ascii")
        ]
        # Of two cookies nobody knows which one is meant.
        return self.parse(cookies[0]) if len(cookies) == 1 else None

    def setCookie(self, request: Any, session: Session) -> None:
        """Hand the session to the client."""
        self._set(request, self.render(session), max(0, int(self._end(session) - self._now())))

    def clearCookie(self, request: Any) -> None:
        """Have the client forget its session."""
        self._set(request, b"", 0)

    def renewed(self, session: Session) -> Session | None:
        """The session as to be set anew, since it is in use; ``None`` where that is not due."""
        now = int(self._now())
        isDue = now - session.seen > self.idleSeconds / _RENEW_PARTS
        return evolve(session, seen=now) if isDue or session.isOfOldKey else None

    def csrfToken(self, session: Session) -> str:
        """What unsafe requests of the session must carry in ``X-CSRF-Token``."""
        return self._mac(self._keys()[0], b"csrf", session.sessionId.encode("ascii")).hex()

    def isForged(self, request: Any, session: Session) -> bool:
        """Whether a request that the session's cookie came with may have been made by another site."""
        if request.method in SAFE_METHODS:
            return False
        given = (request.getHeader(CSRF_HEADER) or "").encode("utf-8", "replace")
        data = session.sessionId.encode("ascii")
        fits = any(hmac.compare_digest(given, self._mac(key, b"csrf", data).hex().encode()) for key in self._keys())
        return not fits or isForeign(request)

    # --- the text of a cookie

    def render(self, session: Session) -> bytes:
        payload = _payload(session)
        return b".".join((_encode(payload), _encode(self._mac(self._keys()[0], b"cookie", payload))))

    def parse(self, text: bytes) -> Session | None:
        encoded, dot, signature = text.partition(b".")
        if len(text) > _MOST_COOKIE_BYTES or not dot:
            return None
        payload, mac = _decode(encoded), _decode(signature)
        fits = [hmac.compare_digest(mac, self._mac(key, b"cookie", payload)) for key in self._keys()]
        session = _sessionFrom(payload) if any(fits) else None
        if session is None or self._now() >= self._end(session):
            return None
        return session if fits[0] else evolve(session, isOfOldKey=True)

    def _end(self, session: Session) -> int:
        """When it is not good any more, unless it is renewed. Settings may have been changed since it began."""
        return min(
            session.ends, session.issued + self._settings().sessionAbsoluteSeconds, session.seen + self.idleSeconds
        )

    @property
    def idleSeconds(self) -> int:
        """How long a session lasts without being used, now."""
        return self._settings().sessionIdleSeconds

    def _mac(self, key: bytes, label: bytes, data: bytes) -> bytes:
        return hmac.digest(key, b"%s\0%s\0%s" % (label, self.audience.encode("ascii"), data), hashlib.sha256)

    def _set(self, request: Any, value: bytes, ageSeconds: int) -> None:
        name = self.cookieName.encode("ascii")
        cookie = b"%s=%s; Path=/; Max-Age=%d; Secure; HttpOnly; SameSite=Lax" % (name, value, ageSeconds)
        request.cookies[:] = [each for each in request.cookies if not each.startswith(name + b"=")]
        request.cookies.append(cookie)


def _payload(session: Session) -> bytes:
    times = [session.issued, session.seen, session.ends]
    values = [session.name, session.sessionId, *times, session.credentialsRevision, session.node]
    return json.dumps(values, separators=(",", ":")).encode("ascii")


def _sessionFrom(payload: bytes) -> Session | None:
    """Only of a payload whose signature fits: its form can be trusted, but for its age."""
    try:
        values = json.loads(payload)
        session = Session(*values)
        right = all(type(value) is kind for value, kind in zip(values, _KINDS, strict=True))
    except (ValueError, TypeError):
        return None
    return session if right and _payload(session) == payload else None


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decode(text: bytes) -> bytes:
    """What was encoded; nothing for any other text."""
    try:
        data = base64.b64decode(text + b"=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if _encode(data) == text else b""


# --- where a request comes from


def isForeign(request: Any) -> bool:
    """Whether a browser says that another site made the request."""
    if request.requestHeaders.hasHeader(b"Origin"):
        scheme = "https" if request.isSecure() else "http"
        return (request.getHeader("Origin") or "").lower() != f"{scheme}://{(request.getHeader('Host') or '').lower()}"
    return (request.getHeader("Sec-Fetch-Site") or "none") not in {"none", "same-origin"}


def basicCredentials(request: Any) -> tuple[str, bytes] | None:
    """Name and password of Basic authentication; ``None`` where there is none, or it is malformed."""
    scheme, _, encoded = (request.getHeader(b"Authorization") or b"").partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (name.decode("utf-8", "surrogateescape"), password) if colon else None


@frozen(eq=False)
class VerifiedLogins:
    """Remembers for a while which passwords were right, without knowing them.

    What was right then may not be now: whoever asks checks ``credentialsRevision``, and the rest, anew.
    """

    _key: bytes = field(repr=False)
    _seconds: Callable[[], float]
    _known: OrderedDict[bytes, tuple[float, int]] = field(default=Factory(OrderedDict), repr=False, init=False)

    def remember(self, name: str, password: bytes, credentialsRevision: int) -> None:
        """This password was verified just now."""
        mac = self._mac(name, password)
        self._known.pop(mac, None)
        self._known[mac] = (self._seconds(), credentialsRevision)
        while len(self._known) > _MOST_VERIFIED:
            self._known.popitem(last=False)

    def revision(self, name: str, password: bytes) -> int | None:
        """The ``credentialsRevision`` that this password was verified at a short while ago; ``None`` if it was not."""
        since, revision = self._known.get(self._mac(name, password), (None, 0))
        return revision if since is not None and 0 <= self._seconds() - since < VERIFIED_SECONDS else None

    def _mac(self, name: str, password: bytes) -> bytes:
        # Names in JSON may hold any surrogate.
        encoded = name.encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, b"%d\0%s%s" % (len(encoded), encoded, password), hashlib.sha256)
