"""API tokens: one word that a script asks with in place of an administrator, and no more than that one may.

A token's text is ``cftp_``, its id, ``_`` and its secret, in lower-case hex; the prefix lets programs that look for
leaked secrets know it. The document holds the id and a hash of the secret, so every node knows a token as soon as it
has the revision. When one was last used is a row that nodes share, written by each node at most once an hour.

How a token is presented, and what may be asked for with it, is not known here.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence

from attrs import define, field

from ..config.document import Admin, ApiToken, Document, Role, Scope
from ..interfaces import ISharedRows

EXPIRE_SECONDS = 90 * 86400
"""How long a token is good unless said."""

MOST_EXPIRE_SECONDS = 366 * 86400
MOST_TOKENS = 100
"""How many tokens one administrator may have."""

USES = "tokenUses"
"""The table of the rows that tell when a token was last used."""

PREFIX = "cftp_"
_TEXT = re.compile(r"cftp_([0-9a-f]{16})_([0-9a-f]{64})")
_NO_HASH = hashlib.sha256(b"").hexdigest()
_NOTED_SECONDS = 3600
_REMEMBERED_SECONDS = MOST_EXPIRE_SECONDS

ROLES = {Scope.read: Role.auditor, Scope.users: Role.users, Scope.full: Role.full}
"""The role that each scope is good for."""

_ORDER = (Role.auditor, Role.users, Role.full)


def roleOf(token: ApiToken, admin: Admin) -> Role:
    """The role of whoever uses a token: the highest of its scopes, and never higher than its administrator's."""
    highest = max((_ORDER.index(ROLES[scope]) for scope in token.scopes), default=0)
    return _ORDER[min(highest, _ORDER.index(admin.role))]


def isGood(token: ApiToken, document: Document) -> bool:
    """Whether its administrator is still the one who made it, and enabled. When it expires is another matter."""
    admin = document.admins.get(token.admin)
    return admin is not None and admin.enabled and admin.credentialsRevision == token.credentialsRevision


@define(eq=False)
class ApiTokens:
    """Makes tokens, and knows those that are good.

    :ivar _wallTime: seconds since the epoch.
    """

    _document: Callable[[], Document]
    _rows: ISharedRows
    _wallTime: Callable[[], float]
    _randomBytes: Callable[[int], bytes] = field(repr=False)
    _noted: dict[str, float] = field(factory=dict, init=False, repr=False)

    def make(self, label: str, admin: Admin, scopes: Sequence[Scope], seconds: float) -> tuple[str, ApiToken]:
        """A new token: its text, which nobody can tell again, and what has to be proposed to make it good."""
        secret, now = self._randomBytes(32).hex(), self._wallTime()
        token = ApiToken(
            name=self._randomBytes(8).hex(),
            label=label,
            admin=admin.name,
            credentialsRevision=admin.credentialsRevision,
            scopes=tuple(scopes),
            secretHash=_hash(secret),
            created=round(now, 3),
            expires=round(now + seconds, 3),
        )
        return f"{PREFIX}{token.name}_{secret}", token

    def known(self, text: str) -> ApiToken | None:
        """The token with that text; ``None`` where there is none, or it is not good any more."""
        match = _TEXT.fullmatch(text)
        name, secret = match.groups() if match else ("", "")
        document = self._document()
        token = document.apiTokens.get(name)
        fits = hmac.compare_digest(token.secretHash if token is not None else _NO_HASH, _hash(secret))
        return token if fits and token is not None and self.isGood(token) else None

    def isGood(self, token: ApiToken) -> bool:
        """Whether it can be used now."""
        return self._wallTime() < token.expires and isGood(token, self._document())

    def of(self, admin: str) -> Sequence[ApiToken]:
        """The tokens of an administrator, good or not."""
        return [token for token in self._document().apiTokens.values() if token.admin == admin]

    def noteUse(self, token: ApiToken) -> bool:
        """It was used just now; answers whether for the first time on this node within an hour."""
        now = self._wallTime()
        if 0 <= now - self._noted.get(token.name, -_NOTED_SECONDS) < _NOTED_SECONDS:
            return False
        if len(self._noted) > MOST_TOKENS * 100:
            self._noted.clear()
        self._noted[token.name] = now
        self._rows.put(USES, token.name, {"at": round(now)}, _REMEMBERED_SECONDS)
        return True

    def lastUsed(self, token: ApiToken) -> int | None:
        """When it was last used, on whichever node, to the hour; ``None`` where it never was."""
        times = (row.value.get("at") for row in self._rows.get(USES, token.name))
        return max((time for time in times if isinstance(time, int)), default=None)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("ascii")).hexdigest()
