"""Tests of names in place of patterns."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ssh.patterns import TooManyNames, expanded, matcher
from cftpcluster.servers.ssh.words import split
from cftpcluster.vocabulary import Entry, Kind, Stat, VirtualPath

from .programs import Shelf


class MatcherTests(SynchronousTestCase):
    def test_names(self) -> None:
        for pattern, fits, not_ in (
            ("*.txt", ["a.txt", "é.txt"], [".txt", "a.txt.gz", "a.TXT", "atxt"]),
            (".*", [".a"], ["a"]),
            ("a?c", ["abc"], ["ac", "abbc"]),
            ("[a-c]x", ["ax", "cx"], ["dx", "-x"]),
            ("[!a]x", ["bx"], ["ax"]),
            ("[^a]x", ["bx"], ["ax"]),
            ("\\*", ["*"], ["a"]),
            ("\\[a\\]", ["[a]"], ["a"]),
            ("a**b", ["ab", "axxb"], ["a"]),
            ("*\n*", ["a\nb"], ["ab"]),
            ("[", ["["], ["a"]),
        ):
            matches = matcher(pattern)
            self.assertEqual(([each for each in fits if not matches(each)], list(filter(matches, not_))), ([], []))

    def test_noPatternTakesLong(self) -> None:
        begun = time.process_time()
        for pattern in ("*a" * 100 + "b", "*" * 200 + "b", "[a]*" * 60 + "b", "?*" * 100 + "b"):
            self.assertFalse(matcher(pattern)("a" * 255))
        self.assertLess(time.process_time() - begun, 1)


class Endless:
    """A file system whose only folder has no end."""

    def list(self, path: VirtualPath) -> Deferred[Any]:
        return succeed(self)

    def next(self) -> Deferred[list[Entry]]:
        return succeed([Entry(str(number), Stat(Kind.file)) for number in range(500)])

    def close(self) -> None:
        pass


class ExpandedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.shelf = Shelf()
        for path in ("/a.txt", "/b.txt", "/.hidden.txt", "/d1/x.c", "/d1/y.c", "/d2/x.c", "/d2/sub/z", "/é[1]"):
            self.shelf.put(path)

    def expand(self, command: bytes) -> list[bytes]:
        found = Deferred.fromCoroutine(expanded(self.shelf.files, split(command), lambda: None))
        result: list[bytes] = self.successResultOf(found)
        return result

    def test_asAShellWould(self) -> None:
        for command, expected in {
            b"*.txt": [b"a.txt", b"b.txt"],
            b"/*.txt": [b"/a.txt", b"/b.txt"],
            b"'*.txt'": [b"*.txt"],
            b"*.none": [b"*.none"],
            b"d?/x.c": [b"d1/x.c", b"d2/x.c"],
            b"d*/*.c a.txt": [b"d1/x.c", b"d1/y.c", b"d2/x.c", b"a.txt"],
            b"d*/sub": [b"d2/sub"],
            b"./b*": [b"./b.txt"],
            b"d1/../b*": [b"d1/../b.txt"],
            b"~/b*": [b"/b.txt"],
            b".h*": [b".hidden.txt"],
            "é'['*": ["é[1]".encode()],
            "*/": [b"d1/", b"d2/"],
            "a.txt/*": [b"a.txt/*"],
        }.items():
            raw = command if isinstance(command, bytes) else command.encode()
            self.assertEqual(self.expand(raw), expected, raw)

    def test_tooManyNames(self) -> None:
        files: Any = Endless()
        found = Deferred.fromCoroutine(expanded(files, split(b"*"), lambda: None))
        self.failureResultOf(found, TooManyNames)

    def test_tooManyNamesOfSeveralPatterns(self) -> None:
        for number in range(110):
            self.shelf.put(f"/many/{number}")
        found = Deferred.fromCoroutine(expanded(self.shelf.files, split(b"many/* " * 100), lambda: None))
        self.failureResultOf(found, TooManyNames)

    def test_theSearchEndsWithItsReason(self) -> None:
        def gone() -> None:
            raise LookupError

        found = Deferred.fromCoroutine(expanded(self.shelf.files, split(b"*/*"), gone))
        self.failureResultOf(found, LookupError)
