"""What users change of themselves: the password, the SSH keys; each only where the document lets them. And which change
an administrator makes who sets the own password.

Such a change is handed to the primary like an administrator's, with its user as the author, and the primary looks
itself whether it is one that this user may make. How it was asked for, and that it was really this user, is not known
here.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping

from attrs import define, evolve, frozen
from twisted.internet.defer import Deferred

from ..config.changes import Change, Put, Target
from ..config.document import Admin, Document, OwnPart, User
from ..config.publickeys import PublicKey
from ..errors import Forbidden, Invalid, NotDurableEnough
from ..networks import countedAs
from ..vocabulary import Author, Origin, Problem
from .checkers import keysOf
from .passwords import Passwords

OWN_ROLE = "user"
"""The role of an author who changes themselves; no administrator has it."""

ADMIN_ROLE = "own password"
"""The role of an administrator who proved the password and sets another one; for nothing else."""

MOST_KEYS = 50
LIVE_SECONDS = 5.0
"""How long it is waited until a change is live on the node where it was asked for."""

_LEAST_DIFFERENT = 4


@frozen
class OwnKey:
    """A public key, as its user sees it.

    :ivar id: what it is named by in a URL.
    :ivar fingerprint: as ``ssh-keygen -l`` shows it.
    """

    id: str
    fingerprint: str
    type: str
    comment: str

    @classmethod
    def of(cls, line: str) -> OwnKey:
        """:raises ValueError: where the line is no key."""
        key = PublicKey.parse(line)
        digest = hashlib.sha256(key.blob).digest()
        fingerprint = "SHA256:" + base64.b64encode(digest).rstrip(b"=").decode("ascii")
        told = re.search(rf"(?:^|\s){re.escape(key.kind)}\s+\S+\s*(.*)", line.strip())
        return cls(digest.hex()[:32], fingerprint, key.kind, told[1] if told else "")


def mayChange(document: Document, user: User) -> frozenset[OwnPart]:
    """What a user may change now."""
    groups = (document.groups.get(name) for name in user.groups)
    return user.mayChange.union(*(group.mayChange for group in groups if group is not None))


def requireOwn(author: Author, document: Document, change: Change) -> None:
    """:raises Forbidden: where it is more than its author, a user, may change of themselves."""
    user: User | None = document.users.get(author.name)
    value = change.value if isinstance(change, Put) else None
    if user is None or not user.enabled or not isinstance(value, User) or value.name != author.name:
        raise Forbidden("a user may change nobody else")
    parts = mayChange(document, user)
    if value.passwordHash != user.passwordHash and OwnPart.password not in parts:
        raise Forbidden("the password may not be changed")
    if value.publicKeys != user.publicKeys and OwnPart.publicKeys not in parts:
        raise Forbidden("the keys may not be changed")
    if evolve(value, passwordHash=user.passwordHash, publicKeys=user.publicKeys, revision=user.revision) != user:
        raise Forbidden("a user may change nothing but password and keys")


def requireOwnPassword(author: Author, document: Document, change: Change) -> None:
    """:raises Forbidden: where it is more than another password of its author, an administrator."""
    admin: Admin | None = document.admins.get(author.name)
    value = change.value if isinstance(change, Put) else None
    if admin is None or not admin.enabled or author.token or not isinstance(value, Admin) or value.name != author.name:
        raise Forbidden("the own password may be changed, and no other")
    if evolve(value, passwordHash=admin.passwordHash, revision=admin.revision) != admin:
        raise Forbidden("the own password may be changed, and nothing else")


@define(eq=False, kw_only=True)
class OwnCredentials:
    """
    :ivar document: the document that is live here.
    :ivar _passwords: hashes.
    :ivar _propose: as :meth:`cftpcluster.interfaces.IAdministration.propose`.
    :ivar _isLive: fires with whether this node has converged on a revision in time.
    """

    document: Callable[[], Document]
    _passwords: Passwords
    _propose: Callable[[Change, Mapping[Target, int], Author], Deferred[int]]
    _isLive: Callable[[int, float], Deferred[bool]]

    def mayChange(self, name: str) -> frozenset[OwnPart]:
        user = self.document().users.get(name)
        return frozenset() if user is None else mayChange(self.document(), user)

    # --- the password

    async def setPassword(self, name: str, password: str, origin: Origin) -> int:
        """Fires with the revision that ended the sessions before it.

        :raises Invalid: where the password is too weak; ``Forbidden``; and what ``propose`` fails with.
        """
        user = self._allowed(name, OwnPart.password)
        faults = list(passwordFaults(password, name, self.document().settings.leastPasswordCharacters))
        if faults:
            raise Invalid([Problem("password", fault) for fault in faults])
        encoded = await self._passwords.hash(password.encode("utf-8", "surrogatepass"), countedAs(origin.address))
        return await self._put(user, evolve(user, passwordHash=encoded), origin)

    # --- keys

    def keys(self, name: str) -> list[OwnKey]:
        user: User | None = self.document().users.get(name)
        return [] if user is None else [OwnKey.of(line) for line in user.publicKeys if list(keysOf([line]))]

    async def addKey(self, name: str, line: str, origin: Origin) -> OwnKey:
        """
        :raises Invalid: where it is no key, or one that is not safe; ``Forbidden``; and what ``propose`` fails with.
        """
        user = self._allowed(name, OwnPart.publicKeys)
        if "PRIVATE KEY" in line:
            raise Invalid([Problem("key", "is a private key: keep it to yourself, and give the line of its .pub file")])
        line = line.strip()
        try:
            key = OwnKey.of(line)
        except ValueError as error:
            raise Invalid([Problem("key", str(error))]) from None
        if any(each.id == key.id for each in self.keys(name)):
            raise Invalid([Problem("key", "is among the keys already")])
        if len(user.publicKeys) >= MOST_KEYS:
            raise Invalid([Problem("key", f"is one too many: there are {MOST_KEYS} already")])
        try:
            await self._put(user, evolve(user, publicKeys=(*user.publicKeys, line)), origin)
        except Invalid as error:
            raise Invalid([Problem("key", problem.message) for problem in error.problems]) from None
        return key

    async def removeKey(self, name: str, id: str, origin: Origin) -> int | None:
        """Fires with the revision that ended the sessions before it; ``None`` where there is no such key.

        :raises Forbidden: and what ``propose`` fails with.
        """
        user = self._allowed(name, OwnPart.publicKeys)
        kept = tuple(line for line in user.publicKeys if not list(keysOf([line])) or OwnKey.of(line).id != id)
        if len(kept) == len(user.publicKeys):
            return None
        return await self._put(user, evolve(user, publicKeys=kept), origin)

    # --- changes

    def _allowed(self, name: str, part: OwnPart) -> User:
        user: User | None = self.document().users.get(name)
        if user is None or part not in mayChange(self.document(), user):
            raise Forbidden("an administrator has not let this user change that")
        return user

    async def _put(self, before: User, after: User, origin: Origin) -> int:
        author = Author(before.name, OWN_ROLE, origin.address)
        try:
            revision = await self._propose(Put("users", after), {("users", before.name): before.revision}, author)
        except NotDurableEnough as error:
            # It stands: a follower more has it a moment later, or when it is back.
            revision = error.revision
        await self._isLive(revision, LIVE_SECONDS)
        return revision


def passwordFaults(password: str, name: str, leastCharacters: int) -> Iterator[str]:
    """What is wrong with a password that somebody chooses."""
    if len(password) < leastCharacters:
        yield f"must have at least {leastCharacters} characters"
    if len(set(password)) < _LEAST_DIFFERENT:
        yield f"must have at least {_LEAST_DIFFERENT} different characters"
    if name.lower() in password.lower() and len(name) * 2 > len(password):
        yield "must be more than the user's name"
