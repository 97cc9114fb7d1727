"""The account that a log-in gives. It knows no protocol and no storage."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from ..interfaces import IAccount, IFileSystem, ISessionFiles
from ..vocabulary import Origin


@implementer(IAccount)
@define(eq=False)
class Account:
    name: str
    origin: Origin
    files: IFileSystem
    revision: int
    _ended: bool = field(default=False, init=False)

    def logout(self) -> Deferred[None]:
        session = ISessionFiles(self.files, None)
        if self._ended or session is None:
            return succeed(None)
        self._ended = True
        return session.close()
