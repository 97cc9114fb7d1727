"""Tests of what has to be proven, and in which order."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.auth.steps import mayFollow, suffice, wanted
from cftpcluster.config.document import Group, Method, User
from cftpcluster.testing.auth import documentWith

BOTH = ((Method.publickey, Method.password),)
KEY = ((Method.publickey,),)


class WantedTests(SynchronousTestCase):
    def setUp(self) -> None:
        groups = [Group(name="none"), Group(name="both", authentication=BOTH), Group(name="key", authentication=KEY)]
        self.document = documentWith(groups=groups)

    def wanted(self, user: User) -> list[tuple[str, ...]]:
        return list(wanted(self.document, user))

    def test_anyMethodWillDoWhereNothingIsSaid(self) -> None:
        self.assertEqual(self.wanted(User(name="alice", groups=("none", "gone"))), [])

    def test_theUsersOwnListsCountFirst(self) -> None:
        self.assertEqual(self.wanted(User(name="alice", authentication=KEY, groups=("both",))), [("publickey",)])

    def test_ofGroupsTheFirstThatSaysSomething(self) -> None:
        user = User(name="alice", groups=("none", "both", "key"))
        self.assertEqual(self.wanted(user), [("publickey", "password")])


class StepTests(SynchronousTestCase):
    lists = (("publickey", "password"), ("publickey", "keyboard-interactive"), ("password",))

    def test_oneAfterTheOther(self) -> None:
        self.assertEqual(mayFollow(self.lists, ()), ["publickey", "password"])
        self.assertEqual(mayFollow(self.lists, ("publickey",)), ["password", "keyboard-interactive"])
        self.assertEqual(mayFollow(self.lists, ("keyboard-interactive",)), [])

    def test_allOfOneListAreEnough(self) -> None:
        for methods, isEnough in {
            (): False,
            ("publickey",): False,
            ("password",): True,
            ("publickey", "password"): True,
            ("publickey", "keyboard-interactive"): True,
            ("keyboard-interactive",): False,
        }.items():
            self.assertEqual(suffice(self.lists, methods), isEnough, methods)

    def test_somethingHasToBeProvenInAnyCase(self) -> None:
        self.assertFalse(suffice((), ()))
        self.assertTrue(suffice((), ("password",)))
