"""Flipped bits in the files of a journal: each opening is refused, or finds what was written."""

from __future__ import annotations

import os
import random

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.errors import JournalDamaged, NewerFormat
from cftpcluster.journal._fold import judged
from cftpcluster.journal.sqlite import SQLiteStore
from cftpcluster.testing.journal import KINDS, putUser

FLIPS = 100
ENDINGS = ("", "-wal", "-head")


class BitFlipTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.random = random.Random(20261122)

    def folder(self) -> str:
        folder: str = self.mktemp()
        os.mkdir(folder)
        return os.path.join(folder, "journal.db")

    def append(self, store: SQLiteStore, *names: str) -> None:
        for name in names:
            entry, head = judged(putUser(name, f"request {name}"), store.head, KINDS)
            store.commit([entry], head)

    def written(self) -> tuple[SQLiteStore, str]:
        path = self.folder()
        store = SQLiteStore.open(path)
        self.append(store, *(f"early{number}" for number in range(30)))
        store.compact(15)
        self.append(store, *(f"late{number}" for number in range(5)))
        return store, path

    @staticmethod
    def state(store: SQLiteStore) -> object:
        return store.head, store.requests, store.since(15, 1000)

    @staticmethod
    def files(path: str) -> dict[str, bytes]:
        contents = {}
        for ending in ENDINGS:
            if os.path.exists(path + ending):
                with open(path + ending, "rb") as file:
                    contents[ending] = file.read()
        return contents

    def check(self, contents: dict[str, bytes], flipped: str, wanted: object) -> int:
        """Flip bits of one file, one at a time; the answer is how many openings were refused."""
        refused = 0
        for _ in range(FLIPS):
            position = self.random.randrange(8 * len(contents[flipped]))
            damaged = bytearray(contents[flipped])
            damaged[position // 8] ^= 1 << position % 8
            path = self.folder()
            for ending, content in {**contents, flipped: damaged}.items():
                with open(path + ending, "wb") as file:
                    file.write(content)
            try:
                store = SQLiteStore.open(path)
            except (JournalDamaged, NewerFormat) as error:
                self.assertIn(path, str(error))
                refused += 1
            else:
                self.assertEqual(self.state(store), wanted, f"bit {position} of {flipped!r}")
                store.close()
        return refused

    def test_closedJournal(self) -> None:
        store, path = self.written()
        store.close()
        store = SQLiteStore.open(path)
        wanted = self.state(store)
        store.close()
        contents = self.files(path)
        self.assertGreater(self.check(contents, "", wanted), FLIPS // 10)
        self.assertEqual(self.check(contents, "-head", wanted), 0)

    def test_journalOfAKilledProcess(self) -> None:
        store, path = self.written()
        wanted, contents = self.state(store), self.files(path)
        store.close()
        self.check(contents, "", wanted)
        self.assertEqual(self.check(contents, "-wal", wanted), FLIPS)
        self.assertEqual(self.check(contents, "-head", wanted), 0)
