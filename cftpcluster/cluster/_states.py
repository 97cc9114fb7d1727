"""The states of a follower, and what leads from one to another.

The states, as ``cftpctl status`` names them:

``disconnected``
    There is no publisher. What the journal holds is served all the same.
``catchingUp``
    A publisher lets this node follow. It sends entries, or a snapshot is pulled from it first.
``following``
    All that the publisher had when it was asked has come; what it appends comes at once.
``refused``
    The publisher is not believed, or does not believe this node. Whoever dials tries again slowly.
``paused``
    The operator does not want this node to follow; the link stays, for the operator's other wishes.

What is asked and answered in them is the follower's matter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, field
from automat import TypeMachineBuilder
from twisted.internet.defer import Deferred

from ..errors import ClusterError, Refused
from ..interfaces import IPublisher
from ..journal.entry import Entry


@define(eq=False)
class Session:
    """The time with one publisher.

    :ivar name: the publisher's name, from its certificate.
    :ivar ended: fires when the time is over.
    :ivar accepted: whether the publisher lets this node follow.
    :ivar asking: whether it is being asked to, so that entries for the old place are no use.
    :ivar busy: whether a batch is being appended.
    :ivar epoch: the epoch that the publisher claims.
    :ivar target: the revision of its head when it was asked.
    :ivar proven: whether this node's journal names it primary of that epoch.
    :ivar held: entries that are kept until it is.
    :ivar fruitless: how often it was asked without anything new coming of it.
    """

    publisher: IPublisher
    name: str
    ended: Deferred[None] = field(factory=Deferred)
    accepted: bool = False
    asking: bool = False
    busy: bool = False
    epoch: int = 0
    target: int = 0
    proven: bool = False
    held: list[Entry] = field(factory=list)
    fruitless: int = 0
    delay: Deferred[None] | None = None


class Inputs(Protocol):
    """What happens to a follower."""

    def begin(self, session: Session) -> None:
        """There is a publisher."""

    def caughtUp(self) -> None:
        """All that the publisher had when it was asked has come."""

    def gap(self) -> None:
        """Something is missing, or does not fit."""

    def refuse(self, error: Refused) -> None:
        """One of both does not believe the other."""

    def end(self, error: ClusterError | None) -> None:
        """The publisher is gone, or of no more use."""

    def pause(self) -> None:
        """The operator does not want this node to follow."""

    def resume(self) -> None:
        """The operator wants it again."""


class Core(Protocol):
    """What the states do to a follower."""

    @property
    def hasSession(self) -> bool:
        """Whether there is a publisher, accepting or not."""

    def begun(self, session: Session) -> None:
        """There is a publisher now."""

    def ask(self) -> None:
        """Ask to follow, from where this node is."""

    def entered(self, state: str) -> None:
        """The state is another one."""

    def showProblem(self, problem: str) -> None:
        """Say why it does not get on."""

    def finished(self, error: ClusterError | None) -> None:
        """There is no publisher any more."""


_builder = TypeMachineBuilder(Inputs, Core)  # type: ignore[type-abstract]  # only named in messages
_disconnected = _builder.state("disconnected")
_catchingUp = _builder.state("catchingUp")
_following = _builder.state("following")
_refused = _builder.state("refused")
_paused = _builder.state("paused")


def _begun(_: Inputs, core: Core, session: Session) -> None:
    # Whoever is asked may not be primary: that is no reason to show that this node catches up.
    core.begun(session)


def _begunPaused(_: Inputs, core: Core, session: Session) -> None:
    core.begun(session)


def _caughtUp(_: Inputs, core: Core) -> None:
    core.entered("following")


def _asked(_: Inputs, core: Core) -> None:
    core.entered("catchingUp")
    core.ask()


def _resumed(inputs: Inputs, core: Core) -> None:
    if core.hasSession:
        _asked(inputs, core)
    else:
        inputs.end(None)


def _refusedBy(_: Inputs, core: Core, error: Refused) -> None:
    core.showProblem(str(error))
    core.entered("refused")
    core.finished(error)


def _refusedPaused(_: Inputs, core: Core, error: Refused) -> None:
    core.showProblem(str(error))
    core.finished(error)


def _ended(_: Inputs, core: Core, error: ClusterError | None) -> None:
    core.entered("disconnected")
    core.finished(error)


def _endedPaused(_: Inputs, core: Core, error: ClusterError | None) -> None:
    core.finished(error)


def _pausedNow(_: Inputs, core: Core) -> None:
    core.entered("paused")


for _state in (_disconnected, _catchingUp, _following, _refused):
    _state.upon(Inputs.begin).to(_catchingUp)(_begun)
    _state.upon(Inputs.refuse).to(_refused)(_refusedBy)
    _state.upon(Inputs.pause).to(_paused)(_pausedNow)
    _state.upon(Inputs.resume).loop().returns(None)
for _state in (_disconnected, _refused, _paused):
    _state.upon(Inputs.caughtUp).loop().returns(None)
    _state.upon(Inputs.gap).loop().returns(None)
for _state in (_catchingUp, _following):
    _state.upon(Inputs.caughtUp).to(_following)(_caughtUp)
    _state.upon(Inputs.gap).to(_catchingUp)(_asked)
for _state in (_disconnected, _catchingUp, _following):
    _state.upon(Inputs.end).to(_disconnected)(_ended)
_refused.upon(Inputs.end).loop()(_endedPaused)
_paused.upon(Inputs.begin).loop()(_begunPaused)
_paused.upon(Inputs.refuse).loop()(_refusedPaused)
_paused.upon(Inputs.end).loop()(_endedPaused)
_paused.upon(Inputs.pause).loop().returns(None)
_paused.upon(Inputs.resume).to(_catchingUp)(_resumed)
StateMachine: Callable[[Core], Inputs] = _builder.build()
