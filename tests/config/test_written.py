"""Documents as administrators write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.changes import Batch, Change, MergeSettings, Put, Remove, Target, apply
from cftpcluster.config.document import (
    SECTIONS,
    Admin,
    Backend,
    Certificate,
    Document,
    Group,
    HostKey,
    Limits,
    Listener,
    Mount,
    Node,
    Quota,
    Role,
    Secret,
    User,
)
from cftpcluster.config.validation import located, problems
from cftpcluster.config.written import (
    SECTION_ORDER,
    Written,
    export,
    exportObject,
    exportYaml,
    mergePatched,
    parseText,
    pendingPasswords,
    pendingSecrets,
    putChange,
    readDocument,
    readObject,
    toChange,
)
from cftpcluster.errors import Invalid
from cftpcluster.vocabulary import Permission

from .strategies import documents, forAll

BASE = Batch(
    (
        Put("backends", Backend(name="files", kind="local", options={"root": "files"})),
        Put("groups", Group(name="partners")),
        Put("users", User(name="alice", passwordHash="hash of one", extra={"later": 1})),
        Put("admins", Admin(name="root", role=Role.full, passwordHash="hash of two")),
        Put("admins", Admin(name="zoe", role=Role.full)),
        Put("certificates", Certificate(name="default", chain="PEM", key=Secret(b"sealed PEM"))),
        Put("hostKeys", HostKey(name="ed25519", key=Secret(b"sealed key"))),
        Put("listeners", Listener(name="ftp", kind="ftp", port=2121, options={"tls": "off"})),
        Put("nodes", Node(name="node-a", address="192.0.2.1", fingerprint="ab" * 32)),
    )
)


def openSecret(secret: Secret) -> bytes:
    return secret.sealed.removeprefix(b"sealed ")


def resolved(written: Written, document: Document) -> Mapping[Target, Any]:
    """What hashing and sealing come to."""
    results: dict[Target, Any] = {}
    for password in pendingPasswords(written.objects, document):
        hashed = "hash of " + password.password.decode()
        results[password.target] = password.present if password.present == hashed else hashed
    for secret in pendingSecrets(written.objects, document):
        fits = secret.present is not None and openSecret(secret.present) == secret.secret
        results[secret.target] = secret.present if fits else Secret(b"sealed " + secret.secret)
    return results


class WrittenCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.document = apply(Document(), BASE)

    def change(self, plain: Any, prune: bool = False) -> tuple[Change, ...] | None:
        """The changes that make the document agree with ``plain``."""
        written = readDocument(plain)
        batch = toChange(written, self.document, resolved(written, self.document), prune)
        return None if batch is None else batch.changes

    def refused(self, call: Callable[..., Any], *arguments: Any) -> list[str]:
        return [str(problem) for problem in self.assertRaises(Invalid, call, *arguments).problems]

    def invalid(self, plain: Any) -> list[str]:
        return self.refused(readDocument, plain)


class ReadingTests(WrittenCase):
    def test_theExampleOfTheReference(self) -> None:
        text = """
        settings: {drainSeconds: 60}
        backends:
          - {name: share, kind: local, root: /mnt/share, shared: true, fsync: true, fileMode: "0640"}
        groups:
          - {name: friends, mounts: [{path: /inbox, backend: share, folder: in, permissions: [list, upload]}]}
        users:
          - name: bob
            password: "only on the way in"
            publicKeys: ["ssh-ed25519 AAAA"]
            enabled: true
            expires: 2027-01-31T00:00:00Z
            protocols: [ftp, sftp, https]
            allow: []
            groups: [friends]
        admins:
          - {name: admin, role: full, enabled: true}
        nodes:
          - {name: node-a, address: 192.0.2.1, listeners: {ftp: {port: 21, passivePorts: 50000-50199}}}
        """
        written = readDocument(parseText(text))
        self.assertEqual(written.settings, {"drainSeconds": 60})
        self.assertEqual(written.sections, {"backends", "groups", "users", "admins", "nodes"})
        values = {one.path: one.value for one in written.objects}
        options = {"root": "/mnt/share", "fsync": True, "fileMode": "0640"}
        self.assertEqual(values["backends[0]"], Backend(name="share", kind="local", shared=True, options=options))
        group = values["groups[0]"]
        assert isinstance(group, Group)
        self.assertEqual(group.mounts[0].permissions, {Permission.list, Permission.upload})
        self.assertEqual(written.objects[2].password, "only on the way in")

    def test_everythingWrongIsTold(self) -> None:
        plain = {
            "users": [
                {"nme": "x"},
                {"name": "a", "enabled": "yes"},
                {"name": "b"},
                {"name": "b"},
                5,
                {"name": "c", "revision": 5},
                {"name": "d", "mounts": [{"path": "/", "backend": "f", "mode": 1}]},
            ],
            "usres": [],
            "settings": {"drainSecond": 5, "partialSeconds": "x"},
            "keys": [],
            "groups": None,
            "listeners": [{"name": "x", "kind": "ftp", "prt": 5}],
            "hostKeys": [{"name": "x", "key": "y"}],
        }
        self.assertEqual(
            self.invalid(plain),
            [
                'unknown key "usres"; did you mean "users"?',
                'unknown key "keys"',
                'settings: unknown key "drainSecond"; did you mean "drainSeconds"?',
                'settings.partialSeconds: expected a whole number, got "x"',
                "groups: expected a list, got null",
                'users[0]: unknown key "nme"; did you mean "name"?',
                "users[0].name: is required",
                'users[1].enabled: expected true or false, got "yes"',
                'users[3].name: "b" is written twice, first as users[2]',
                "users[4]: expected a mapping, got 5",
                'users[5]: unknown key "revision"',
                'users[6].mounts[0]: unknown key "mode"',
                "listeners[0].port: is required",
                'hostKeys[0].key: expected {secret: "..."} with the private key in PEM',
            ],
        )

    def test_documentThatIsNone(self) -> None:
        for plain in (None, [], "x", 5):
            self.assertEqual(len(self.invalid(plain)), 1)
        self.assertEqual(self.invalid({"settings": []}), ["settings: expected a mapping, got a list"])

    def test_whatTheClusterKeepsIsNotWritten(self) -> None:
        for section, key in (
            ("users", "revision"),
            ("users", "credentialsRevision"),
            ("users", "extra"),
            ("admins", "credentialsRevision"),
            ("nodes", "number"),
            ("nodes", "fingerprint"),
            ("groups", "extra"),
        ):
            self.assertIn(f'{section}[0]: unknown key "{key}"', self.invalid({section: [{"name": "x", key: 5}]})[0])

    def test_passwords(self) -> None:
        for wrong, message in (
            (5, "expected text"),
            (None, "expected text"),
            ("\ud800", "expected text"),
            ("", "must have 1 to 1024 bytes"),
            ("x" * 1025, "must have 1 to 1024 bytes"),
        ):
            self.assertEqual(
                self.invalid({"users": [{"name": "a", "password": wrong}]}), [f"users[0].password: {message}"]
            )
        both = {"name": "a", "password": "x", "passwordHash": "y"}
        self.assertEqual(self.invalid({"admins": [both]}), ["admins[0].password: give either password or passwordHash"])

    def test_secretsStayOutOfReprs(self) -> None:
        written = readDocument(
            {"users": [{"name": "a", "password": "hunter2"}], "hostKeys": [{"name": "k", "key": {"secret": "hunter2"}}]}
        )
        pending = (pendingPasswords(written.objects, self.document), pendingSecrets(written.objects, self.document))
        self.assertNotIn("hunter2", repr((written, pending)))

    def test_optionsThatNoKindCanHave(self) -> None:
        deep: Any = 1
        for _ in range(30):
            deep = [deep]
        for value, message in (
            (deep, "nested too deeply"),
            ("\ud800", "valid Unicode"),
            ([float("inf")], "expected a number"),
        ):
            (problem,) = self.invalid({"backends": [{"name": "b", "kind": "local", "option": value}]})
            self.assertIn(message, problem)
        (problem,) = self.invalid({"nodes": [{"name": "n", "address": "x", "listeners": {"ftp": {"x": "\ud800"}}}]})
        self.assertIn("nodes[0].listeners.ftp.x", problem)

    def test_oneObject(self) -> None:
        one = readObject("users", {"enabled": False}, name="alice")
        self.assertEqual((one.target, one.value), (("users", "alice"), User(name="alice", enabled=False)))
        plain = {"name": "alice"}
        readObject("users", plain, name="alice")
        self.assertEqual(plain, {"name": "alice"})
        self.assertEqual(
            self.refused(readObject, "users", {"name": "bob"}, "", "alice"), ['name: expected "alice", got "bob"']
        )
        self.assertEqual(self.refused(readObject, "users", ["x"]), ["expected a mapping, got a list"])
        self.assertEqual(self.refused(readObject, "users", {}), ["name: is required"])

    def test_mergePatch(self) -> None:
        existing = {"a": 1, "b": {"c": 2, "d": 3}, "e": [1]}
        patched = mergePatched(existing, {"a": None, "b": {"c": None, "x": 9}, "e": [2], "f": {"g": None}, "z": None})
        self.assertEqual(patched, {"b": {"d": 3, "x": 9}, "e": [2], "f": {}})
        self.assertEqual(existing, {"a": 1, "b": {"c": 2, "d": 3}, "e": [1]})
        self.assertEqual(mergePatched({"a": 1}, 5), 5)


class ChangeTests(WrittenCase):
    def test_whatIsSoAlreadyIsNoChange(self) -> None:
        self.assertIsNone(self.change({}))
        self.assertIsNone(self.change({"users": [{"name": "alice"}], "settings": {"drainSeconds": 30}}))
        self.assertIsNone(self.change({"users": [{"name": "alice", "password": "one"}]}))
        self.assertIsNone(self.change({"users": [{"name": "alice", "passwordHash": "hash of one"}]}))
        self.assertIsNone(self.change({"hostKeys": [{"name": "ed25519", "key": {"secret": "key"}}]}))
        self.assertIsNone(self.change({"certificates": [{"name": "default", "chain": "PEM"}]}))
        self.assertIsNone(self.change({"nodes": [{"name": "node-a", "address": "192.0.2.1"}]}))

    def test_namedObjectIsReplacedWhole(self) -> None:
        self.document = apply(self.document, Put("users", User(name="alice", passwordHash="h", groups=("partners",))))
        (put,) = self.change({"users": [{"name": "alice", "enabled": False}]}) or ()
        assert isinstance(put, Put) and isinstance(put.value, User)
        self.assertEqual((put.value.groups, put.value.enabled, put.value.passwordHash), ((), False, "h"))

    def test_settingsMergeByKey(self) -> None:
        self.document = apply(self.document, MergeSettings({"partialSeconds": 9}))
        change = self.change({"settings": {"drainSeconds": 5, "historyRevisions": 10000}})
        self.assertEqual(change, (MergeSettings({"drainSeconds": 5}),))
        self.assertEqual(
            self.change({"settings": {"partialSeconds": None}}), (MergeSettings({"partialSeconds": 86400}),)
        )

    def test_newPassword(self) -> None:
        (put,) = self.change({"users": [{"name": "alice", "password": "three"}]}) or ()
        assert isinstance(put, Put) and isinstance(put.value, User)
        self.assertEqual((put.value.passwordHash, put.value.extra), ("hash of three", {"later": 1}))

    def test_emptyHashTakesThePasswordAway(self) -> None:
        (put,) = self.change({"users": [{"name": "alice", "passwordHash": ""}]}) or ()
        assert isinstance(put, Put) and isinstance(put.value, User)
        self.assertEqual(put.value.passwordHash, "")

    def test_newKeyMaterial(self) -> None:
        (put,) = self.change({"hostKeys": [{"name": "rsa", "key": {"secret": "new"}}]}) or ()
        self.assertEqual(put, Put("hostKeys", HostKey(name="rsa", key=Secret(b"sealed new"))))
        (put,) = self.change({"certificates": [{"name": "default", "chain": "PEM2"}]}) or ()
        assert isinstance(put, Put) and isinstance(put.value, Certificate)
        self.assertEqual((put.value.chain, put.value.key), ("PEM2", Secret(b"sealed PEM")))

    def test_whatIsMissingForANewObject(self) -> None:
        plain = {
            "hostKeys": [{"name": "rsa"}],
            "certificates": [{"name": "c", "chain": "x"}],
            "nodes": [{"name": "n", "address": "x"}],
        }
        self.assertEqual(
            self.refused(self.change, plain),
            [
                "certificates[0].key: is required",
                "hostKeys[0].key: is required",
                'nodes[0]: no node named "n"; a node joins with a token',
            ],
        )

    def test_nodeKeepsWhatTheClusterGaveIt(self) -> None:
        (put,) = self.change({"nodes": [{"name": "node-a", "address": "192.0.2.9"}]}) or ()
        node = apply(self.document, put).nodes["node-a"]
        self.assertEqual((node.address, node.number, node.fingerprint), ("192.0.2.9", 1, "ab" * 32))

    def test_whatANewerVersionWroteIntoAMountStays(self) -> None:
        mounts = (
            Mount(path="/", backend="files", extra={"readOnly": True}),
            Mount(path="/x", backend="files", extra={"y": 1}),
        )
        self.document = apply(self.document, Put("users", User(name="alice", mounts=mounts)))
        plain = [{"path": "/", "backend": "files", "folder": "new"}, {"path": "/z", "backend": "files"}]
        (put,) = self.change({"users": [{"name": "alice", "mounts": plain}]}) or ()
        assert isinstance(put, Put) and isinstance(put.value, User)
        self.assertEqual([mount.extra for mount in put.value.mounts], [{"readOnly": True}, {}])

    def test_whatANewerVersionWroteIntoAQuotaStays(self) -> None:
        alice = User(name="alice", quota=Quota(bytes=5, extra={"folders": 3}), limits=Limits(extra={"later": 1}))
        self.document = apply(self.document, Put("users", alice))
        (put,) = self.change({"users": [{"name": "alice", "quota": {"files": 7}}]}) or ()
        assert isinstance(put, Put) and isinstance(put.value, User)
        self.assertEqual(put.value.quota, Quota(files=7, extra={"folders": 3}))
        self.assertEqual(put.value.limits, Limits(extra={"later": 1}))

    def test_quotaAndLimits(self) -> None:
        numbers = {"quota": {"bytes": 10, "files": 2}, "limits": {"uploadBytesPerSecond": 3}}
        written = {"name": "alice", **numbers}
        (put,) = self.change({"users": [written]}) or ()
        assert isinstance(put, Put) and isinstance(put.value, User)
        self.assertEqual(put.value.quota, Quota(bytes=10, files=2))
        self.assertEqual(put.value.limits, Limits(uploadBytesPerSecond=3))
        plain = exportObject(put.value)
        self.assertEqual({key: plain[key] for key in numbers}, numbers)
        shown = exportObject(User(name="bob", quota=Quota(extra={"later": 1})), defaults=True)
        self.assertEqual(shown["quota"], {"bytes": 0, "files": 0})
        self.assertEqual(
            self.invalid({"users": [{"name": "alice", "quota": {"byte": 1, "files": "many"}}]}),
            [
                'users[0].quota.files: expected a whole number, got "many"',
                'users[0].quota: unknown key "byte"; did you mean "bytes"?',
            ],
        )

    def test_problemsAreToldWhereTheyWereWritten(self) -> None:
        plain = {"users": [{"name": "alice"}, {"name": "bob", "mounts": [{"path": "/", "backend": "fils"}]}]}
        written = readDocument(plain)
        batch = toChange(written, self.document, {})
        assert batch is not None
        found = problems(apply(self.document, batch), batch, {})
        self.assertEqual(
            [str(problem) for problem in located(found, written.places)],
            ['users[1].mounts[0].backend: no backend named "fils"; did you mean "files"?'],
        )

    def test_onePut(self) -> None:
        self.assertIsNone(putChange(readObject("groups", {"name": "partners"}), self.document, {}))
        put = putChange(readObject("groups", {"name": "others"}), self.document, {})
        self.assertEqual(put, Put("groups", Group(name="others")))
        self.assertEqual(
            self.refused(putChange, readObject("hostKeys", {"name": "x"}), self.document, {}), ["key: is required"]
        )


class PruneTests(WrittenCase):
    def removed(self, plain: Any) -> list[Target]:
        changes = self.change(plain, prune=True) or ()
        return [(one.section, one.name) for one in changes if isinstance(one, Remove)]

    def test_onlyInTheSectionsPresent(self) -> None:
        self.assertEqual(self.removed({}), [])
        self.assertEqual(self.removed({"settings": {"drainSeconds": 1}}), [])
        self.assertEqual(self.removed({"users": []}), [("users", "alice")])
        self.assertEqual(
            self.removed({"users": [{"name": "bob"}], "groups": [{"name": "partners"}]}), [("users", "alice")]
        )

    def test_nothingIsRemovedUnasked(self) -> None:
        self.assertIsNone(self.change({"users": [], "groups": []}))

    def test_nodesCertificatesAndHostKeysStay(self) -> None:
        self.assertEqual(self.removed({"nodes": [], "certificates": [], "hostKeys": []}), [])

    def test_oneFullAdministratorStays(self) -> None:
        self.assertEqual(self.removed({"admins": []}), [("admins", "zoe")])
        self.assertEqual(self.removed({"admins": [{"name": "zoe", "role": "auditor"}]}), [])
        self.assertEqual(
            self.removed({"admins": [{"name": "new", "role": "full", "enabled": False}]}), [("admins", "zoe")]
        )
        everyone = [("admins", "root"), ("admins", "zoe")]
        self.assertEqual(self.removed({"admins": [{"name": "new", "role": "full"}]}), everyone)


class ExportTests(WrittenCase):
    def agrees(self, plain: Any) -> None:
        written = readDocument(plain)
        self.assertIsNone(toChange(written, self.document, resolved(written, self.document), prune=True))

    def test_applyingAnExportChangesNothing(self) -> None:
        for opener in (None, openSecret):
            for defaults in (False, True):
                self.agrees(export(self.document, opener, defaults))
                self.agrees(parseText(exportYaml(export(self.document, opener, defaults))))

    @forAll(documents)
    def test_applyingAnExportOfAnyDocumentChangesNothing(self, document: Document) -> None:
        written = readDocument(export(document))
        self.assertIsNone(toChange(written, document, {}, prune=True))

    def test_secretsOnlyOnDemand(self) -> None:
        text = exportYaml(export(self.document))
        for word in ("hash of", "sealed", "key:"):
            self.assertNotIn(word, text)
        plain = export(self.document, openSecret)
        self.assertEqual(plain["users"][0]["passwordHash"], "hash of one")
        self.assertEqual(plain["hostKeys"], [{"name": "ed25519", "key": {"secret": "key"}}])

    def test_sectionsStandInTheOrderOfTheReference(self) -> None:
        self.assertEqual(list(export(self.document)), ["settings", *SECTION_ORDER])
        self.assertEqual(set(SECTION_ORDER), {name for name, section in SECTIONS.items() if section.written})

    def test_objectsAreReadable(self) -> None:
        self.assertEqual(
            exportObject(self.document.listeners["ftp"]), {"name": "ftp", "kind": "ftp", "port": 2121, "tls": "off"}
        )
        self.assertEqual(exportObject(User(name="bob")), {"name": "bob", "enabled": True})
        mount = Mount(path="/", backend="files", permissions=frozenset([Permission.upload, Permission.list]))
        self.assertEqual(
            exportObject(User(name="bob", mounts=(mount,), extra={"later": 1}))["mounts"],
            [{"path": "/", "backend": "files", "permissions": ["list", "upload"]}],
        )

    def test_everythingOnDemand(self) -> None:
        plain = exportObject(User(name="bob"), defaults=True)
        self.assertEqual(plain["protocols"], ["ftp", "sftp", "https"])
        self.assertEqual((plain["expires"], plain["groups"]), (None, []))
        self.assertNotIn("revision", plain)

    def test_patchedExportIsWhatApplyTakes(self) -> None:
        self.document = apply(self.document, Put("listeners", evolve(self.document.listeners["ftp"], port=21)))
        patched = mergePatched(exportObject(self.document.listeners["ftp"]), {"tls": "required", "port": None})
        self.assertEqual(self.refused(readObject, "listeners", patched), ["port: is required"])
        patched = mergePatched(exportObject(self.document.listeners["ftp"]), {"tls": None, "allow": ["::1"]})
        self.assertEqual(
            readObject("listeners", patched).value, Listener(name="ftp", kind="ftp", port=21, allow=("::1",))
        )
