"""Text that administrators write."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.written import exportYaml, parseText
from cftpcluster.errors import Invalid

from .strategies import forAll, plains

LAUGHS = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"b{number}: &a{number + 1} [{', '.join([f'*a{number}'] * 10)}]\n" for number in range(9)
)


class CoreSchemaTests(SynchronousTestCase):
    def test_scalars(self) -> None:
        for text, value in (
            ("off", "off"), ("no", "no"), ("yes", "yes"), ("y", "y"), ("true", True), ("False", False), ("TRUE", True),
            ("null", None), ("~", None), ("", None), ("12", 12), ("-3", -3), ("+3", 3), ("0640", 640), ("0o17", 15),
            ("0x1F", 31), ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("1_000", "1_000"), ("0b1", "0b1"),
            ("1:30", "1:30"),
            ("2027-01-31", "2027-01-31"), ("2027-01-31T00:00:00Z", "2027-01-31T00:00:00Z"), ("=", "="), ("<<", "<<"),
            ('"5"', "5"), ("'true'", "true"), ("! 5", "5"), ("192.0.2.1", "192.0.2.1"), ("50000-50999", "50000-50999"),
        ):  # fmt: skip
            self.assertEqual(parseText(f"key: {text}\n"), {"key": value}, text)

    def test_noMergeKeys(self) -> None:
        self.assertEqual(parseText("<<: {a: 1}"), {"<<": {"a": 1}})

    def test_versionDirectiveDoesNotBringOldRulesBack(self) -> None:
        self.assertEqual(parseText("%YAML 1.1\n---\nkey: off\n"), {"key": "off"})

    def test_blocksAndAnchors(self) -> None:
        text = "chain: |\n  one\n  two\nlists: &x\n  - a\nagain: *x\n"
        self.assertEqual(parseText(text), {"chain": "one\ntwo\n", "lists": ["a"], "again": ["a"]})

    def test_json(self) -> None:
        self.assertEqual(
            parseText(b'\xef\xbb\xbf {"a": [1, 2.5, null, true, "\\u00e9"]}'), {"a": [1, 2.5, None, True, "é"]}
        )

    def test_flowYAMLThatIsNoJSON(self) -> None:
        self.assertEqual(parseText("{a: 1, b: [x, y],}"), {"a": 1, "b": ["x", "y"]})

    def test_nothing(self) -> None:
        for text in ("", "\n\n", "# a comment\n"):
            self.assertIsNone(parseText(text))


class RefusalTests(SynchronousTestCase):
    def refused(self, text: str | bytes) -> str:
        (problem,) = self.assertRaises(Invalid, parseText, text).problems
        self.assertNotIn("\n", str(problem))
        return str(problem)

    def test_placeOfASyntaxError(self) -> None:
        self.assertEqual(self.refused("users:\n  - {name: a]\n").partition(":")[0], "line 2, column 13")
        self.assertEqual(self.refused("a: 1\n\tb: 2\n").partition(":")[0], "line 2, column 1")

    def test_tags(self) -> None:
        for text in ("a: !!python/object/apply:os.system [x]", "a: !!str 5", "!!map {}", "a: !custom x", "- !!set {x}"):
            self.assertIn("is not supported", self.refused(text))

    def test_duplicateKeys(self) -> None:
        self.assertEqual(self.refused("a: 1\nb: 2\na: 3\n"), 'line 3, column 1: key "a" stands twice in one mapping')
        self.assertEqual(self.refused('{"a": {"b": 1, "b": 2}}'), 'key "b" stands twice in one mapping')

    def test_keysThatAreNoText(self) -> None:
        for text in ("5: a", "true: a", "null: a", "[a]: b", "{a: b}: c", "? [x]\n: y"):
            self.assertIn("a key must be text", self.refused(text))

    def test_numbersThatCannotBeUsed(self) -> None:
        for text in ("a: .nan", "a: -.inf", "a: 1e999", "a: " + "9" * 5000, '{"a": NaN}', '{"a": -Infinity}'):
            self.refused(text)

    def test_bounds(self) -> None:
        self.assertIn("aliases stand for more", self.refused(LAUGHS))
        self.assertIn("nested deeper", self.refused("".join(f"{' ' * depth}-\n" for depth in range(80))))
        self.assertIn("nested", self.refused("[" * 2000))
        self.assertIn("nested", self.refused("[" * 2000 + "]" * 2000))
        self.assertIn("larger than", self.refused("#" * (16 * 1024 * 1024 + 1)))
        # Long text that starts like JSON is not tried as YAML.
        self.assertIn("line 1, column 1048", self.refused("[" + " " * 1048576 + "x]"))

    def test_aliasesOfNothingAndOfThemselves(self) -> None:
        for text in ("a: *x", "&a [*a]", "a: &x {b: *x}"):
            self.assertIn("no complete value is anchored", self.refused(text))

    def test_severalDocuments(self) -> None:
        self.assertIn("a second document", self.refused("--- a\n--- b\n"))

    def test_bytesThatAreNoText(self) -> None:
        self.assertIn("not UTF-8: byte 1 is 0xff", self.refused(b"a\xff"))
        self.refused("a: \x00")
        self.refused("a: \x07")

    @forAll(st.text(max_size=60) | st.text("{}[]:,-&*!|>'\"%@#? \n\tab01", max_size=40))
    def test_anyTextIsReadOrRefused(self, text: str) -> None:
        try:
            parseText(text)
        except Invalid as error:
            self.assertTrue(error.problems)


class ExportTests(SynchronousTestCase):
    @forAll(plains)
    def test_readBackAsItWas(self, plain: Any) -> None:
        self.assertEqual(parseText(exportYaml(plain)), plain)

    def test_textsThatLookLikeSomethingElse(self) -> None:
        texts = [
            "off",
            "true",
            "null",
            "~",
            "",
            "0640",
            "1e3",
            "2027-01-31",
            "- a",
            "a: b",
            "#",
            " x ",
            "x\ny\n",
            "\n",
            "*a",
            "\u2028\x85",
        ]
        self.assertEqual(parseText(exportYaml(texts)), texts)

    def test_readable(self) -> None:
        plain = {"users": [{"name": "alice", "groups": ["a", "b"]}], "chain": "---BEGIN---\nAA\n", "word": "off"}
        text = "users:\n  - name: alice\n    groups:\n      - a\n      - b\nchain: |\n  ---BEGIN---\n  AA\nword: off\n"
        self.assertEqual(exportYaml(plain), text)
