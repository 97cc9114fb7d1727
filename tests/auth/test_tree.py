"""Tests of the trees that users see."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from cftpcluster.auth.account import Account
from cftpcluster.auth.tree import FileTrees, MissingStorage
from cftpcluster.config.document import Document, Group, Limits, Mount, Quota, User
from cftpcluster.errors import NotFound, PermissionDenied, QuotaExceeded, StorageMissing
from cftpcluster.events import Event, FolderMade, UploadBroken
from cftpcluster.files.allowance import Allowance
from cftpcluster.files.memory import MemoryBackend
from cftpcluster.files.throttled import AllRates
from cftpcluster.interfaces import IFileSystem
from cftpcluster.testing.auth import documentWith, originOf
from cftpcluster.testing.files import write
from cftpcluster.vocabulary import Attributes, Kind, OpenMode, Permission, Usage, VirtualPath

ORIGIN = originOf()


class TreeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[Event] = []
        self.backends: dict[str, Any] = {name: MemoryBackend(self.clock, 1 << 20) for name in ("files", "share")}
        self.document = Document()
        self.allowances: dict[str, Allowance] = {}

    def build(self, user: User, *groups: Group) -> IFileSystem:
        self.document = documentWith(user, groups=groups)
        rates = AllRates(self.clock, lambda user: self.document.users[user].limits)
        self.trees = FileTrees(
            lambda: self.document, self.backends.get, self.events.append, self.clock, rates, self.allowances.get
        )
        return self.trees.build(user, ORIGIN)

    def names(self, files: IFileSystem, path: VirtualPath = ()) -> list[str]:
        listing = self.successResultOf(files.list(path))
        found: list[str] = []
        while entries := self.successResultOf(listing.next()):
            found += [entry.name for entry in entries]
        return sorted(found)

    def backendNames(self, backend: str, folder: str) -> list[str]:
        """What lies in a backend's folder."""
        return self.names(self.backends[backend].fileSystem(folder, "nobody", True))

    def test_userSeesItsFolder(self) -> None:
        files = self.build(User(name="alice", mounts=(Mount(path="/", backend="files", folder="alice"),)))
        verifyObject(IFileSystem, files)
        self.successResultOf(files.makeDirectory(("new",)))
        self.assertEqual(self.names(files), ["new"])
        self.assertEqual(self.backendNames("files", "alice"), ["new"])

    def test_everythingIsToldAsThisUsersOfThisOrigin(self) -> None:
        files = self.build(User(name="alice", mounts=(Mount(path="/", backend="files"),)))
        self.successResultOf(files.makeDirectory(("new",)))
        self.assertEqual(self.events, [FolderMade(user="alice", origin=ORIGIN, path="/new")])

    def test_mountsOfGroupsJoinTheUsers(self) -> None:
        user = User(name="alice", mounts=(Mount(path="/", backend="files"),), groups=("partners", "missing"))
        files = self.build(user, Group(name="partners", mounts=(Mount(path="/inbox", backend="share", folder="in"),)))
        self.assertEqual(self.names(files), ["inbox"])
        self.successResultOf(files.makeDirectory(("inbox", "new")))
        self.assertEqual(self.backendNames("share", "in"), ["new"])

    def test_usersMountBeatsAGroupsAndTheFirstGroupTheSecond(self) -> None:
        user = User(name="alice", mounts=(Mount(path="/a", backend="files", folder="own"),), groups=("second", "first"))

        def mounts(folder: str) -> tuple[Mount, ...]:
            return tuple(Mount(path=path, backend="files", folder=folder) for path in ("/a", "b/"))

        files = self.build(user, Group(name="first", mounts=mounts("1")), Group(name="second", mounts=mounts("2")))
        for path in (("a", "x"), ("b", "x")):
            self.successResultOf(files.makeDirectory(path))
        found = {folder: self.backendNames("files", folder) for folder in ("own", "1", "2")}
        self.assertEqual(found, {"own": ["x"], "1": [], "2": ["x"]})

    def test_speedIsThatOfTheUser(self) -> None:
        limits = Limits(uploadBytesPerSecond=1024)
        files = self.build(User(name="alice", mounts=(Mount(path="/", backend="files"),), limits=limits))
        file = self.successResultOf(files.open(("f",), OpenMode.create))
        written = file.write(0, bytes(2048))
        self.clock.advance(1.5)
        self.assertNoResult(written)
        self.clock.advance(0.6)
        self.successResultOf(written)

    def test_theQuotaIsThatOfTheUserOnItsOwnMounts(self) -> None:
        mounts = (Mount(path="/", backend="files", folder="a"), Mount(path="/own", backend="share", folder="own"))
        group = Group(name="partners", mounts=(Mount(path="/inbox", backend="share", folder="in"),))
        files = self.build(User(name="alice", mounts=mounts, groups=("partners",)), group)
        allowance = self.allowances["alice"] = Allowance(
            "alice", lambda: Quota(bytes=10), lambda _: None, lambda _: None, isKnown=True
        )
        for path in ("/f", "/own/f", "/inbox/f"):
            self.successResultOf(Deferred.fromCoroutine(write(files, path, b"12345")))
        self.assertEqual(allowance.used, Usage(10, 2))
        self.failureResultOf(Deferred.fromCoroutine(write(files, "/g", b"1")), QuotaExceeded)

    def test_theFoldersOfAQuotaAreThoseOfTheOwnMountsAndEachOnce(self) -> None:
        places = (
            ("/", "files", "a"),
            ("/b", "files", "a/b"),
            ("/c", "share", ""),
            ("/d", "share", "d"),
            ("/e", "no", ""),
        )
        user = User(name="alice", mounts=tuple(Mount(path=p, backend=b, folder=f) for p, b, f in places))
        self.build(user)
        storages = self.trees.storages(user)
        self.assertEqual([storage.name for storage in storages], ["files:/a", "share:/", "no:/"])
        self.failureResultOf(storages[2].open().list(()), StorageMissing)

    def test_permissionsAreThoseOfTheMount(self) -> None:
        mount = Mount(path="/", backend="files", permissions=frozenset({Permission.list}))
        files = self.build(User(name="alice", mounts=(mount,)))
        self.failureResultOf(files.makeDirectory(("x",)), PermissionDenied)
        self.assertEqual((self.names(files), self.events), ([], []))

    def test_userWithoutMountsSeesNothing(self) -> None:
        files = self.build(User(name="alice"))
        self.assertEqual(self.names(files), [])
        self.failureResultOf(files.stat(("x",)), NotFound)

    def test_missingBackendIsAFolderThatFails(self) -> None:
        mounts = (Mount(path="/", backend="files"), Mount(path="/gone", backend="gone"))
        files = self.build(User(name="alice", mounts=mounts))
        self.assertEqual(self.names(files), ["gone"])
        self.assertEqual(self.successResultOf(files.stat(("gone",))).kind, Kind.folder)
        self.failureResultOf(files.list(("gone",)), StorageMissing)
        self.failureResultOf(files.stat(("gone", "x")), StorageMissing)
        self.successResultOf(files.makeDirectory(("fine",)))

    def test_backendThatRefusesIsAFolderThatFails(self) -> None:
        self.successResultOf(self.build(
            User(name="alice", mounts=(Mount(path="/", backend="files"),))
        ).open(("taken",), OpenMode.create).addCallback(lambda file: file.commit()))  # fmt: skip
        files = self.build(User(name="alice", mounts=(Mount(path="/", backend="files", folder="taken"),)))
        self.failureResultOf(files.list(()), StorageMissing)

    def test_mountAtAPathThatIsNoneIsLeftOut(self) -> None:
        mounts = (Mount(path="/a\0b", backend="files"), Mount(path="/c", backend="files"))
        self.assertEqual(self.names(self.build(User(name="alice", mounts=mounts))), ["c"])

    def test_logoutAbortsUploadsAndTheirPartialsAreKept(self) -> None:
        user = User(name="alice", mounts=(Mount(path="/", backend="files"),))
        files = self.build(user)
        upload = self.successResultOf(files.open(("x",), OpenMode.create))
        self.successResultOf(upload.write(0, b"half"))
        self.successResultOf(Account("alice", ORIGIN, files, 1).logout())
        self.assertEqual(self.events, [UploadBroken(user="alice", origin=ORIGIN, path="/x", size=4, kept=True)])
        self.assertEqual(self.successResultOf(self.build(user).stat(("x",))).size, 4)


class MissingStorageTests(SynchronousTestCase):
    def test_everyOperationFails(self) -> None:
        missing = MissingStorage()
        verifyObject(IFileSystem, missing)
        path = ("x",)
        for operation in (
            missing.stat(path),
            missing.list(()),
            missing.open(path, OpenMode.create),
            missing.makeDirectory(path),
            missing.remove(path),
            missing.removeDirectory(path),
            missing.rename(path, ("y",), True),
            missing.setAttributes(path, Attributes(mode=0o600)),
        ):
            self.failureResultOf(operation, StorageMissing)
