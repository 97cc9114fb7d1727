"""Lets in whoever stands in a file like Apache's, one ``NAME:HASH`` a line, if the document has a user of that name.

``htpasswd -B`` makes such files. The file is looked at for every log-in, and read again when it has changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from cftpcluster.auth.passwords import Passwords
from cftpcluster.config.document import Document
from cftpcluster.interfaces import ICheckerFactory, IPasswordLogin, IValidator
from cftpcluster.networks import countedAs
from cftpcluster.vocabulary import Problem

MOST_BYTES = 16 * 1024 * 1024


@implementer(IValidator)
@frozen(kw_only=True)
class HtpasswdConfig:
    """Options of a checker of kind ``htpasswd``.

    :ivar file: the file, the same absolute path on every node; bcrypt, ``$6$`` and argon2id hashes are understood.
    """

    file: str

    def problems(self) -> Sequence[Problem]:
        return [] if os.path.isabs(self.file) else [Problem("file", f"{self.file!r} is not absolute")]


@define(eq=False)
class HashFile:
    """The file; every method blocks."""

    _path: str
    _version: Any = field(default=None, init=False)
    _hashes: Mapping[str, str] = field(factory=dict, init=False, repr=False)

    def hashOf(self, name: str) -> str:
        """The hash of a name's password; "" without one."""
        found = os.stat(self._path)
        version = (found.st_ino, found.st_size, found.st_mtime_ns)
        if version != self._version:
            with open(self._path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
                lines = [line.split(":") for line in file.read(MOST_BYTES).splitlines() if not line.startswith("#")]
            self._hashes = {fields[0]: fields[1].strip() for fields in lines if len(fields) > 1}
            self._version = version
        return self._hashes.get(name, "")


@implementer(ICredentialsChecker)
@define(eq=False)
class HtpasswdChecker:
    """:ivar _readPool: for the disk; hashing has a pool of its own, which must not wait for a disk."""

    _file: HashFile
    _passwords: Passwords
    _reactor: Any
    _readPool: ThreadPool

    credentialInterfaces = (IPasswordLogin,)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._check(credentials))

    async def _check(self, login: IPasswordLogin) -> str:
        try:
            encoded = await deferToThreadPool(self._reactor, self._readPool, self._file.hashOf, login.name)
        except OSError as error:
            raise UnauthorizedLogin(f"the password file cannot be read: {error.strerror}") from None
        # Also for a name that is not there: the answer takes the same work.
        if not await self._passwords.verify(encoded, login.password, countedAs(login.origin.address)):
            raise UnauthorizedLogin("wrong password in the file" if encoded else "not in the file")
        return login.name


@implementer(ICheckerFactory)
@frozen
class HtpasswdCheckerFactory:
    kind: str = "htpasswd"
    summary: str = "users of the document whose passwords stand in a file as htpasswd makes it"
    configClass: type = HtpasswdConfig

    def build(
        self,
        config: HtpasswdConfig,
        *,
        reactor: Any,
        pool: ThreadPool,
        document: Callable[[], Document],
        upgrade: Callable[[str, str, str], None],
    ) -> HtpasswdChecker:
        passwords = Passwords(reactor, pool, os.urandom, pool.max)
        return HtpasswdChecker(HashFile(config.file), passwords, reactor, reactor.getThreadPool())


htpasswdCheckerFactory = HtpasswdCheckerFactory()
