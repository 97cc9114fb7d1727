"""Errors that cross a link: coded by name and fields, never a traceback, and only those that are named here.

What a newer node calls by a name that is not known here arrives as a plain :class:`~cftpcluster.errors.ClusterError`
with its text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen
from twisted.logger import Logger
from twisted.python.failure import Failure

from .. import errors
from ..config.codec import canonical
from ..errors import ClusterError
from ..vocabulary import Problem
from .messages import expect, malformed, optionsFromPlain

log = Logger()


class LinkLost(ClusterError):
    """There is no link, or it ended before the answer came.

    :ivar sent: whether the question may have reached the other node.
    """

    def __init__(self, message: str, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class NoAnswer(LinkLost):
    """The answer did not come in time; the link may be well."""

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=True)


@frozen
class _Form:
    """How one class of errors crosses: the fields it is made of, and how it is made of them."""

    fields: Callable[[Any], Mapping[str, Any]]
    build: Callable[[str, Mapping[str, Any]], ClusterError]


def _ofText(kind: type[ClusterError]) -> _Form:
    return _Form(lambda _: {}, lambda text, _: kind(text))


def _conflict(_: str, fields: Mapping[str, Any]) -> ClusterError:
    moved = {}
    for section, name, revision in fields["moved"]:
        moved[expect(section, str, "conflict"), expect(name, str, "conflict")] = expect(revision, int, "conflict")
    return errors.Conflict(moved)


def _invalid(_: str, fields: Mapping[str, Any]) -> ClusterError:
    return errors.Invalid(
        [Problem(expect(path, str, "problem"), expect(text, str, "problem")) for path, text in fields["problems"]]
    )


def _notPrimary(_: str, fields: Mapping[str, Any]) -> ClusterError:
    return errors.NotPrimary(
        expect(fields["epoch"], int, "epoch"),
        expect(fields["name"], str, "name"),
        expect(fields["address"], str, "address"),
    )


def _notDurableEnough(_: str, fields: Mapping[str, Any]) -> ClusterError:
    durableOn = [expect(name, str, "name") for name in fields["durableOn"]]
    return errors.NotDurableEnough(expect(fields["revision"], int, "revision"), durableOn)


_FORMS: Mapping[str, _Form] = {
    "Conflict": _Form(
        lambda error: {"moved": [[section, name, revision] for (section, name), revision in error.moved.items()]},
        _conflict,
    ),
    "Invalid": _Form(
        lambda error: {"problems": [[problem.path, problem.message] for problem in error.problems]}, _invalid
    ),
    "NotPrimary": _Form(
        lambda error: {"epoch": error.epoch, "name": error.name, "address": error.address}, _notPrimary
    ),
    "OutcomeUnknown": _Form(
        lambda error: {"requestId": error.requestId},
        lambda _, fields: errors.OutcomeUnknown(expect(fields["requestId"], str, "request")),
    ),
    "NotDurableEnough": _Form(
        lambda error: {"revision": error.revision, "durableOn": list(error.durableOn)}, _notDurableEnough
    ),
    "ChainMismatch": _Form(
        lambda error: {"revision": error.revision},
        lambda text, fields: errors.ChainMismatch(expect(fields["revision"], int, "revision"), text),
    ),
    "Forbidden": _ofText(errors.Forbidden),
    "JournalDamaged": _ofText(errors.JournalDamaged),
    "JournalReadOnly": _ofText(errors.JournalReadOnly),
    "DiskFull": _ofText(errors.DiskFull),
    "NewerFormat": _ofText(errors.NewerFormat),
    "HistoryGone": _ofText(errors.HistoryGone),
    "NotAppending": _ofText(errors.NotAppending),
    "PrimaryUnreachable": _ofText(errors.PrimaryUnreachable),
    "Refused": _ofText(errors.Refused),
    "SnapshotNeeded": _ofText(errors.SnapshotNeeded),
    "ClusterError": _ofText(ClusterError),
}


def plainFromFailure(failure: Failure, node: str) -> bytes:
    """The coded form of what went wrong on ``node``. What is no error of the cluster is a defect, and told in the
    node's own log only."""
    error = failure.value
    if not isinstance(error, ClusterError):
        log.failure("a call from another node failed", failure=failure)
        error = ClusterError(f"internal error on {node}; its log has the details")
    # The nearest class that the other end may know, so that a subclass is not lost.
    name = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _FORMS)
    return canonical({"error": name, "text": str(error), **_FORMS[name].fields(error)})


def errorFromPlain(plain: Any) -> ClusterError:
    fields = optionsFromPlain(plain, "error")
    text = expect(fields.get("text"), str, "error")
    form = _FORMS.get(expect(fields.get("error"), str, "error"), _FORMS["ClusterError"])
    try:
        return form.build(text, fields)
    except (KeyError, TypeError, ValueError):
        return malformed("error")
