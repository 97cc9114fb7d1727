"""Tests of hashing and verifying passwords."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, gatherResults
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from cftpcluster.auth import passwords as module
from cftpcluster.auth._sha512crypt import sha512crypt
from cftpcluster.auth.credentials import LoginBusy
from cftpcluster.auth.passwords import Argon2Cost, Passwords, isUsable
from cftpcluster.errors import Invalid
from cftpcluster.interfaces import IValidator
from cftpcluster.testing.auth import CHEAP, CountingPool, counted, numberedBytes
from cftpcluster.testing.threads import HeldPool, InlinePool, InlineReactor

# The last is the first vector of the specification of SHA-512-crypt.
BCRYPT_OF_ABC = "$2b$04$nfirh4RKQCBDyq8NurjWueK7NRg.IOjL/8uwt5xGgysa7VENdKk.6"
BCRYPT_OF_72_X = "$2b$04$dwX2DWoL88MhfKcBKbgASe5qVkjX/BW7IvXFC0beUt5Pyt.TKOGhe"
BCRYPT = BCRYPT_OF_ABC.replace("$2b$", "$2y$")
SHA512 = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"


def passwordsOn(pool: Any, concurrency: int = 9, **options: Any) -> Passwords:
    return Passwords(InlineReactor(), pool, numberedBytes(), concurrency, CHEAP, **options)


class Sha512CryptTests(SynchronousTestCase):
    """The vectors of the specification."""

    vectors = (
        (b"saltstring", 5000, b"Hello world!", SHA512[14:]),
        (
            b"saltstringsaltst",
            10000,
            b"Hello world!",
            "OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
        ),
        (
            b"toolongsaltstrin",
            5000,
            b"This is just a test",
            "lQ8jolhgVRVhY4b5pZKaysCLi0QBxGoNeKQzQ3glMhwllF7oGDZxUhx1yxdYcz/e1JSbq3y6JMxxl8audkUEm0",
        ),
        (
            b"anotherlongsalts",
            1400,
            b"a very much longer text to encrypt.  This one even stretches over morethan one line.",
            "POfYwTEok97VWcjxIiSOjiykti.o/pQs.wPvMxQ6Fm7I6IoYN3CmLs66x9t0oSwbtEW7o7UmJEiDwGqd8p4ur1",
        ),
        (
            b"short",
            77777,
            b"we have a short salt string but not a short password",
            "WuQyW2YR.hBNpjjRhpYD/ifIw05xdfeEyQoMxIXbkvr0gge1a1x3yRULJ5CCaUeOxFmtlcGZelFl5CxtgfiAc0",
        ),
        (
            b"asaltof16chars..",
            123456,
            b"a short string",
            "BtCwjqMJGx5hrJhZywWvt0RLE8uZ4oPwcelCjmw2kSYu.Ec6ycULevoBK25fs2xXgMNrCzIMVcgEJAstJeonj1",
        ),
        (
            b"roundstoolow",
            1000,
            b"the minimum number is still observed",
            "kUMsbe306n21p9R.FRkW3IGn.S9NPN0x50YhH1xhLsPuWGsUSklZt58jaTfF4ZEQpyUNGc0dqbpBYYBaHHrsX.",
        ),
    )

    def test_vectorsOfTheSpecification(self) -> None:
        for salt, rounds, password, expected in self.vectors:
            self.assertEqual(sha512crypt(password, salt, rounds), expected)


class UsableTests(SynchronousTestCase):
    argon2 = "$argon2id$v=19$m={},t={},p={}$c29tZXNhbHQ$" + "A" * 43

    def test_formsOfTheContract(self) -> None:
        for encoded in (self.argon2.format(19456, 2, 1), BCRYPT, BCRYPT.replace("2y", "2a"), SHA512):
            self.assertTrue(isUsable(encoded), encoded)

    def test_otherFormsAreNot(self) -> None:
        others = (
            "",
            "!",
            "*",
            "x",
            "plain",
            "$1$saltsalt$abcdefghijklmnopqrstuv",
            BCRYPT.replace("2y", "2x"),
            BCRYPT[:-1],
            BCRYPT + "\n",
            SHA512 + "\n",
            SHA512 + "a",
            SHA512.replace("$6$", "$5$"),
            self.argon2.format(19456, 2, 1).replace("argon2id", "argon2i"),
            self.argon2.format(19456, 2, 1) + "$",
        )
        for encoded in others:
            self.assertFalse(isUsable(encoded), encoded)

    def test_whatCostsTooMuchIsNot(self) -> None:
        dear = (
            self.argon2.format(99999999, 1, 1),
            self.argon2.format(19456, 99999, 1),
            self.argon2.format(8, 1, 255),
            self.argon2.format(19456, 0, 1),
            BCRYPT.replace("$04$", "$31$"),
            SHA512.replace("$6$", "$6$rounds=9999999$"),
            SHA512.replace("$6$", "$6$rounds=0999$"),
        )
        for encoded in dear:
            self.assertFalse(isUsable(encoded), encoded)


class CostTests(SynchronousTestCase):
    def test_defaultsAreThoseOfOwasp(self) -> None:
        cost = Argon2Cost()
        self.assertEqual((cost.memoryKibibytes, cost.passes, cost.lanes, list(cost.problems())), (19456, 2, 1, []))
        verifyObject(IValidator, cost)

    def test_allProblemsAreTold(self) -> None:
        cost = Argon2Cost(memoryKibibytes=1, passes=0, lanes=99)
        self.assertEqual({problem.path for problem in cost.problems()}, {"memoryKibibytes", "passes", "lanes"})

    def test_memoryAndPassesTogetherAreBounded(self) -> None:
        self.assertEqual([p.path for p in Argon2Cost(memoryKibibytes=1 << 20, passes=64).problems()], ["passes"])

    def test_everyAllowedCostMakesUsableHashes(self) -> None:
        cost = Argon2Cost(memoryKibibytes=1 << 20, passes=4, lanes=16)
        self.assertEqual(list(cost.problems()), [])
        self.assertTrue(isUsable(module._encode(cost, b"s" * 16, b"d" * 32)))


class VerifyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pool = CountingPool()
        self.passwords = passwordsOn(self.pool)

    def verify(self, encoded: str, password: bytes) -> bool:
        result: bool = self.successResultOf(self.passwords.verify(encoded, password))
        return result

    def test_verifiesWhatItHashed(self) -> None:
        encoded = self.successResultOf(self.passwords.hash(b"pass\0word\xff"))
        self.assertTrue(isUsable(encoded))
        self.assertTrue(self.verify(encoded, b"pass\0word\xff"))
        for other in (b"pass", b"pass\0word", b"pass\0word\xff\0", b"", b"Pass\0word\xff"):
            self.assertFalse(self.verify(encoded, other))

    def test_everyHashHasASaltOfItsOwn(self) -> None:
        hashes = {self.successResultOf(self.passwords.hash(b"same")) for _ in range(3)}
        self.assertEqual(len(hashes), 3)

    def test_verifiesSha512Crypt(self) -> None:
        self.assertTrue(self.verify(SHA512, b"Hello world!"))
        self.assertFalse(self.verify(SHA512, b"Hello world!\0"))
        self.assertFalse(self.verify(SHA512, b"Hello world"))

    def test_verifiesBcrypt(self) -> None:
        for form in ("$2a$", "$2b$", "$2y$"):
            encoded = form + BCRYPT_OF_ABC[4:]
            self.assertTrue(self.verify(encoded, b"abc"))
            self.assertFalse(self.verify(encoded, b"abd"))

    def test_bcryptTakesNoPasswordWithNul(self) -> None:
        """bcrypt repeats the password with a NUL in between, so that this one gives the same hash."""
        self.assertFalse(self.verify(BCRYPT_OF_ABC, b"abc\0abc"))

    def test_bcryptLooksAt72Bytes(self) -> None:
        self.assertTrue(self.verify(BCRYPT_OF_72_X, b"x" * 72))
        self.assertTrue(self.verify(BCRYPT_OF_72_X, b"x" * 73))
        self.assertFalse(self.verify(BCRYPT_OF_72_X, b"x" * 71))

    def test_emptyPasswordFitsNothing(self) -> None:
        self.assertFalse(self.verify(module._hash(b"", b"s" * 16, CHEAP), b""))

    @settings(max_examples=100, deadline=None)
    @given(st.text(max_size=120), st.binary(max_size=40))
    def test_textsThatAreNoHashFitNothing(self, encoded: str, password: bytes) -> None:
        self.assertFalse(self.verify(encoded, password))

    def test_brokenDigestIsNoError(self) -> None:
        encoded = "$argon2id$v=19$m=32,t=1,p=1$c29tZXNhbHQ$" + "A" * 21
        self.assertFalse(self.verify(encoded, b"x"))

    def test_longPasswordsCannotBeSetAndNeverFit(self) -> None:
        longest = b"x" * 1024
        encoded = self.successResultOf(self.passwords.hash(longest))
        self.assertTrue(self.verify(encoded, longest))
        self.assertFalse(self.verify(encoded, longest + b"x"))
        for password in (longest + b"x", b""):
            self.failureResultOf(self.passwords.hash(password), Invalid)

    def test_needsRehashWhereCurrentHashesAreBetter(self) -> None:
        encoded = self.successResultOf(self.passwords.hash(b"x"))
        self.assertFalse(self.passwords.needsRehash(encoded))
        for old in (BCRYPT, SHA512):
            self.assertTrue(self.passwords.needsRehash(old))
        self.passwords.cost = Argon2Cost(memoryKibibytes=CHEAP.memoryKibibytes, passes=2)
        self.assertTrue(self.passwords.needsRehash(encoded))
        better = self.successResultOf(self.passwords.hash(b"x"))
        self.passwords.cost = CHEAP
        self.assertFalse(self.passwords.needsRehash(better))


class EqualWorkTests(SynchronousTestCase):
    """Nothing about a user shows in what a refusal costs."""

    def work(self, encoded: str, password: bytes) -> list[str]:
        pool = CountingPool()
        self.assertFalse(self.successResultOf(passwordsOn(pool).verify(encoded, password)))
        return pool.work

    def test_everyRefusalTakesOneVerificationOfCurrentCost(self) -> None:
        encoded = module._hash(b"right", b"s" * 16, CHEAP)
        expected = [counted(encoded)]
        for subject in ("", "*", "rubbish", encoded, BCRYPT.replace("$04$", "$31$")):
            for password in (b"wrong", b"", b"x" * 5000):
                self.assertEqual(self.work(subject, password), expected, (subject, password[:9]))

    def test_dummyNeverFits(self) -> None:
        passwords = passwordsOn(InlinePool())
        self.assertFalse(self.successResultOf(passwords.dummyVerify(b"x")))


class BoundsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pool = HeldPool()
        self.passwords = passwordsOn(self.pool, mostPending=8)

    def test_beyondTheQueueItIsBusyAtOnce(self) -> None:
        waiting = [self.passwords.verify("", b"x", f"192.0.2.{n}") for n in range(8)]
        self.failureResultOf(self.passwords.verify("", b"x", "192.0.2.9"), LoginBusy)
        self.failureResultOf(self.passwords.hash(b"x"), LoginBusy)
        self.assertEqual(len(self.pool.held), 8)
        self.pool.runAll()
        self.assertEqual([self.successResultOf(d) for d in waiting], [False] * 8)
        self.assertNoResult(self.passwords.verify("", b"x", "192.0.2.9"))

    def test_oneSourceGetsAQuarter(self) -> None:
        for _ in range(2):
            self.assertNoResult(self.passwords.verify("", b"x", "192.0.2.1"))
        self.failureResultOf(self.passwords.verify("", b"x", "192.0.2.1"), LoginBusy)
        self.assertNoResult(self.passwords.verify("", b"x", "192.0.2.2"))
        self.pool.runNext()
        self.assertNoResult(self.passwords.verify("", b"x", "192.0.2.1"))

    def test_givingUpMakesNoRoomWhileTheThreadWorks(self) -> None:
        for n in range(8):
            d = self.passwords.verify("", b"x", f"192.0.2.{n}")
            d.cancel()
            self.failureResultOf(d, CancelledError)
        self.failureResultOf(self.passwords.verify("", b"x"), LoginBusy)
        self.pool.runAll()
        self.assertNoResult(self.passwords.verify("", b"x"))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_onlySoManyThreadsWorkAtOnce(self) -> None:
        passwords = passwordsOn(self.pool, concurrency=2)
        waiting = [passwords.verify("", b"x") for _ in range(5)]
        self.assertEqual(len(self.pool.held), 2)
        self.pool.runNext()
        self.assertEqual(len(self.pool.held), 2)
        self.pool.runAll()
        self.assertEqual([self.successResultOf(d) for d in waiting], [False] * 5)

    def test_sourcesTakeTurns(self) -> None:
        passwords = passwordsOn(self.pool, concurrency=1)
        order: list[str] = []
        for source in ("many", "many", "many", "one", "two", "many"):
            passwords.verify("", b"x", source).addCallback(lambda _, source=source: order.append(source))
        self.pool.runAll()
        self.assertEqual(order, ["many", "many", "one", "two", "many", "many"])

    def test_workOfThoseWhoGaveUpIsLeftOut(self) -> None:
        passwords = passwordsOn(self.pool, concurrency=1)
        first, second, third = (passwords.verify("", b"x") for _ in range(3))
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.pool.runNext()
        self.successResultOf(first)
        self.pool.runNext()
        self.successResultOf(third)
        self.assertEqual((len(self.pool.held), passwords._pending.total()), (0, 0))

    def test_nothingIsRememberedOfSources(self) -> None:
        for n in range(100):
            d = self.passwords.verify("", b"x", f"192.0.2.{n}")
            self.pool.runAll()
            self.successResultOf(d)
        self.assertEqual((len(self.passwords._pending), len(self.passwords._waiting)), (0, 0))


class RealPoolTests(TestCase):
    async def test_worksInThreads(self) -> None:
        pool = ThreadPool(0, 2)
        pool.start()
        self.addCleanup(pool.stop)
        passwords = Passwords(reactor, pool, numberedBytes(), 2, CHEAP)
        encoded = await passwords.hash(b"right")
        answers = await gatherResults([passwords.verify(encoded, word) for word in (b"right", b"wrong", b"")])
        self.assertEqual(answers, [True, False, False])
        self.assertEqual(len(passwords._pending), 0)
