"""Several checkers as one. It knows no kind of credential and no kind of checker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import Logger
from zope.interface import Interface, implementer

from .credentials import LoginBusy


@implementer(ICredentialsChecker)
@define(eq=False)
class ChainingChecker:
    """Asks in order; the first that knows the client decides.

    A checker that breaks is one that does not know the client. The text of the refusal tells every checker's reason,
    for the log only.

    :ivar checkers: may be replaced at any time; log-ins under way go on with those they started with.
    """

    checkers: Sequence[ICredentialsChecker]
    _log = Logger()

    @property
    def credentialInterfaces(self) -> list[type[Interface]]:
        return list(dict.fromkeys(each for checker in self.checkers for each in checker.credentialInterfaces))

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._ask(credentials))

    async def _ask(self, credentials: Any) -> str:
        reasons = []
        busy = False
        for checker in [each for each in self.checkers if _takes(each, credentials)]:
            try:
                name: Any = await maybeDeferred(checker.requestAvatarId, credentials)
            except LoginBusy:
                busy = True
            except LoginFailed as refusal:
                reasons.append(str(refusal) or "refused")
            except CancelledError:
                raise
            except Exception:  # noqa: BLE001 - a plug-in's fault must not keep the others from being asked
                self._log.failure("{checker} broke", checker=checker)
                reasons.append("the checker broke")
            else:
                if isinstance(name, str):
                    return name
                reasons.append("the checker named no user")
        if busy:
            raise LoginBusy("too many log-ins at once")
        raise UnauthorizedLogin(", ".join(reasons) or "no checker takes this kind of log-in")


def _takes(checker: ICredentialsChecker, credentials: Any) -> bool:
    return any(each.providedBy(credentials) for each in checker.credentialInterfaces)
