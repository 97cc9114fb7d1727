"""Plain values to instances, strictly."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import field, frozen, validators
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.codec import structure, unstructure
from cftpcluster.config.document import Listener, Mount, Protocol, Role, Secret, User
from cftpcluster.errors import Invalid
from cftpcluster.vocabulary import Permission, Problem

from .strategies import forAll, plains


@frozen
class Inner:
    size: int = 0

    def problems(self) -> Sequence[Problem]:
        return [Problem("size", "must not be 13")] if self.size == 13 else []


@frozen
class Options:
    """As a plug-in declares them."""

    root: str
    tls: Literal["required", "optional", "off"] = "off"
    ratio: float = 1.0
    address: str | tuple[str, ...] | None = None
    limit: int | None = None
    workers: int = field(default=1, validator=validators.ge(1))
    byNetwork: Mapping[str, str] = field(factory=dict)
    inner: Inner = Inner()
    inners: tuple[Inner, ...] = ()
    anything: Any = None
    secretWord: str = field(default="", repr=False)
    tags: list[str] = field(factory=list)
    mode: set[str] = field(factory=set)


class StructureTests(SynchronousTestCase):
    def problems(self, cls: type, plain: Any, path: str = "") -> list[str]:
        error = self.assertRaises(Invalid, structure, cls, plain, path)
        return [str(problem) for problem in error.problems]

    def test_ofVeryManyUnknownKeysTheFirstAreTold(self) -> None:
        found = self.problems(Options, {"root": "r", **{f"key{number:05}": 1 for number in range(10_000)}})
        self.assertEqual((len(found), found[0], found[-1]), (51, 'unknown key "key00000"', "9950 more unknown keys"))

    def test_everyKindOfValue(self) -> None:
        plain = {
            "root": "r", "tls": "required", "ratio": 2, "address": ["a", "b"], "limit": None, "workers": 3,
            "byNetwork": {"10.0.0.0/8": "x"}, "inner": {"size": 1}, "inners": [{}, {"size": 2}],
            "anything": [1, {"x": None}], "tags": ["t"], "mode": ["m", "m"],
        }  # fmt: skip
        made = structure(Options, plain)
        wanted = Options(
            root="r", tls="required", ratio=2.0, address=("a", "b"), workers=3, byNetwork={"10.0.0.0/8": "x"},
            inner=Inner(1), inners=(Inner(), Inner(2)), anything=[1, {"x": None}], tags=["t"], mode={"m"},
        )  # fmt: skip
        self.assertEqual(made, wanted)
        self.assertEqual(structure(Options, {"root": "r", "address": "a"}).address, "a")

    def test_nothingIsCoerced(self) -> None:
        for plain, message in (
            ({"root": 5}, "root: expected text, got 5"),
            ({"root": None}, "root: expected text, got null"),
            ({"root": "r", "limit": "5"}, 'limit: expected a whole number, got "5"'),
            ({"root": "r", "limit": True}, "limit: expected a whole number, got true"),
            ({"root": "r", "limit": 5.0}, "limit: expected a whole number, got 5.0"),
            ({"root": "r", "limit": 2**63}, "limit: expected a whole number, got 9223372036854775808"),
            ({"root": "r", "ratio": "1"}, 'ratio: expected a number, got "1"'),
            ({"root": "r", "ratio": float("nan")}, "ratio: expected a number, got NaN"),
            ({"root": "r", "ratio": True}, "ratio: expected a number, got true"),
            ({"root": "r", "tls": "on"}, 'tls: expected one of required, optional, off, got "on"'),
            ({"root": "r", "tls": ["off"]}, "tls: expected one of required, optional, off, got a list"),
            ({"root": "r", "address": 5}, "address: expected text or a list or null, got 5"),
            ({"root": "r", "address": ["a", 5]}, "address[1]: expected text, got 5"),
            ({"root": "r", "tags": "abc"}, 'tags: expected a list, got "abc"'),
            ({"root": "r", "tags": {"a": 1}}, "tags: expected a list, got a mapping"),
            ({"root": "r", "byNetwork": ["a"]}, "byNetwork: expected a mapping, got a list"),
            ({"root": "r", "byNetwork": {"a": 1}}, "byNetwork.a: expected text, got 1"),
            ({"root": "r", "byNetwork": {5: "a"}}, "byNetwork: every key must be text"),
            ({"root": "r", "inner": 5}, "inner: expected a mapping, got 5"),
            ({"root": "\ud800"}, 'root: expected text in valid Unicode, got "\\ud800"'),
        ):
            self.assertEqual(self.problems(Options, plain), [message])

    def test_allProblemsAreToldWithTheirPaths(self) -> None:
        plain = {
            "name": 5, "enabled": "yes", "gruops": [], "expires": "2027-01-31",
            "mounts": [{"path": "/", "backend": "x", "permissions": ["lst"]}, {"backend": 3, "atomicUploads": 1}],
        }  # fmt: skip
        permissions = ", ".join(permission.value for permission in Permission)
        self.assertEqual(
            self.problems(User, plain, "users[3]"),
            [
                "users[3].name: expected text, got 5",
                'users[3].enabled: expected true or false, got "yes"',
                'users[3].expires: expected a time with its zone such as 2027-01-31T00:00:00Z, got "2027-01-31"',
                f'users[3].mounts[0].permissions[0]: expected one of {permissions}, got "lst"',
                "users[3].mounts[1].path: is required",
                "users[3].mounts[1].backend: expected text, got 3",
                "users[3].mounts[1].atomicUploads: expected true or false, got 1",
                'users[3]: unknown key "gruops"; did you mean "groups"?',
            ],
        )

    def test_unknownKeysAreRefusedAtEveryDepth(self) -> None:
        self.assertEqual(
            self.problems(Options, {"root": "r", "inner": {"sise": 1}}),
            ['inner: unknown key "sise"; did you mean "size"?'],
        )
        self.assertEqual(self.problems(Mount, {"path": "/", "backend": "b", "extra": {}}), ['unknown key "extra"'])

    def test_notAMapping(self) -> None:
        for plain in (None, [], "x", 5):
            self.assertEqual(len(self.problems(User, plain, "users[0]")), 1)

    def test_valuesOfSecretsAreNotShown(self) -> None:
        self.assertEqual(self.problems(User, {"name": "a", "passwordHash": 12345}), ["passwordHash: expected text"])
        self.assertEqual(self.problems(Options, {"root": "r", "secretWord": 99}), ["secretWord: expected text"])

    def test_longValuesAreShownShortAndOnOneLine(self) -> None:
        (problem,) = self.problems(Listener, {"name": "x", "kind": "ftp", "port": "\n" * 200})
        self.assertLess(len(problem), 120)
        self.assertNotIn("\n", problem)

    def test_validatorsAreAsked(self) -> None:
        self.assertEqual(
            self.problems(Options, {"root": "r", "workers": 0}, "backends[1]"),
            ["backends[1]: 'workers' must be >= 1: 0"],
        )

    def test_instancesAreAskedForTheirProblems(self) -> None:
        plain = {"root": "r", "inner": {"size": 13}, "inners": [{}, {"size": 13}]}
        self.assertEqual(
            self.problems(Options, plain, "o"), ["o.inner.size: must not be 13", "o.inners[1].size: must not be 13"]
        )
        self.assertEqual(self.problems(Inner, {"size": 13}), ["size: must not be 13"])

    def test_times(self) -> None:
        for text in ("2027-01-31T00:00:00Z", "2027-01-31T01:00:00+01:00", "2027-01-30T19:00:00-05:00"):
            user = structure(User, {"name": "a", "expires": text})
            self.assertEqual(user.expires, datetime.datetime(2027, 1, 31, tzinfo=datetime.UTC))
            self.assertEqual(unstructure(user)["expires"], "2027-01-31T00:00:00Z")
        for text in ("tomorrow", "2027-01-31T00:00:00", "0001-01-01T00:00:00+23:59", 5):
            self.assertEqual(len(self.problems(User, {"name": "a", "expires": text})), 1)

    def test_secrets(self) -> None:
        self.assertEqual(structure(Secret, {"sealed": "AP8="}), Secret(b"\x00\xff"))
        for wrong in ({"sealed": "%"}, {"sealed": 5}, {"secret": "x"}, "x", {"sealed": "AP8=", "more": 1}):
            self.assertEqual(self.problems(Secret, wrong), ["expected a sealed secret"])

    @forAll(plains)
    def test_anyPlainValueIsTakenOrRefused(self, plain: Any) -> None:
        for value in (plain, {"name": "x", "mounts": plain, "expires": plain, "protocols": plain}):
            try:
                structure(User, value)
            except Invalid as error:
                self.assertTrue(error.problems)

    @forAll(
        st.dictionaries(st.sampled_from(["root", "tls", "address", "limit", "byNetwork", "inners", "tags"]), plains)
    )
    def test_whatIsTakenIsWrittenBack(self, plain: dict[str, Any]) -> None:
        try:
            made = structure(Options, plain)
        except Invalid:
            return
        self.assertEqual(structure(Options, unstructure(made)), made)


class UnstructureTests(SynchronousTestCase):
    def test_setsStandInTheOrderOfTheirDefinition(self) -> None:
        user = User(name="a", protocols=frozenset([Protocol.https, Protocol.ftp]))
        self.assertEqual(unstructure(user), {"name": "a", "protocols": ["ftp", "https"]})
        self.assertEqual(unstructure(frozenset(["b", "a"])), ["a", "b"])

    def test_values(self) -> None:
        self.assertEqual(unstructure(Role.full), "full")
        self.assertEqual(unstructure(("a",)), ["a"])
        self.assertEqual(unstructure({"a": 1}), {"a": 1})
        self.assertEqual(unstructure(Secret(b"\x00\xff")), {"sealed": "AP8="})
