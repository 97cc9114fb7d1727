"""What users of FTP do to a real node with paths, with transfers that do not go on, and with a full disk."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
import zlib

from cftpcluster.servers.ftp.control import COMMANDS
from tests.integration.ftpserver import reset

from .attackers import Bystander
from .clusters import USER, descriptors, residentBytes, waitFor
from .disks import empty, fill, needsDisks
from .ftpclients import (
    CLEAR_PORT,
    HURRY_SECONDS,
    SECONDS,
    SECURE_PORT,
    Client,
    FTPCase,
    prepare,
)
from .scale import ENDURANCE, choose, figure, within
from .test_disks import DiskCase
from .test_sshfiles import SECRET, OutsideCase, fingerprint, traversals

PATIENCE_SECONDS = 30.0
"""How long a transfer waits for its data connection."""

STALLED_SECONDS = 120.0

NAMING = (
    *("CWD {0}", "XCWD {0}", "MKD {0}", "XMKD {0}", "RMD {0}", "XRMD {0}", "DELE {0}", "SIZE {0}", "MDTM {0}"),
    *("MLST {0}", "STAT {0}", "STAT -la {0}", "AVBL {0}", "HASH {0}", "XCRC {0}", "XMD5 {0}", "XSHA {0}", "XSHA1 {0}"),
    *('XSHA256 "{0}"', "XSHA512 {0} 0 5", "MFMT 20200101000000 {0}", "MFF UNIX.mode=777;Modify=20200101000000; {0}"),
    *("SITE CHMOD 777 {0}", "SITE UTIME 20200101000000 {0}", "SITE UTIME {0} 20200101000000 20200101000000 0 UTC"),
    *("SITE SYMLINK {0} made", "SITE SYMLINK mine {0}", "RNFR {0}", "RNTO taken", "RNFR mine", "RNTO {0}", "CWD /"),
)
FETCHING = ("RETR {0}", "LIST {0}", "LIST {0}/*", "NLST {0}", "MLSD {0}")
SENDING = ("STOR {0}", "APPE {0}", "STOU {0}")
WITHOUT_PATHS = frozenset(
    {
        *("ABOR", "ACCT", "ALLO", "AUTH", "CCC", "CDUP", "CLNT", "EPRT", "EPSV", "FEAT", "HELP", "HOST"),
        *("LANG", "MODE", "NOOP", "OPTS", "PASS", "PASV", "PBSZ", "PORT", "PROT", "PWD", "QUIT", "REIN"),
        *("REST", "STRU", "SYST", "TYPE", "USER", "XCUP", "XPWD"),
    }
)


def asText(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


class TraversalTests(OutsideCase):
    def setUp(self) -> None:
        super().setUp()
        prepare(self.node)
        secrets = [hashlib.new(name, SECRET).hexdigest().encode() for name in ("md5", "sha1", "sha256", "sha512")]
        self.telling = [b"nobody-may-see-this", *secrets, b"%08x" % zlib.crc32(SECRET), b"%08X" % zlib.crc32(SECRET)]
        self.telling += [
            hashlib.sha512(SECRET[:5]).hexdigest().encode(),
            b" hers\r\n",
            b"alice-evil\r\n",
        ]

    def test_everyCommandThatTakesAPathIsTried(self) -> None:
        tried = {template.split()[0] for template in (*NAMING, *FETCHING, *SENDING)}
        self.assertEqual(tried | WITHOUT_PATHS | {"SITE", "RNTO"}, set(COMMANDS))

    def test_nothingOutsideIsSeenOrChanged(self) -> None:
        before, attempts = fingerprint(self.outside, self.place), 0
        names = traversals()[:: choose(3, 1)]
        with Client(self.node) as client:
            client.login()
            for name in map(asText, names):
                commands = [template.format(name) for template in NAMING]
                for command, answer in zip(commands, client.sayAll(commands), strict=True):
                    self.assertTells(command, answer.encode("utf-8", "surrogateescape"))
                self.restoreMine()
                for template in FETCHING:
                    command = template.format(name)
                    self.assertTells(command, client.fetch(command))
                for template in SENDING:
                    client.send(template.format(name), b"overwritten")
                attempts += len(NAMING) + len(FETCHING) + len(SENDING)
        self.assertEqual(fingerprint(self.outside, self.place), before)
        figure(f"{attempts} attempts to leave a folder over FTP: none got out")

    def assertTells(self, command: str, answer: bytes) -> None:
        """Nothing of what lies outside; what was said may be repeated."""
        rest = answer.replace(command.split(" ", 1)[1].encode("utf-8", "surrogateescape"), b"")
        for secret in self.telling:
            self.assertNotIn(secret, rest, (command, answer[:300]))

    def test_linksThatAreSwappedLeadNowhere(self) -> None:
        """Somebody swaps a folder of hers and a link out, as fast as can be, while she works in it."""
        (self.place / "swapped").mkdir()
        (self.place / "swapped" / "secret").write_bytes(b"fine")
        before, over, swaps = fingerprint(self.outside, self.place), threading.Event(), [0]

        def swap() -> None:
            here, folder, link = (self.place / name for name in ("swapped", "aside", "leading"))
            link.symlink_to("../alice-evil")
            while not over.is_set():
                for first, second in ((folder, link), (link, folder)):
                    here.rename(first)
                    second.rename(here)
                    swaps[0] += 1
                    time.sleep(0.0005)

        swapping = threading.Thread(target=swap)
        swapping.start()
        try:
            with Client(self.node) as client:
                client.login()
                for number in range(choose(40, 1000)):
                    commands = ["HASH swapped/secret", "SITE CHMOD 600 swapped/secret", f"MKD swapped/{number}"]
                    commands += [
                        f"RMD swapped/{number}",
                        "XCRC swapped/secret",
                        "CWD swapped",
                        "CWD /",
                        "MLST swapped/secret",
                    ]
                    for answer in client.sayAll(commands):
                        self.assertTells("HASH swapped/secret", answer.encode())
                    self.assertTells("RETR swapped/secret", client.fetch("RETR swapped/secret"))
                    client.send("STOR swapped/new", b"new")
        finally:
            over.set()
            swapping.join()
        self.assertEqual(fingerprint(self.outside, self.place), before)
        figure(f"{swaps[0]} swaps of a folder and a link out during FTP commands: none got out")


# --- data connections


class PatienceTests(FTPCase):
    def test_dataConnectionsThatNeverComeAreNotWaitedForForEver(self) -> None:
        (self.place / "mine").write_bytes(b"mine")
        clients = []
        for command in ("RETR mine", "STOR new", "LIST"):
            client = Client(self.node).login()
            client.passive()
            self.assertEqual(client.say(command), 150)
            self.assertEqual([client.say("NOOP"), client.say("STAT")], [200, 211])
            clients.append(client)
        self.assertServesFTP()
        begun = time.monotonic()
        for client in clients:
            if ENDURANCE:
                self.assertEqual(client.answer(), 425)
                self.assertLess(time.monotonic() - begun, PATIENCE_SECONDS + within(5))
            else:
                self.assertEqual([client.say("ABOR"), client.answer()], [426, 226])
            self.assertIn(b"226", client.fetch("NLST"))
            client.__exit__()
        self.assertFalse((self.place / "new").exists())

    def test_whoNeverReadsHoldsNeitherMemoryNorOthers(self) -> None:
        (self.place / "big").write_bytes(bytes(64_000_000))
        before = residentBytes(self.node)
        clients = []
        for secured, command in ((False, "RETR big"), (True, "RETR big"), (False, "ASCII"), (True, "ASCII")):
            client = Client(self.node, SECURE_PORT if secured else CLEAR_PORT).login(tls=secured)
            if command == "ASCII":
                client.say("TYPE A")
            clients.append((client, client.open("RETR big")))
        with Bystander(self.node, "bob") as bystander:
            self.assertLess(bystander.rest(choose(0.5, 5)), HURRY_SECONDS / 10)
        self.assertLess(residentBytes(self.node) - before, 30_000_000)
        begun = time.monotonic()
        for client, data in clients:
            if ENDURANCE:
                self.assertEqual(client.answer(), 426)
                self.assertLess(time.monotonic() - begun, STALLED_SECONDS + within(20))
            else:
                self.assertEqual([client.say("STAT"), client.say("ABOR"), client.answer()], [211, 426, 226])
            data.close()
            client.__exit__()

    def test_textThatGrowsFillsNoMemory(self) -> None:
        """Every byte of it becomes two on the wire, or half a byte on the disk."""
        (self.place / "lines").write_bytes(b"\n" * 8_000_000)
        before = residentBytes(self.node)
        with Client(self.node) as client:
            client.login()
            client.say("TYPE A")
            self.assertEqual(len(client.fetch("RETR lines").partition(b"226")[0]), 16_000_000)
            self.assertEqual(client.send("STOR lines", b"\r\n" * 4_000_000 + b"\r"), 226)
        self.assertEqual((self.place / "lines").read_bytes(), b"\n" * 4_000_000 + b"\r")
        self.assertLess(residentBytes(self.node) - before, 30_000_000)

    def test_whatIsBrokenOffIsNotSeen(self) -> None:
        (self.place / "old").write_bytes(b"as it was")
        for name, end in (("reset", reset), ("silent", socket.socket.close)):
            for target in (f"{name}-new", "old"):
                secured = name == "silent"
                with Client(self.node, SECURE_PORT if secured else CLEAR_PORT) as client:
                    client.login(tls=secured)
                    data = client.open(f"STOR {target}")
                    data.sendall(b"n" * 100_000)
                    waitFor("it has come", lambda client=client: "100000 bytes" in client.sayAll(["STAT"])[0])
                    # Without TLS's own end, or by a reset, it could have been cut by anybody.
                    end(socket.socket(fileno=data.detach()) if secured else data)
                    self.assertEqual(client.answer(), 426, target)
        with Client(self.node) as client:
            client.login()
            self.assertIn(b"as it was", client.fetch("RETR old"))
            for name in ("reset-new", "silent-new"):
                self.assertEqual(client.sayAll([f"SIZE {name}"]), ["213 100000\r\n"])
                self.assertIn(b"550", client.fetch(f"RETR {name}"))
            names = client.fetch("NLST").partition(b"226")[0].split()
        self.assertEqual(names, [b"old"])

    def test_aTransferEndsWithItsControlConnection(self) -> None:
        (self.place / "big").write_bytes(bytes(30_000_000))
        before = descriptors(self.node)
        for secured in (False, True):
            for command in ("RETR big", "STOR new"):
                for end in (reset, socket.socket.close):
                    client = Client(self.node, SECURE_PORT if secured else CLEAR_PORT).login(tls=secured)
                    data = client.open(command)
                    if command == "STOR new":
                        data.sendall(b"n" * 1000)
                    client.lines.close()
                    end(socket.socket(fileno=client.socket.detach()))
                    data.settimeout(SECONDS)
                    try:
                        while data.recv(1 << 20):
                            pass
                    except OSError as error:
                        self.assertNotIsInstance(error, TimeoutError)
                    data.close()
        waitFor("nothing is left of them", lambda: descriptors(self.node) <= before + 2)
        self.assertFalse((self.place / "new").exists())


@needsDisks
class FullDiskTests(DiskCase):
    def test_anUploadThatDoesNotFitIsRefusedAndNothingOfItStays(self) -> None:
        self.keep(self.a)
        prepare(self.a)
        place = self.a.state / "files" / USER
        before = sorted(path.name for path in place.iterdir())
        with Client(self.a) as client, Client(self.a, SECURE_PORT) as secured:
            client.login()
            secured.login(tls=True)
            fill(self.a)
            for each in (client, secured):
                for command in ("STOR new", "APPE new", "STOU", "STOR kept"):
                    self.assertEqual(each.send(command, b"n" * 2_000_000), 452, command)
                self.assertIn(each.say("MKD folder"), (257, 452))
                each.say("RMD folder")
                self.assertIn(b"k" * 100_000, each.fetch("RETR kept"))
            self.assertServes(self.a)
            empty(self.a)
            self.assertEqual(sorted(path.name for path in place.iterdir()), before)
            self.assertEqual([each.send("STOR fits", b"n" * 2_000_000) for each in (client, secured)], [226, 226])
            self.assertEqual((place / "fits").stat().st_size, 2_000_000)
            client.say("DELE fits")
        self.assertNotIn("Traceback", self.a.log)
