"""What happened on a node, as past-tense values.

Whoever makes something happen calls the ``notify`` it was given with one of these; the node hands it to the observers.
Events hold no secret, and nothing here knows who observes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
from attrs import frozen

from .vocabulary import Origin, publicId


@frozen(kw_only=True)
class Event:
    """Something happened; the observers' node adds its own name and the time."""


Notify: TypeAlias = Callable[[Event], None]


Measure: TypeAlias = Callable[[str, float], None]
"""Told how long something took: its name among the metrics, and seconds."""


def unmeasured(what: str, seconds: float) -> None:
    """Where nobody wants to know."""


def fieldsOf(event: Event) -> dict[str, Any]:
    """An event's values by name, those of its origin among them; of its session what others may read."""
    fields: dict[str, Any] = {}
    for attribute in attrs.fields(type(event)):
        value = getattr(event, attribute.name)
        if isinstance(value, Origin):
            session = publicId(value.session) if value.session else ""
            fields.update({**attrs.asdict(value, filter=_isToldOf), "session": session})
        else:
            fields[attribute.name] = value
    return fields


def _isToldOf(attribute: Any, value: Any) -> bool:
    """How long a session is counted is no news, and some clients do not say what they are."""
    return attribute.name != "lingerSeconds" and (attribute.name != "software" or bool(value))


@frozen(kw_only=True)
class SessionEvent(Event):
    """Something that a session of a user did.

    :ivar user: the user's name as the client gave it.
    """

    user: str
    origin: Origin


@frozen(kw_only=True)
class LoggedIn(SessionEvent):
    method: str


@frozen(kw_only=True)
class LoginFailed(SessionEvent):
    """:ivar reason: for the log only; a client is never told which it was."""

    method: str
    reason: str


@frozen(kw_only=True)
class LoginTurnedAway(SessionEvent):
    """A log-in that would have done was refused for now: there are too many sessions.

    :ivar reason: as it was told.
    """

    method: str
    reason: str


@frozen(kw_only=True)
class LoggedOut(SessionEvent):
    pass


@frozen(kw_only=True)
class FileEvent(SessionEvent):
    """:ivar path: the virtual path, joined with "/" and starting with it."""

    path: str


@frozen(kw_only=True)
class Uploaded(FileEvent):
    """An upload was committed. ``size`` is the file's length, ``seconds`` the time from open to commit."""

    size: int
    seconds: float


@frozen(kw_only=True)
class UploadBroken(FileEvent):
    """An upload ended without a commit; ``kept`` says whether its partial can be continued."""

    size: int
    kept: bool


@frozen(kw_only=True)
class Downloaded(FileEvent):
    """A file was opened for reading and closed; ``size`` is the number of bytes read."""

    size: int
    seconds: float


@frozen(kw_only=True)
class Removed(FileEvent):
    pass


@frozen(kw_only=True)
class Renamed(FileEvent):
    """:ivar target: the new virtual path."""

    target: str


@frozen(kw_only=True)
class FolderMade(FileEvent):
    pass


@frozen(kw_only=True)
class FolderRemoved(FileEvent):
    pass


@frozen(kw_only=True)
class LinkMade(FileEvent):
    """
    :ivar target: what a symbolic link leads to, as it was given; or the file that has another name now.
    :ivar symbolic: whether it is a symbolic link.
    """

    target: str
    symbolic: bool


@frozen(kw_only=True)
class AttributesSet(FileEvent):
    """Length, mode or times of a file or folder were set; those of an upload while it is written are part of it.

    :ivar mode: permission bits, in octal digits; "" where they were not set.
    :ivar modified: seconds since the epoch; ``None`` where it was not set.
    :ivar size: the new length; ``None`` where it was not set.
    """

    mode: str = ""
    modified: float | None = None
    size: int | None = None


@frozen(kw_only=True)
class ConfigurationChanged(Event):
    """A revision became live on this node."""

    revision: int


@frozen(kw_only=True)
class PrimaryChanged(Event):
    """Another node is primary, or the same one in a new epoch; this node knows it by its own journal."""

    name: str
    epoch: int


@frozen(kw_only=True)
class NodeRefused(Event):
    """A connection to the cluster port was refused."""

    address: str
    reason: str


@frozen(kw_only=True)
class NodeJoined(Event):
    name: str
    address: str


@frozen(kw_only=True)
class NodeStarted(Event):
    version: str


@frozen(kw_only=True)
class NodeStopped(Event):
    """The node ended as it should."""


@frozen(kw_only=True)
class LinkUp(Event):
    """There is a link to another node."""

    name: str


@frozen(kw_only=True)
class LinkDown(Event):
    name: str


@frozen(kw_only=True)
class StateChanged(Event):
    """This node's part in the cluster: ``primary``, ``following``, ``paused``, ``draining``... as in its status."""

    before: str
    state: str


@frozen(kw_only=True)
class Directed(Event):
    """An administrator had this node change its part.

    :ivar author: as the history names it.
    """

    author: str
    address: str


@frozen(kw_only=True)
class Paused(Directed):
    """The node follows no more, until it is resumed."""


@frozen(kw_only=True)
class Drained(Directed):
    """The node began to let go of its clients."""


@frozen(kw_only=True)
class Resumed(Directed):
    """The node follows again, or takes clients again.

    :ivar before: its state until then.
    """

    before: str


@frozen(kw_only=True)
class TokenUsed(Event):
    """An API token was used on this node, for the first time within an hour.

    :ivar author: whose it is, with its label and id.
    """

    author: str
    address: str


@frozen(kw_only=True)
class Administered(Event):
    """A change of the configuration was appended on this node, the primary.

    :ivar author: as the history names it.
    :ivar by: the node that it came in on.
    :ivar objects: the first that it touched.
    :ivar count: how many it touched.
    """

    author: str
    address: str
    by: str
    revision: int
    objects: tuple[str, ...]
    count: int


@frozen(kw_only=True)
class SessionKicked(Event):
    """An administrator ended a session, on whichever node it is, or all those of a user.

    :ivar session: "" where all of them were meant.
    :ivar user: whose.
    """

    author: str
    address: str
    user: str
    session: str = ""


@frozen(kw_only=True)
class Banned(Event):
    """A ban became known to this node: its own, or that of another node or administrator.

    :ivar by: the administrator; "" where failed log-ins made it.
    """

    network: str
    seconds: float
    by: str
    reason: str


@frozen(kw_only=True)
class BanLifted(Event):
    author: str
    address: str
    network: str


@frozen(kw_only=True)
class CertificateExpiring(Event):
    """A certificate ends soon, or has ended.

    :ivar seconds: until then; negative where it is over.
    """

    name: str
    seconds: float


@frozen(kw_only=True)
class EventsLost(Event):
    """The audit log could not be written in time, and let go of so many."""

    count: int
