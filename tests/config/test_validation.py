"""Whether a change makes sense."""

from __future__ import annotations

import base64

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config._syntax import passwordHashFault
from cftpcluster.config.changes import Batch, Change, MergeSettings, Promote, Put, Rehash, Remove, Unknown, apply
from cftpcluster.config.document import (
    Admin,
    Backend,
    Certificate,
    Document,
    Group,
    JoinToken,
    Limits,
    Listener,
    Method,
    Mount,
    Node,
    Quota,
    Role,
    Secret,
    User,
)
from cftpcluster.config.validation import Kinds, located, objectPath, problems
from cftpcluster.vocabulary import Problem

from .samples import ARGON2, KINDS, PUBLIC_KEYS, certificate

CHAIN = certificate()

BASE = Batch(
    (
        Put("backends", Backend(name="files", kind="local", options={"root": "files"})),
        Put("groups", Group(name="partners", mounts=(Mount(path="/in", backend="files"),))),
        Put("certificates", Certificate(name="default", chain=CHAIN, key=Secret(b"k"))),
        Put("listeners", Listener(name="ftp", kind="ftp", port=2121)),
        Put("nodes", Node(name="node-a", address="192.0.2.1")),
        Put("nodes", Node(name="node-b", address="192.0.2.2")),
        Put("admins", Admin(name="root", role=Role.full, passwordHash=ARGON2)),
        Promote(1, "node-a", "system"),
    )
)


class ValidationCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.document = apply(Document(), BASE)

    def made(self, *changes: Change) -> None:
        for change in changes:
            self.document = apply(self.document, change)

    def problems(self, change: Change, kinds: Kinds = KINDS) -> list[str]:
        """What is wrong with a change of the document."""
        return [str(problem) for problem in problems(apply(self.document, change), change, kinds)]

    def good(self, *changes: Change) -> None:
        for change in changes:
            self.assertEqual(self.problems(change), [])


