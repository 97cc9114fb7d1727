"""What administrators may do: by their role, and no more than the API token is good for that they use. Users may change
of themselves what :mod:`cftpcluster.auth.own` lets them.

Who asks, and by what route, is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import evolve

from ..auth.own import ADMIN_ROLE, OWN_ROLE, requireOwn, requireOwnPassword
from ..auth.tokens import isGood, roleOf
from ..config.changes import Batch, Change, Put, Remove, Target
from ..config.document import ApiToken, Document, Role
from ..errors import Forbidden
from ..vocabulary import Author

RANKS = {Role.auditor.value: 0, Role.users.value: 1, Role.full.value: 2}
"""Each role may do what the ones before it may."""

TRUSTED_PLACES = ("socket", "local")
"""Where authors come from that the operating system or the cluster itself vouches for."""

WRITTEN_BY_USERS_ROLE = frozenset({"users", "groups"})

TOKENS = "apiTokens"


def present(author: Author, document: Document) -> Author:
    """The author with the role that the document gives now; a user has none to be given.

    :raises Forbidden: where they are no administrator any more, or the token that they use is not good any more.
    """
    if author.address in TRUSTED_PLACES or author.role in (OWN_ROLE, ADMIN_ROLE):
        return author
    admin = document.admins.get(author.name)
    if admin is None or not admin.enabled:
        raise Forbidden(f"{author.name!r} is not an administrator any more")
    if not author.token:
        return evolve(author, role=admin.role.value)
    token = document.apiTokens.get(author.token)
    if token is None or token.admin != author.name or not isGood(token, document):
        raise Forbidden(f"the token {author.tokenLabel!r} is not good any more")
    return evolve(author, role=roleOf(token, admin).value)


def hasRole(author: Author, least: Role) -> bool:
    """Whether an author has this role or a greater one."""
    return RANKS.get(author.role, -1) >= RANKS[least.value]


def requireRole(author: Author, least: Role) -> None:
    """Fail with ``Forbidden`` for an author of a lesser role, and for one of none that is known."""
    rank = RANKS.get(author.role, -1)
    if not hasRole(author, least):
        raise Forbidden(f"role {author.role} may look only" if rank == 0 else f"role {author.role} may not do this")


def requireWrite(author: Author, targets: Iterable[Target]) -> None:
    """Fail with ``Forbidden`` where the author's role does not cover all of ``targets``."""
    if author.role == Role.full.value:
        return
    if author.role != Role.users.value:
        raise Forbidden(f"role {author.role} may look only")
    targets = list(targets)
    if not targets:
        raise Forbidden(f"role {author.role} may change users and groups only")
    for section, name in targets:
        if section not in WRITTEN_BY_USERS_ROLE:
            raise Forbidden(f"role {author.role} may not change {section}" + (f"/{name}" if name else ""))


def requireChange(author: Author, document: Document, change: Change) -> None:
    """Fail with ``Forbidden`` where the author's role does not cover all that ``change`` does; every administrator may
    make and remove tokens of their own."""
    if author.role == OWN_ROLE:
        requireOwn(author, document, change)
        return
    if author.role == ADMIN_ROLE:
        requireOwnPassword(author, document, change)
        return
    parts = list(_parts(change))
    others = [part for part in parts if not _isOwnToken(author, document, part)]
    if others or not parts:
        requireWrite(author, [target for part in others for target in (list(part.targets()) or [("nodes", "")])])
    for part in parts:
        if isinstance(part, Put) and isinstance(part.value, ApiToken):
            _requireToken(author, document, part.value)


def _parts(change: Change) -> Iterator[Change]:
    """What it is made of. Who is primary, and what this version does not know, are as nodes are, wherever in a batch
    they stand."""
    if isinstance(change, Batch):
        for part in change.changes:
            yield from _parts(part)
    else:
        yield change


def _isOwnToken(author: Author, document: Document, part: Change) -> bool:
    if isinstance(part, Put):
        return isinstance(part.value, ApiToken) and part.value.admin == author.name
    if isinstance(part, Remove) and part.section == TOKENS:
        token = document.apiTokens.get(part.name)
        return token is not None and token.admin == author.name and author.token in ("", part.name)
    return False


def _requireToken(author: Author, document: Document, token: ApiToken) -> None:
    """No token makes another one, and none is good for more than whoever makes it."""
    if author.token:
        raise Forbidden("a token cannot make tokens; log in with a password")
    admin = document.admins.get(token.admin)
    if admin is None or (author.address not in TRUSTED_PLACES and token.admin != author.name):
        raise Forbidden("a token is for whoever makes it")
    if not {scope.value for scope in token.scopes} <= set(scopesOf(admin.role)):
        raise Forbidden(f"role {admin.role.value} has not all of these scopes")


def scopesOf(role: Role) -> list[str]:
    """The scopes that a token may have whose administrator has that role."""
    names = {Role.auditor: "read", Role.users: "users", Role.full: "full"}
    return [name for each, name in names.items() if RANKS[each.value] <= RANKS[role.value]]
