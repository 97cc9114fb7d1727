"""Values to bytes and back, also across versions."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.changes import Batch, Change, MergeSettings, Promote, Put, Rehash, Remove, Unknown, apply
from cftpcluster.config.codec import canonical, decodeChange, decodeDocument, encodeChange, encodeDocument, parse
from cftpcluster.config.document import Document, Group, HostKey, Mount, Secret, User
from cftpcluster.errors import Invalid, NewerFormat

from .strategies import changes, documents, forAll, plains


class RoundTripTests(SynchronousTestCase):
    @forAll(changes)
    def test_changes(self, change: Change) -> None:
        data = encodeChange(change)
        self.assertEqual(decodeChange(data), change)
        self.assertEqual(encodeChange(decodeChange(data)), data)

    @forAll(documents)
    def test_documents(self, document: Document) -> None:
        data = encodeDocument(document)
        self.assertEqual(decodeDocument(data), document)
        self.assertEqual(encodeDocument(decodeDocument(data)), data)

    @forAll(documents, changes)
    def test_encodedChangeDoesWhatTheChangeDoes(self, document: Document, change: Change) -> None:
        self.assertEqual(apply(document, decodeChange(encodeChange(change))), apply(document, change))

    @forAll(plains)
    def test_canonical(self, plain: Any) -> None:
        self.assertEqual(parse(canonical(plain)), plain)
        self.assertNotIn(b"\n", canonical(plain))

    def test_rehash(self) -> None:
        change = Rehash("alice", "old", "new")
        self.assertEqual(decodeChange(encodeChange(change)), change)
        unknown = decodeChange(b'{"format":1,"kind":"rehash","name":"alice","before":5,"after":"x"}')
        self.assertIsInstance(unknown, Unknown)

    def test_nestedBatches(self) -> None:
        batch = Batch((Batch((Remove("users", "a"), Batch(()))), Promote(1, "n", "x")))
        self.assertEqual(decodeChange(encodeChange(batch)), batch)

    def test_emptyBatch(self) -> None:
        self.assertEqual(decodeChange(encodeChange(Batch(()))), Batch(()))


class CanonicalTests(SynchronousTestCase):
    def test_orderOfInsertionDoesNotMatter(self) -> None:
        names = [f"user{number}" for number in range(50)]
        made = [
            encodeDocument(apply(Document(), Batch(tuple(Put("users", User(name=name)) for name in order))))
            for order in (names, names[::-1])
        ]
        self.assertEqual(*made)

    def test_oneLineForEachObject(self) -> None:
        puts = (Put("users", User(name="b")), Put("users", User(name="a")), Put("groups", Group(name="g")))
        _, *lines = map(json.loads, encodeDocument(apply(Document(), Batch(puts))).split(b"\n"))
        found = [(section, value["name"]) for section, value in lines]
        self.assertEqual(found, [("groups", "g"), ("users", "a"), ("users", "b")])

    def test_secretsAreBase64(self) -> None:
        data = encodeChange(Put("hostKeys", HostKey(name="k", key=Secret(b"\x00\xff"))))
        self.assertIn(b'"key":{"sealed":"AP8="}', data)

    def test_defaultsAreLeftOut(self) -> None:
        self.assertEqual(
            encodeChange(Put("users", User(name="alice"))),
            b'{"format":1,"kind":"put","section":"users","value":{"name":"alice"}}',
        )

    def test_loneSurrogatesDoNotBreakIt(self) -> None:
        change = MergeSettings({"later": "\ud800"})
        self.assertEqual(decodeChange(encodeChange(change)), change)


class NewerVersionTests(SynchronousTestCase):
    """What a newer version wrote is kept by this one."""

    def decoded(self, plain: dict[str, Any]) -> Change:
        return decodeChange(canonical({"format": 1, **plain}))

    def test_higherFormatIsRefused(self) -> None:
        error = self.assertRaises(NewerFormat, decodeChange, b'{"format":2,"kind":"put"}')
        self.assertIn("format 2", str(error))
        self.assertRaises(NewerFormat, decodeDocument, encodeDocument(Document()).replace(b'"format":1', b'"format":2'))

    def test_unknownKeysOfObjectsAreKept(self) -> None:
        value = {"name": "alice", "laterKey": {"a": [1]}, "mounts": [{"path": "/", "backend": "b", "laterKey": 2}]}
        value["quota"] = {"bytes": 5, "laterKey": 3}
        change = self.decoded({"kind": "put", "section": "users", "value": value})
        assert isinstance(change, Put) and isinstance(change.value, User)
        self.assertEqual(change.value.extra, {"laterKey": {"a": [1]}})
        self.assertEqual(change.value.mounts[0].extra, {"laterKey": 2})
        self.assertEqual(json.loads(encodeChange(change))["value"], value)

    def test_whatCannotBeUnderstoodIsUnknown(self) -> None:
        for plain in (
            {"kind": "rename", "from": "a"},
            {"kind": 5},
            {},
            {"kind": "put", "section": "gadgets", "value": {"name": "x"}},
            {"kind": "put", "section": "users", "value": {"name": "x"}, "onlyIf": "y"},
            {"kind": "put", "section": "users", "value": {"name": "x", "protocols": ["gopher"]}},
            {"kind": "put", "section": "users", "value": {"name": 5}},
            {"kind": "put", "section": "users", "value": 5},
            {"kind": "put"},
            {"kind": "remove", "section": "gadgets", "name": "x"},
            {"kind": "remove", "section": "users", "name": ["x"]},
            {"kind": "mergeSettings", "values": {"drainSeconds": {"ftp": 5}}},
            {"kind": "mergeSettings", "values": 5},
            {"kind": "promote", "epoch": "high", "name": "x", "by": "y"},
            {"kind": "batch", "atOnce": True, "changes": []},
        ):
            change = self.decoded(plain)
            assert isinstance(change, Unknown), plain
            self.assertEqual(change.raw, plain)
            self.assertEqual(decodeChange(encodeChange(change)), change)

    def test_unknownPartOfABatch(self) -> None:
        lines = [{"format": 1, "kind": "batch"}, {"kind": "later"}, {"kind": "remove", "section": "users", "name": "x"}]
        change = decodeChange(b"\n".join(map(canonical, lines)))
        self.assertEqual(change, Batch((Unknown({"kind": "later"}), Remove("users", "x"))))

    def test_documentKeepsWhatItDoesNotKnow(self) -> None:
        document = apply(Document(), Unknown({"kind": "later", "n": 1}))
        document = apply(document, MergeSettings({"laterSetting": 1}))
        first = json.loads(encodeDocument(document))
        data = canonical({**first, "laterPart": [1]})
        decoded = decodeDocument(data)
        self.assertEqual(decoded.extra, {"laterPart": [1]})
        self.assertEqual(decoded.unknown, document.unknown)
        self.assertEqual(encodeDocument(decoded), data)

    def test_unreadableObjectOfADocumentIsKept(self) -> None:
        first = encodeDocument(evolve(Document(), revision=7))
        lines = [["gadgets", {"name": "g", "revision": 3}], ["users", {"name": "u", "revision": 4, "enabled": "maybe"}]]
        decoded = decodeDocument(b"\n".join([first, *map(canonical, lines)]))
        self.assertEqual(
            [(one.revision, one.raw["section"]) for one in decoded.unknown], [(3, "gadgets"), (4, "users")]
        )
        self.assertEqual(decodeDocument(encodeDocument(decoded)), decoded)

    def test_objectIsPutInPlaceByTheVersionThatCanReadIt(self) -> None:
        raw = {"kind": "put", "section": "users", "value": {"name": "u", "mounts": [{"path": "/", "backend": "b"}]}}
        older = apply(apply(Document(), Unknown(raw)), Put("groups", Group(name="g")))
        newer = decodeDocument(encodeDocument(older))
        self.assertEqual((newer.revision, newer.unknown), (2, ()))
        wanted = User(name="u", revision=1, credentialsRevision=1, mounts=(Mount(path="/", backend="b"),))
        self.assertEqual(newer.users["u"], wanted)


class GarbageTests(SynchronousTestCase):
    """Bytes from a damaged disk or a hostile peer."""

    garbage = (b"", b"null", b"[]", b"{}", b"{", b'{"format":"1"}', b'{"format":true}', b"\xff", b"[" * 10**5)

    def test_garbage(self) -> None:
        for data in (*self.garbage, b'{"format":NaN}'):
            for decode in (decodeChange, decodeDocument):
                self.assertRaises(Invalid, decode, data)

    def test_documentOfWrongShape(self) -> None:
        good = json.loads(encodeDocument(Document()))
        for wrong in ({"revision": "x"}, {"settings": 5}, {"promoted": []}, {"unknown": 5}, {"lastNodeNumber": None}):
            self.assertRaises(Invalid, decodeDocument, canonical({**good, **wrong}))
        for line in (b"5", b'["users"]', b"[]", b'["users",5]', b'["users",{"name":5}]'):
            self.assertRaises(Invalid, decodeDocument, canonical(good) + b"\n" + line)

    @forAll(st.binary(max_size=60))
    def test_anyBytes(self, data: bytes) -> None:
        for decode in (decodeChange, decodeDocument):
            self.assertRaises((Invalid, NewerFormat), decode, data)

    @forAll(documents, st.data())
    def test_alteredDocumentsAreReadOrRefused(self, document: Document, data: st.DataObject) -> None:
        encoded = bytearray(encodeDocument(document))
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
        try:
            decoded = decodeDocument(bytes(encoded))
        except (Invalid, NewerFormat):
            return
        self.assertIsInstance(decoded, Document)
