"""Tests of cutting commands into words: as a POSIX shell does, or not at all."""

from __future__ import annotations

import shlex

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ssh.words import LONGEST_COMMAND, NotSimple, Word, split


def texts(command: bytes) -> list[bytes]:
    return [word.text for word in split(command)]


class SplitTests(SynchronousTestCase):
    def test_asClientsQuote(self) -> None:
        for command, expected in {
            b"scp -t -- my\\ file": [b"scp", b"-t", b"--", b"my file"],  # typed by a user of OpenSSH's scp
            b"scp -pt '/a'\"'\"'b'\\!'c'": [b"scp", b"-pt", b"/a'b!c"],  # libssh2
            b"scp -t 'it'\\''s'": [b"scp", b"-t", b"it's"],  # paramiko's scp
            b'scp -f "a \\"b\\" \\$c \\d"': [b"scp", b"-f", b'a "b" $c \\d'],
            b"md5sum /a\\ b\\(1\\)\\;'\n'c": [b"md5sum", b"/a b(1);\nc"],  # rclone
            b"  echo \t '' \n": [b"echo", b""],
            b"md5sum \\ a\\ ": [b"md5sum", b" a "],
            b"": [],
            "md5sum é\\é".encode(): [b"md5sum", "éé".encode()],
            b"md5sum \xff'\xfe'": [b"md5sum", b"\xff\xfe"],
            b"echo a#b {a,b} x=~ %y !": [b"echo", b"a#b", b"{a,b}", b"x=~", b"%y", b"!"],
            b'echo a\\\nb "c\\\nd"': [b"echo", b"ab", b"cd"],
        }.items():
            self.assertEqual(texts(command), expected, command)

    def test_homeIsTheRoot(self) -> None:
        for command, expected in {
            b"~": b"/",
            b"~/a": b"/a",
            b"~/": b"/",
            b"~bob": b"~bob",
            b"'~'": b"~",
            b"\\~/a": b"~/a",
            b"a~": b"a~",
            b"~'/a'": b"~/a",
            b"''~": b"~",
        }.items():
            self.assertEqual(texts(command), [expected], command)

    def test_whatOnlyAShellCouldRunIsRefused(self) -> None:
        for command in (
            b"echo a; id",
            b"id|cat",
            b"a&",
            b"a && b",
            b"a < b",
            b"a > b",
            b"(a)",
            b"echo `id`",
            b"echo $(id)",
            b"echo $HOME",
            b'echo "$HOME"',
            b'echo "`id`"',
            b"echo a\nid",
            b"echo a # b",
            b"# b",
            b"echo 'a",
            b'echo "a',
            b"echo a\\",
            b"echo a\0b",
            b"x" * (LONGEST_COMMAND + 1),
        ):
            self.assertRaises(NotSimple, split, command)

    def test_patternsAreToldFromWhatIsQuoted(self) -> None:
        self.assertEqual(split(b"*.txt"), [Word(b"*.txt", b"*.txt")])
        self.assertEqual(split(b"'*'.txt"), [Word(b"*.txt")])
        self.assertEqual(split(b'\\*"[a]"?'), [Word(b"*[a]?", b"\\*\\[a\\]?")])
        self.assertEqual(split(b"~/[ab]*"), [Word(b"/[ab]*", b"/[ab]*")])

    @given(st.lists(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=("Cs",)))))
    def test_whatIsQuotedComesOutAsItWas(self, words: list[str]) -> None:
        command = shlex.join(words).encode()
        if len(command) <= LONGEST_COMMAND:
            self.assertEqual(split(command), [Word(word.encode()) for word in words])

    @given(st.binary(max_size=40))
    def test_anythingIsCutOrRefused(self, command: bytes) -> None:
        try:
            words = split(command)
        except NotSimple:
            return
        for word in words:
            self.assertNotIn(b"\0", word.text)

    def test_longCommandsTakeNoTime(self) -> None:
        for piece in (b"a ", b"\\a", b"'a'", b"*", b'"a"', b'"\\'):
            command = piece * (LONGEST_COMMAND // len(piece))
            try:
                self.assertTrue(split(command))
            except NotSimple:
                self.assertEqual(piece, b'"\\')