class ObjectTests(ValidationCase):
    def test_theBaseIsGood(self) -> None:
        self.assertEqual(problems(self.document, BASE, KINDS), [])

    def test_goodUser(self) -> None:
        user = User(
            name="alice",
            passwordHash=ARGON2,
            publicKeys=PUBLIC_KEYS,
            allow=("192.0.2.0/24", "::1"),
            authentication=((Method.publickey, Method.password), (Method.keyboardInteractive,)),
            groups=("partners",),
            mounts=(Mount(path="/", backend="files", folder="alice"), Mount(path="/a/b", backend="files")),
            quota=Quota(bytes=10**13, files=1),
            limits=Limits(sessions=10, uploadBytesPerSecond=1024),
        )
        self.good(Put("users", user))

    def test_everythingWrongWithAUser(self) -> None:
        user = User(
            name="a b",
            passwordHash="clear",
            publicKeys=(PUBLIC_KEYS[0], "ssh-rsa AAAA"),
            allow=("10.0.0.1/8",),
            authentication=((), (Method.password, Method.publickey, Method.password)),
            groups=("partners", "partner", "partners"),
            mounts=(
                Mount(path="a", backend="fils", folder="/x"),
                Mount(path="/", backend="files"),
                Mount(path="/", backend="files"),
            ),
            quota=Quota(bytes=-1, files=5),
            limits=Limits(sessions=-2, downloadBytesPerSecond=-3, uploadBytesPerSecond=1023),
        )
        self.assertEqual(
            self.problems(Put("users", user)),
            [
                'name: "a b" is not a name: letters, digits and . _ @ -, at most 64, starting with a letter or digit',
                f"passwordHash: {passwordHashFault('clear')}",
                "publicKeys[1]: the ssh-rsa key is damaged",
                'allow[0]: "10.0.0.1/8" is not a network such as 192.0.2.0/24',
                "authentication[0]: is empty: whoever has proven nothing is not let in",
                'authentication[1][2]: "password" is named twice',
                'groups[1]: no group named "partner"; did you mean "partners"?',
                'groups[2]: group "partners" is named twice',
                'mounts[0].path: "a" must be absolute: it starts with /',
                'mounts[0].folder: "/x" must be relative to the backend\'s root',
                'mounts[0].backend: no backend named "fils"; did you mean "files"?',
                'mounts[2].path: "/" is mounted twice',
                "quota.bytes: -1 is out of bounds: expected 0 or more",
                "limits.sessions: -2 is out of bounds: expected 0 or more",
                "limits.downloadBytesPerSecond: -3 is out of bounds: expected 0 or more",
                "limits.uploadBytesPerSecond: 1023 is too slow for any client: expected 0 or at least 1024",
            ],
        )

    def test_groups(self) -> None:
        found = self.problems(Put("groups", Group(name="g", mounts=(Mount(path="/", backend="none"),))))
        self.assertEqual(found, ['mounts[0].backend: no backend named "none"'])

    def test_unknownKind(self) -> None:
        found = self.problems(Put("backends", Backend(name="b", kind="s3")))
        self.assertEqual(found, ['kind: no backend kind "s3"; known: local, memory'])

    def test_kindsThatNobodyKnowsAreNotChecked(self) -> None:
        self.assertEqual(self.problems(Put("backends", Backend(name="b", kind="s3")), {}), [])

    def test_options(self) -> None:
        for options, message in (
            ({}, "root: is required"),
            ({"root": 5}, "root: expected text, got 5"),
            ({"root": "forbidden"}, "root: must not be forbidden"),
            ({"root": "r", "fsnc": True}, 'unknown key "fsnc"; did you mean "fsync"?'),
            ({"root": "r", "sharde": True}, 'unknown key "sharde"; did you mean "shared"?'),
        ):
            self.assertEqual(
                self.problems(Put("backends", Backend(name="b", kind="local", options=options))), [message]
            )

    def test_listeners(self) -> None:
        wrong = Listener(
            name="x",
            kind="ftp",
            port=70000,
            allow=("a",),
            deny=("b",),
            certificate="defualt",
            options={"implicit": "yes"},
        )
        self.assertEqual(
            self.problems(Put("listeners", wrong)),
            [
                'implicit: expected true or false, got "yes"',
                "port: 70000 is not a port: expected 1 to 65535",
                'allow[0]: "a" is not a network such as 192.0.2.0/24',
                'deny[0]: "b" is not a network such as 192.0.2.0/24',
                'certificate: no certificate named "defualt"; did you mean "default"?',
            ],
        )

    def test_balancersThatAreBelievedAreNamed(self) -> None:
        for mode in ("optional", "required"):
            listener = Listener(name="x", kind="ftp", port=1, proxyProtocol=mode)  # type: ignore[arg-type]
            self.assertEqual(
                self.problems(Put("listeners", listener)),
                [f"trustedProxies: proxyProtocol {mode} needs the networks of the balancers"],
            )
            self.good(Put("listeners", evolve(listener, trustedProxies=("192.0.2.0/24", "2001:db8::1"))))
        wrong = evolve(listener, trustedProxies=("balancer",))
        self.assertEqual(
            self.problems(Put("listeners", wrong)),
            ['trustedProxies[0]: "balancer" is not a network such as 192.0.2.0/24'],
        )

    def test_certificates(self) -> None:
        wrong = Certificate(name="x", chain="nothing", key=Secret(b""))
        self.assertEqual(self.problems(Put("certificates", wrong)), ["chain: is not a chain of certificates in PEM"])

    def test_tokens(self) -> None:
        self.good(Put("tokens", JoinToken(name="t", node="node-c", secretHash="ab" * 32, expires=1.0)))
        found = self.problems(Put("tokens", JoinToken(name="t", node="a b", secretHash="x", expires=1.0)))
        self.assertEqual(len(found), 2)

    def test_sections(self) -> None:
        for change in (Put("gadgets", User(name="x")), Put("groups", User(name="x")), Remove("gadgets", "x")):
            self.assertEqual(len(self.problems(change)), 1)

    def test_unknownChange(self) -> None:
        self.assertEqual(
            self.problems(Unknown({"kind": "later"})), ['kind: this node does not know changes of kind "later"']
        )

    def test_settings(self) -> None:
        self.good(MergeSettings({"drainSeconds": 0, "partialSeconds": None}))
        wrong = {"drainSeconds": -1, "partialSeconds": "x", "drainSecond": 5}
        self.assertEqual(
            self.problems(MergeSettings(wrong)),
            [
                'unknown key "drainSecond"; did you mean "drainSeconds"?',
                'partialSeconds: expected a whole number, got "x"',
            ],
        )
        found = self.problems(MergeSettings({"drainSeconds": -1, "sessionIdleSeconds": 1}))
        self.assertEqual(
            found,
            [
                "drainSeconds: -1 is out of bounds: expected 0 to 86400",
                "sessionIdleSeconds: 1 is out of bounds: expected 60 to 31622400",
            ],
        )

    def test_branding(self) -> None:
        picture = base64.b64encode(b"\x89PNG\r\n\x1a\n...").decode()
        drawing = base64.b64encode(b'<?xml version="1.0"?>\n<!-- by us -->\n<svg xmlns="..."/>').decode()
        for good in (
            {},
            {"name": "Acme & Söhne", "accentColor": "#0aF3c9", "logo": picture},
            {"logo": drawing},
            {"logo": f"{picture[:8]}\n{picture[8:]}"},
        ):
            self.good(MergeSettings({"branding": good}))
        for wrong, found in (
            ({"name": "x" * 61}, "branding.name: expected one line of at most 60 characters"),
            ({"name": "a\nb"}, "branding.name: expected one line of at most 60 characters"),
            ({"accentColor": "red"}, 'branding.accentColor: "red" is not a colour such as #2457c5'),
            ({"accentColor": "#fff;}*{"}, "branding.accentColor: "),
            ({"logo": "?"}, "branding.logo: expected a picture in base64"),
            ({"logo": base64.b64encode(b"<html><svg>").decode()}, "branding.logo: expected a picture in PNG or SVG"),
            ({"logo": base64.b64encode(bytes(65537)).decode()}, "branding.logo: the picture has 65537 bytes"),
            ({"color": "red"}, "branding: unknown key"),
        ):
            (problem,) = self.problems(MergeSettings({"branding": wrong}))
            self.assertTrue(problem.startswith(found), problem)

    def test_rehash(self) -> None:
        self.made(Put("users", User(name="alice", passwordHash=ARGON2)))
        self.good(Rehash("alice", ARGON2, ARGON2))
        found = self.problems(Rehash("bob", "x", "clear"))
        self.assertEqual(found, ['name: no user named "bob"', f"after: {passwordHashFault('clear')}"])

    def test_promotion(self) -> None:
        self.good(Promote(2, "node-b", "admin"))
        found = self.problems(Promote(0, "node-c", "admin"))
        self.assertEqual(found, ['name: no node named "node-c"; did you mean "node-b"?', "epoch: 0 is not an epoch"])


