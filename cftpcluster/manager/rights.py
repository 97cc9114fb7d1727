"""What the roles of administrators are good for. Who asks, and by what route, is not known here."""

from __future__ import annotations

from collections.abc import Iterable

from ..config.changes import Target
from ..config.document import Role
from ..errors import Forbidden
from ..vocabulary import Author

RANKS = {Role.auditor.value: 0, Role.users.value: 1, Role.full.value: 2}
"""Each role may do what the ones before it may."""

WRITTEN_BY_USERS_ROLE = frozenset({"users", "groups"})


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


def requireRole(author: Author, least: Role) -> None:
    """Fail with ``Forbidden`` for an author of a lesser role, and for one of none that is known."""
    rank = RANKS.get(author.role, -1)
    if rank < RANKS[least.value]:
        raise Forbidden(f"role {author.role} may look only" if rank == 0 else f"role {author.role} may not do this")
