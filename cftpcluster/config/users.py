"""Users and groups of a document: how they may log in, what they reach, and how much of it.

What else a document holds is not known here.
"""

from __future__ import annotations

import datetime
import enum

from attrs import Factory, field, frozen

from ..vocabulary import Permission
from .named import Named, Options


class Protocol(enum.Enum):
    ftp = "ftp"
    sftp = "sftp"
    https = "https"


class Method(enum.Enum):
    """How a user proves who it is: by an SSH key, by a TLS client certificate, by a password, or by a password that
    SSH's method ``keyboard-interactive`` asks for."""

    publickey = "publickey"
    certificate = "certificate"
    password = "password"
    keyboardInteractive = "keyboard-interactive"


class OwnPart(enum.Enum):
    """What users may be let change of themselves: their password, their SSH keys."""

    password = "password"
    publicKeys = "publicKeys"


@frozen(kw_only=True)
class Mount:
    """A folder of a backend, seen at ``path`` of a user's tree.

    :ivar path: where the user sees it, such as ``/`` or ``/in/box``.
    :ivar backend: the name of the backend.
    :ivar folder: the folder of the backend, made when it is missing; "" is all of it.
    :ivar permissions: what the user may do there.
    :ivar atomicUploads: others see an upload only when it is complete.
    :ivar extra: keys that this version does not know, kept as they came.
    """

    path: str
    backend: str
    folder: str = ""
    permissions: frozenset[Permission] = frozenset(set(Permission) - {Permission.links})
    atomicUploads: bool = True
    extra: Options = Factory(dict)


@frozen(kw_only=True)
class Group(Named):
    """Mounts that several users share.

    :ivar mounts: folders of backends that its users see; a user's own mount at the same path comes before.
    :ivar allow: client networks (CIDR) that log-ins of its users may come from; empty means any.
    :ivar deny: client networks that they may not come from; stronger than ``allow``.
    :ivar authentication: as a user's, for its users that have none; of several groups the first one that has some.
    :ivar mayChange: what its users may change of themselves besides what they are let as users.
    """

    mounts: tuple[Mount, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    authentication: tuple[tuple[Method, ...], ...] = ()
    mayChange: frozenset[OwnPart] = frozenset()


@frozen(kw_only=True)
class Quota:
    """How much a user's own mounts may hold.

    :ivar bytes: lengths of all files together, unfinished uploads among them; 0 is no limit.
    :ivar files: number of files, unfinished uploads among them; 0 is no limit.
    :ivar extra: keys that this version does not know, kept as they came.
    """

    bytes: int = 0
    files: int = 0
    extra: Options = Factory(dict)


@frozen(kw_only=True)
class Limits:
    """What a user may do at once.

    :ivar sessions: how many sessions at the same time, on all nodes and over all protocols together; 0 is no limit.
    :ivar downloadBytesPerSecond: how fast, all its sessions on one node together, at least 1024; 0 is no limit.
    :ivar uploadBytesPerSecond: as ``downloadBytesPerSecond``, the other way.
    :ivar extra: keys that this version does not know, kept as they came.
    """

    sessions: int = 0
    downloadBytesPerSecond: int = 0
    uploadBytesPerSecond: int = 0
    extra: Options = Factory(dict)


@frozen(kw_only=True)
class User(Named):
    """A user of the file services.

    :ivar passwordHash: argon2id, bcrypt or ``$6$`` in their usual text forms; "" when there is no password.
    :ivar publicKeys: lines as in ``authorized_keys``. Of the options ``from`` (addresses and networks, no names) and
        ``expiry-time`` (UTC) are kept, ``restrict`` and ``no-...`` always are; a line with others is refused.
    :ivar enabled: whether it may log in.
    :ivar expires: log-ins are refused from then on.
    :ivar protocols: what it may log in over; ``ftp`` with TLS and without.
    :ivar allow: client networks (CIDR) that log-ins may come from; empty means any.
    :ivar deny: client networks that they may not come from; stronger than ``allow``.
    :ivar authentication: what has to be proven, in order, to log in, such as ``[[publickey, password]]``; of several
        lists any one will do. Empty: what the groups say, else any one of ``publickey``, ``certificate``, ``password``
        and ``keyboard-interactive``. HTTPS takes a password and nothing else, so it needs the list ``[password]``; so
        does FTP, where it may be ``[certificate]`` or ``[certificate, password]``, too.
    :ivar mayChange: what it may change of itself over HTTPS: ``password``, ``publicKeys``; nothing unless it is said.
    :ivar groups: names of groups, the first one's mounts first.
    :ivar mounts: the folders that make up its tree.
    :ivar quota: how much its own mounts may hold.
    :ivar limits: what it may do at once.
    :ivar credentialsRevision: sessions that logged in before this revision have ended; set by ``apply`` alone.
    """

    passwordHash: str = field(default="", repr=False)
    publicKeys: tuple[str, ...] = ()
    enabled: bool = True
    expires: datetime.datetime | None = None
    protocols: frozenset[Protocol] = frozenset(Protocol)
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    authentication: tuple[tuple[Method, ...], ...] = ()
    groups: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    quota: Quota = Quota()
    limits: Limits = Limits()
    mayChange: frozenset[OwnPart] = frozenset()
    credentialsRevision: int = 0