class ReferenceTests(ValidationCase):
    def users(self, *names: str) -> Batch:
        mounts = (Mount(path="/", backend="files"),)
        return Batch(tuple(Put("users", User(name=name, mounts=mounts, groups=("partners",))) for name in names))

    def test_removingWhatIsUsedNamesSomeUsers(self) -> None:
        self.made(self.users("alice", "bob", "carol", "dave", "eve"))
        self.assertEqual(
            self.problems(Remove("backends", "files")),
            ['backend "files" is still used by group partners, user alice, user bob and 3 more'],
        )
        self.assertEqual(
            self.problems(Remove("groups", "partners")),
            ['group "partners" is still used by user alice, user bob, user carol and 2 more'],
        )

    def test_usedByOne(self) -> None:
        self.made(Put("groups", Group(name="partners")), Put("users", User(name="alice", groups=("partners",))))
        self.assertEqual(self.problems(Remove("groups", "partners")), ['group "partners" is still used by user alice'])
        self.good(Remove("backends", "files"))

    def test_certificatesAndListeners(self) -> None:
        self.made(Put("nodes", Node(name="node-b", address="192.0.2.2", listeners={"ftp": {"port": 21}})))
        found = self.problems(Remove("certificates", "default"))
        self.assertEqual(found, ['certificate "default" is still used by listener ftp'])
        found = self.problems(Remove("listeners", "ftp"))
        self.assertEqual(found, ['listener "ftp" is still used by node node-b'])

    def test_removedTogetherWithItsUsers(self) -> None:
        self.made(self.users("alice"))
        self.good(Batch((Remove("users", "alice"), Remove("groups", "partners"), Remove("backends", "files"))))

    def test_removedAndPutAgain(self) -> None:
        put = Put("backends", Backend(name="files", kind="local", options={"root": "other"}))
        self.good(Batch((Remove("backends", "files"), put)))

    def test_batchMayReferForward(self) -> None:
        self.good(Batch((Put("users", User(name="alice", groups=("new",))), Put("groups", Group(name="new")))))

    def test_problemsOfABatchNameTheirObjects(self) -> None:
        batch = Batch(
            (
                Put("users", User(name="alice", mounts=(Mount(path="/", backend="fils"),))),
                Batch((MergeSettings({"drainSeconds": -1}),)),
                Remove("backends", "files"),
                Unknown({"kind": "later"}),
            )
        )
        self.assertEqual(
            self.problems(batch),
            [
                'users[alice].mounts[0].backend: no backend named "fils"',
                "settings.drainSeconds: -1 is out of bounds: expected 0 to 86400",
                'kind: this node does not know changes of kind "later"',
                'backends[files]: backend "files" is still used by group partners',
            ],
        )

    def test_onlyTheLastOfSeveralPutsCounts(self) -> None:
        wrong, right = User(name="alice", groups=("none",)), User(name="alice")
        self.good(Batch((Put("users", wrong), Put("users", right))))
        self.assertEqual(len(self.problems(Batch((Put("users", right), Put("users", wrong))))), 1)

    def test_lastFullAdministratorStays(self) -> None:
        message = "at least one enabled administrator with role full must remain"
        root = self.document.admins["root"]
        for change in (
            Remove("admins", "root"),
            Put("admins", evolve(root, enabled=False)),
            Put("admins", evolve(root, role=Role.users)),
        ):
            self.assertEqual(self.problems(change), [message])
        self.assertEqual(self.problems(Batch((Remove("admins", "root"),))), [f"admins: {message}"])
        self.made(Put("admins", evolve(root, name="second")))
        self.good(Remove("admins", "root"))

    def test_primaryStays(self) -> None:
        found = self.problems(Remove("nodes", "node-a"))
        self.assertEqual(found, ['node "node-a" is the primary; promote another node first'])
        self.good(Remove("nodes", "node-b"), Batch((Promote(2, "node-b", "x"), Remove("nodes", "node-a"))))


