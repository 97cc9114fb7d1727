"""Hashes passwords and verifies them, off the reactor's thread, with the same work for users who do not exist.

New hashes are Argon2id; bcrypt and SHA-512-crypt are verified for imported users. It knows no users.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any

import bcrypt
from argon2.exceptions import VerificationError
from argon2.low_level import Type, hash_secret, verify_secret
from attrs import define, field, frozen
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import Invalid
from ..interfaces import IValidator
from ..vocabulary import Problem
from ._sha512crypt import sha512crypt
from .credentials import LoginBusy

LONGEST_PASSWORD = 1024
"""Bytes; a longer one is refused, after the usual work."""

MOST_MEMORY_KIBIBYTES = 1 << 20
MOST_ARGON2_WORK = 1 << 22
MOST_BCRYPT_COST = 16
MOST_ROUNDS = 1_000_000
"""What a hash from elsewhere may cost to verify; one that costs more fits no password. The Argon2 work is memory in KiB
times passes, SHA-512-crypt's is in rounds."""

_ARGON2ID = re.compile(
    r"\$argon2id\$v=19\$m=(\d{1,8}),t=(\d{1,6}),p=(\d{1,3})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{16,86}"
)
_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_SHA512CRYPT = re.compile(r"\$6\$(?:rounds=(\d{4,7})\$)?([./A-Za-z0-9]{1,16})\$([./A-Za-z0-9]{86})")


@implementer(IValidator)
@frozen(kw_only=True)
class Argon2Cost:
    """What it costs to hash a new password, and at least to verify one.

    :ivar memoryKibibytes: memory for each log-in that is being checked.
    :ivar passes: how often the memory is gone over.
    :ivar lanes: threads for each log-in.
    """

    memoryKibibytes: int = 19456
    passes: int = 2
    lanes: int = 1

    def problems(self) -> Sequence[Problem]:
        found = []
        if not 1 <= self.lanes <= 16:
            found.append(Problem("lanes", f"must be from 1 to 16, not {self.lanes}"))
        if not 7168 <= self.memoryKibibytes <= MOST_MEMORY_KIBIBYTES:
            found.append(Problem("memoryKibibytes", f"must be from 7168 to {MOST_MEMORY_KIBIBYTES}"))
        if not 1 <= self.passes <= 64:
            found.append(Problem("passes", f"must be from 1 to 64, not {self.passes}"))
        if not found and self.memoryKibibytes * self.passes > MOST_ARGON2_WORK:
            found.append(Problem("passes", f"memoryKibibytes times passes must not exceed {MOST_ARGON2_WORK}"))
        return found


def isUsable(encoded: str) -> bool:
    """Whether ``encoded`` is a hash that passwords can be verified against, and not too dear to be."""
    if match := _ARGON2ID.fullmatch(encoded):
        memory, passes, lanes = map(int, match.groups())
        affordable = memory <= MOST_MEMORY_KIBIBYTES and memory * passes <= MOST_ARGON2_WORK
        return affordable and passes >= 1 and 1 <= lanes <= 64 and memory >= 8 * lanes
    if match := _BCRYPT.fullmatch(encoded):
        return 4 <= int(match[1]) <= MOST_BCRYPT_COST
    if match := _SHA512CRYPT.fullmatch(encoded):
        return 1000 <= int(match[1] or 5000) <= MOST_ROUNDS
    return False


def _couldBe(encoded: str, password: bytes) -> bool:
    """Whether some password of that form could have made that hash."""
    # bcrypt repeats the password with a NUL in between: without this "a\0a" would do for "a".
    return 0 < len(password) <= LONGEST_PASSWORD and not (encoded.startswith("$2") and b"\0" in password)


def matches(encoded: str, password: bytes) -> bool:
    """Whether ``password`` made the usable hash ``encoded``. Takes its time."""
    if encoded.startswith("$argon2id$"):
        try:
            return verify_secret(encoded.encode("ascii"), password, Type.ID)
        except VerificationError:
            return False
    if match := _SHA512CRYPT.fullmatch(encoded):
        made = sha512crypt(password, match[2].encode("ascii"), int(match[1] or 5000))
        return hmac.compare_digest(made, match[3])
    # Every maker of such hashes has looked at 72 bytes only.
    return bcrypt.checkpw(password[:72], encoded.encode("ascii"))


@define(eq=False)
class _Job:
    """Work that waits for a thread, and who waits for it."""

    work: Callable[..., Any]
    arguments: tuple[Any, ...] = field(repr=False)
    answer: Deferred[Any] = field(factory=Deferred, init=False)


