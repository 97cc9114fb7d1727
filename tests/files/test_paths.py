"""Tests of :mod:`cftpcluster.files.paths`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.errors import InvalidName
from cftpcluster.files import paths

NAMES = (
    st.binary(min_size=1, max_size=40)
    .filter(lambda raw: b"/" not in raw and b"\0" not in raw and raw not in {b".", b".."})
    .map(paths.decode)
    .filter(lambda name: not paths.isReserved(name))
)
PATHS = st.lists(NAMES, max_size=6).map(tuple)
PIECES = st.lists(st.one_of(NAMES, st.sampled_from(["..", ".", "", "../..", "\\..", "%2e%2e"])), max_size=12)


class ParseTests(SynchronousTestCase):
    @given(PATHS, PATHS)
    def test_renderedPathParsesToItself(self, path, base):
        self.assertEqual(paths.parse(paths.render(path), base), path)
        self.assertEqual(paths.parse(paths.encode(paths.render(path)), base), path)

    @given(PIECES, PATHS)
    def test_whatComesOutNeverClimbs(self, pieces, base):
        for name in paths.parse("/".join(pieces), base):
            self.assertNotIn(name, {"", ".", ".."})
            self.assertNotIn("/", name)

    @given(st.one_of(st.text(max_size=60), st.binary(max_size=60)))
    def test_anythingIsAPathOrAnInvalidName(self, text):
        try:
            path = paths.parse(text)
        except InvalidName:
            return
        for name in path:
            self.assertEqual(paths.checkName(name), name)

    def test_dotsAreResolvedAgainstTheBase(self):
        self.assertEqual(paths.parse("../x/./y//z", ("a", "b")), ("a", "x", "y", "z"))
        self.assertEqual(paths.parse("", ("a",)), ("a",))
        self.assertEqual(paths.parse("/", ("a",)), ())

    def test_parentOfTheRootIsTheRoot(self):
        self.assertEqual(paths.parse("/../../etc/passwd"), ("etc", "passwd"))
        self.assertEqual(paths.parse("../..", ("a",)), ())

    def test_bytesHaveOneName(self):
        self.assertEqual(paths.parse(b"caf\xc3\xa9"), ("café",))
        self.assertEqual(paths.parse("caf\udcc3\udca9"), ("café",))
        self.assertEqual(paths.parse(b"caf\xe9"), ("caf\udce9",))

    def test_refusesNames(self):
        for text in (b"a\0b", "a\0", "\ud800", "x" * 256, "é" * 128, ".cftpcluster-part-x", ".cftpcluster-storage"):
            self.assertRaises(InvalidName, paths.parse, text)

    def test_reservedNamesAreRefusedInAnyCase(self):
        for text in (".CFTPcluster-Part-r-a", "a/.cftpclu\u017fter-storage/b", ".cftpcluster-"):
            self.assertRaises(InvalidName, paths.parse, text)
        self.assertEqual(paths.parse(".cftpcluster"), (".cftpcluster",))

    def test_longestNamesAndPathsAreTaken(self):
        self.assertEqual(paths.parse("x" * 255), ("x" * 255,))
        self.assertEqual(len(paths.parse("/".join(["x" * 255] * 15))), 15)

    def test_refusesPathsThatNoDiskTakes(self):
        deep = ("x" * 255,) * 15
        self.assertRaises(InvalidName, paths.parse, "y" * 255, deep)
        self.assertRaises(InvalidName, paths.parse, "/" * 4096)


class NameTests(SynchronousTestCase):
    def test_controlsAreSeen(self):
        for name in ("a\nb", "a\rb", "\x1b[31m", "\x7f", "\x85"):
            self.assertTrue(paths.hasControls(name), name)
        for name in ("a b", "é", "\udce9", "\u202e"):
            self.assertFalse(paths.hasControls(name), name)

    def test_aNameIsNotAPath(self):
        for name in ("", ".", "..", "a/b", "a\0"):
            self.assertRaises(InvalidName, paths.checkName, name)


class RelativeTests(SynchronousTestCase):
    @given(PATHS, PATHS)
    def test_leadsBackToTheTarget(self, target, folder):
        self.assertEqual(paths.parse(paths.relative(target, folder), folder), target)

    @given(PATHS, PATHS, PATHS)
    def test_movedPathsLieInTheNewPlace(self, old, rest, new):
        self.assertEqual(paths.moved(old + rest, old, new), new + rest)
        self.assertTrue(paths.isWithin(old + rest, old))

    def test_siblingWithTheSamePrefixIsNotWithin(self):
        self.assertFalse(paths.isWithin(("root-evil", "x"), ("root",)))