class PortTests(ValidationCase):
    def listener(self, name: str, port: int) -> Put:
        return Put("listeners", Listener(name=name, kind="ftp", port=port))

    def node(self, **listeners: object) -> Put:
        return Put("nodes", Node(name="node-b", address="192.0.2.2", listeners=listeners))

    def test_twoListenersOnOnePort(self) -> None:
        self.assertEqual(self.problems(self.listener("other", 2121)), ['port: port 2121 is taken by listener "ftp"'])
        found = self.problems(Batch((self.listener("other", 2121),)))
        self.assertEqual(found, ['listeners[other].port: port 2121 is taken by listener "ftp"'])

    def test_portsMayBeSwapped(self) -> None:
        self.made(self.listener("other", 990))
        self.good(Batch((self.listener("other", 2121), self.listener("ftp", 990))))

    def test_changeOfSomethingElseIsNotHeldUpByPorts(self) -> None:
        self.made(self.listener("other", 2121))
        self.good(Put("users", User(name="alice")), Remove("listeners", "other"))

    def test_nodeOverrides(self) -> None:
        self.good(self.node(ftp={"port": 21, "passivePorts": "1-2"}))
        self.assertEqual(
            self.problems(self.node(ftp={"port": "21", "passivPorts": "1-2"}, fpt={})),
            [
                'listeners.ftp.port: expected a whole number, got "21"',
                'listeners.ftp: unknown key "passivPorts"; did you mean "passivePorts"?',
                'listeners.fpt: no listener named "fpt"; did you mean "ftp"?',
            ],
        )
        self.assertEqual(
            self.problems(self.node(ftp={"port": 0})), ["listeners.ftp.port: 0 is not a port: expected 1 to 65535"]
        )

    def test_overrideThatTakesAPort(self) -> None:
        self.made(self.listener("other", 990))
        found = self.problems(self.node(ftp={"port": 990}))
        self.assertEqual(found, ['listeners: port 990 on node "node-b" is taken by listener "ftp", "other"'])

    def test_listenerThatTakesAnOverriddenPort(self) -> None:
        self.made(self.node(ftp={"port": 21}))
        found = self.problems(self.listener("other", 21))
        self.assertEqual(found, ['port: port 21 on node "node-b" is taken by listener "ftp"'])

    def test_nodes(self) -> None:
        found = self.problems(Put("nodes", Node(name="node-c", address="a b", fingerprint="x")))
        self.assertEqual(len(found), 2)


class LocatedTests(SynchronousTestCase):
    def test_placesOfWhatWasWritten(self) -> None:
        places = {("users", "alice"): "users[3]", ("users", "a]b"): "users[4]", ("users", "a"): "users[5]"}
        found = [
            Problem("users[alice].mounts[0].backend", "x"),
            Problem("users[a]b].name", "x"),
            Problem("users[bob]", "x"),
            Problem("settings.drainSeconds", "x"),
            Problem("users[alice]", "x"),
            Problem("", "x"),
            Problem("users[a][0]", "x"),
        ]
        self.assertEqual(
            [problem.path for problem in located(found, places)],
            [
                "users[3].mounts[0].backend",
                "users[4].name",
                "users[bob]",
                "settings.drainSeconds",
                "users[3]",
                "",
                "users[5][0]",
            ],
        )

    def test_pathsOfObjects(self) -> None:
        self.assertEqual(objectPath(("users", "alice")), "users[alice]")
        self.assertEqual(objectPath(("settings", "")), "settings")


class CheapnessTests(ValidationCase):
    def test_oneUserAmongManyIsCheckedAlone(self) -> None:
        wrong = Batch(tuple(Put("users", User(name=f"user{number}", groups=("none",))) for number in range(100)))
        self.made(wrong)
        self.good(Put("users", User(name="user5")))