@define(eq=False)
class Passwords:
    """Hashing and verifying for the whole node, or for one use of it.

    Sources take turns: one that asks a thousand times does not keep the others waiting.

    :ivar randomBytes: as :func:`os.urandom`.
    :ivar concurrency: how many threads of the pool work at once.
    :ivar cost: of new hashes; may be replaced.
    :ivar mostPending: how much may run and wait; beyond it, ``LoginBusy`` at once. One source may have a quarter of it.
    """

    _reactor: Any
    _pool: Any
    _randomBytes: Callable[[int], bytes]
    _concurrency: int
    cost: Argon2Cost = Argon2Cost()
    _mostPending: int = 1024
    _waiting: OrderedDict[str, deque[_Job]] = field(factory=OrderedDict, init=False)
    _pending: Counter[str] = field(factory=Counter, init=False)
    _running: int = field(default=0, init=False)

    def hash(self, password: bytes, source: str = "") -> Deferred[str]:
        """A new hash, with a salt of its own. Fails with ``Invalid`` for a password that could never log in.

        :param source: who asks, such as a client's address; "" for the node itself.
        """
        if not 0 < len(password) <= LONGEST_PASSWORD:
            return fail(Invalid([Problem("password", f"must have from 1 to {LONGEST_PASSWORD} bytes")]))
        cost, salt = self.cost, self._randomBytes(16)
        return self._run(source, _hash, password, salt, cost)

    def verify(self, encoded: str, password: bytes, source: str = "") -> Deferred[bool]:
        """Whether ``password`` made ``encoded``. Where there is no hash, or nothing fits it, the answer takes the work
        of a current hash all the same."""
        if not isUsable(encoded) or not _couldBe(encoded, password):
            return self.dummyVerify(password, source)
        return self._run(source, matches, encoded, password)

    def dummyVerify(self, password: bytes, source: str = "") -> Deferred[bool]:
        """The work of verifying; the answer is always no."""
        random = self._randomBytes(48)
        encoded = _encode(self.cost, random[:16], random[16:])
        return self._run(source, matches, encoded, password[:LONGEST_PASSWORD]).addCallback(lambda same: False)

    def needsRehash(self, encoded: str) -> bool:
        """Whether a hash made now would be better."""
        match = _ARGON2ID.fullmatch(encoded)
        return not match or int(match[1]) < self.cost.memoryKibibytes or int(match[2]) < self.cost.passes

    def _run(self, source: str, work: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        share = self._mostPending // 4 if source else self._mostPending
        if self._pending.total() >= self._mostPending or self._pending[source] >= share:
            return fail(LoginBusy("too many log-ins at once"))
        job = _Job(work, arguments)
        self._pending[source] += 1
        self._waiting.setdefault(source, deque()).append(job)
        self._startWaiting()
        return job.answer

    def _startWaiting(self) -> None:
        while self._waiting and self._running < self._concurrency:
            source, jobs = self._waiting.popitem(last=False)
            job = jobs.popleft()
            if jobs:
                self._waiting[source] = jobs
            if job.answer.called:
                # Whoever asked has gone.
                self._forget(source)
            else:
                self._start(source, job)

    def _start(self, source: str, job: _Job) -> None:
        self._running += 1

        def done(result: Any) -> None:
            # Room is made when the thread is through, not when somebody gives up waiting for it.
            self._running -= 1
            self._forget(source)
            if isinstance(result, Failure):
                job.answer.errback(result)
            else:
                job.answer.callback(result)
            self._startWaiting()

        self._pool.callInThreadWithCallback(
            lambda success, result: self._reactor.callFromThread(done, result), job.work, *job.arguments
        )

    def _forget(self, source: str) -> None:
        self._pending[source] -= 1
        if not self._pending[source]:
            del self._pending[source]


def _hash(password: bytes, salt: bytes, cost: Argon2Cost) -> str:
    encoded: bytes = hash_secret(password, salt, cost.passes, cost.memoryKibibytes, cost.lanes, 32, Type.ID)
    return encoded.decode("ascii")


def _encode(cost: Argon2Cost, salt: bytes, digest: bytes) -> str:
    numbers = f"m={cost.memoryKibibytes},t={cost.passes},p={cost.lanes}"
    texts = [base64.b64encode(part).rstrip(b"=").decode("ascii") for part in (salt, digest)]
    return "$".join(("", "argon2id", "v=19", numbers, *texts))
