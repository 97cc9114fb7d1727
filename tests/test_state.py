"""The state folder: modes, atomic files, and one process at a time."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.errors import ClusterError, JournalLocked
from cftpcluster.state import LONGEST_SOCKET_PATH, StateDirectory, defaultStateDirectory, socketAddress


class StateDirectoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.state = StateDirectory(self.path)
        self.addCleanup(self.state.unlock)

    def test_isMadeForItsOwnerAlone(self) -> None:
        self.state.prepare()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o700)

    def test_unusableOneIsNamedInOneLine(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("a file")
        error = self.assertRaises(ClusterError, self.state.prepare)
        self.assertIn(str(self.path), str(error))
        self.assertNotIn("\n", str(error))

    def test_secondLockIsRefusedAndNamesTheFirst(self) -> None:
        self.state.prepare()
        self.state.lock()
        error = self.assertRaises(JournalLocked, StateDirectory(self.path).lock)
        self.assertIn(f"process {os.getpid()}", str(error))

    def test_lockIsFreeAfterUnlock(self) -> None:
        self.state.prepare()
        self.state.lock()
        self.state.lock()
        self.state.unlock()
        other = StateDirectory(self.path)
        other.lock()
        self.assertTrue(other.locked)
        other.unlock()

    def test_filesAreReadableByTheirOwnerAlone(self) -> None:
        self.state.prepare()
        self.state.write("key", b"secret")
        self.assertEqual(self.state.read("key"), b"secret")
        self.assertEqual(stat.S_IMODE((self.path / "key").stat().st_mode), 0o600)

    def test_missingFilesAreNothing(self) -> None:
        self.state.prepare()
        self.assertIsNone(self.state.read("nothing"))
        self.assertIsNone(self.state.readJSON("nothing"))

    def test_failedWriteLeavesTheOldFileAndNoOther(self) -> None:
        self.state.prepare()
        self.state.writeJSON("value", {"old": 1})
        self.assertRaises(TypeError, self.state.write, "value", "no bytes")
        self.assertEqual(self.state.readJSON("value"), {"old": 1})
        self.assertEqual([each.name for each in self.path.iterdir()], ["value"])

    def test_leftoversOfInterruptedWritesAreSwept(self) -> None:
        self.state.prepare()
        (self.path / "node.pem.abc.new").write_text("half")
        self.state.write("kept", b"")
        self.state.sweep()
        self.assertEqual([each.name for each in self.path.iterdir()], ["kept"])


class DefaultTests(SynchronousTestCase):
    def test_rootHasTheSystemFolderAndOthersTheirOwn(self) -> None:
        if os.geteuid() == 0:
            self.assertEqual(defaultStateDirectory(), Path("/var/lib/cftpcluster"))
        else:
            self.patch(os, "environ", {**os.environ, "XDG_STATE_HOME": "/elsewhere"})
            self.assertEqual(defaultStateDirectory(), Path("/elsewhere/cftpcluster"))


class SocketAddressTests(SynchronousTestCase):
    def test_shortPathIsUsedAsItIs(self) -> None:
        self.assertEqual(socketAddress(Path("/run/x/admin.sock")), "/run/x/admin.sock")

    def test_longPathCanBeBoundAndReached(self) -> None:
        folder = Path(self.mktemp()).absolute() / ("x" * LONGEST_SOCKET_PATH)
        folder.mkdir(parents=True)
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(socketAddress(folder / "admin.sock"))
            server.listen()
            client.connect(socketAddress(folder / "admin.sock"))
        self.assertTrue((folder / "admin.sock").exists())
