"""What strangers and users of FTP do to a real node, to its files, its ports and its patience."""

from __future__ import annotations

import hashlib
import itertools
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Sequence

from cftpcluster.servers.ftp.control import COMMANDS
from tests.integration.ftpserver import everything, reset

from .attackers import Attacker, Bystander, Gone, elsewhere, manyDescriptors
from .clusters import USER, descriptors, residentBytes, waitFor
from .disks import empty, fill, needsDisks
from .ftpclients import (
    CLEAR_PORT,
    DATA_PORTS,
    HURRY_SECONDS,
    NARROW_PORT,
    NARROW_PORTS,
    SECONDS,
    SECURE_PORT,
    Client,
    FTPCase,
    listening,
    prepare,
)
from .scale import ENDURANCE, choose, figure, within
from .test_disks import DiskCase
from .test_sshfiles import SECRET, OutsideCase, fingerprint, traversals

PATIENCE_SECONDS = 30.0
"""How long a transfer waits for its data connection."""

STALLED_SECONDS = 120.0
SILENT_SECONDS = 60.0


class BounceTests(FTPCase):
    def test_nobodyElseIsDialled(self) -> None:
        with socket.socket() as victim, Client(self.node) as client:
            victim.bind((elsewhere(), 0))
            victim.listen()
            victim.setblocking(False)
            host, number = victim.getsockname()
            client.login()
            commas = host.replace(".", ",")
            as_number = int.from_bytes(socket.inet_aton(host), "big")
            for command in (
                f"PORT {commas},{number >> 8},{number & 255}",
                f"PORT 127,0,0,1,{number >> 8},{number & 255}",
                f"PORT 0,0,0,0,{number >> 8},{number & 255}",
                f"PORT {client.source.replace('.', ',')},0,22",
                f"PORT {client.source.replace('.', ',')},3,255",
                f"PORT {client.source.replace('.', ',')},256,1",
                f"PORT {commas},{number}",
                f"EPRT |1|{host}|{number}|",
                f"EPRT |1|{as_number}|{number}|",
                f"EPRT |1|0x{as_number:x}|{number}|",
                f"EPRT |1|localhost|{number}|",
                f"EPRT |1|{self.node.address}|8790|",
                f"EPRT |2|::ffff:{host}|{number}|",
                f"EPRT |1|::ffff:{host}|{number}|",
                f"EPRT |1|{client.source}|1023|",
                f"EPRT |1|{client.source}|65536|",
                f"EPRT |1|{client.source}|-1|",
                "LPRT 4,4,127,0,0,1,2,4,1",
            ):
                self.assertIn(client.say(command), (501, 502, 504, 522), command)
                self.assertEqual(client.say("LIST"), 425, command)
            self.assertRaises(BlockingIOError, victim.accept)


class PassiveTests(FTPCase):
    def test_aThiefGetsNothingAndTheOwnerEverything(self) -> None:
        (self.place / "hers").write_bytes(b"hers alone" * 100_000)
        with Client(self.node) as client:
            client.login()
            for command, content in (("RETR hers", b""), ("STOR new", b"new"), ("LIST", b"")):
                number = client.passive()
                for _ in range(3):
                    with client.connect(number, elsewhere()) as thief:
                        # Over as soon as it is looked at: nothing comes, nothing is taken.
                        self.assertEqual(stolen(thief), b"")
                with client.connect(number) as data:
                    self.assertEqual(client.say(command), 150)
                    data.sendall(content)
                    data.shutdown(socket.SHUT_WR)
                    came = everything(data)
                self.assertEqual(client.answer(), 226, command)
                self.assertEqual(len(came) > 0, command != "STOR new")
        self.assertEqual((self.place / "new").read_bytes(), b"new")

    def test_portsAreNotForeseen(self) -> None:
        with Client(self.node) as client:
            client.login()
            ports = [client.passive() for _ in range(30)]
        self.assertGreater(len(set(ports)), 20)
        self.assertGreater(len({second - first for first, second in itertools.pairwise(ports)}), 20)

    def test_aSessionHasOnePortAtMost(self) -> None:
        with Client(self.node) as client:
            client.login()
            answers = client.sayAll(["PASV", "EPSV"] * 150)
            self.assertEqual({answer[:3] for answer in answers}, {"227", "229"})
            waitFor("only the last is open", lambda: len(listening(self.node, DATA_PORTS)) == 1)
        waitFor("the port is closed", lambda: not listening(self.node, DATA_PORTS))

    def test_manySessionsWithUnusedPortsKeepNobodyOut(self) -> None:
        before = descriptors(self.node)
        clients = [Client(self.node).login(user="bob") for _ in range(choose(40, 300))]
        try:
            for client in clients:
                client.passive()
            self.assertEqual(len(listening(self.node, DATA_PORTS)), len(clients))
            self.assertServesFTP()
        finally:
            for client in clients:
                reset(client.socket)
                client.lines.close()
        waitFor("all is closed", lambda: not listening(self.node, DATA_PORTS) and descriptors(self.node) <= before + 5)

    def test_aRangeThatIsUsedUpIsToldAndIsThereAgain(self) -> None:
        clients = [Client(self.node, NARROW_PORT).login(user="bob") for _ in range(len(NARROW_PORTS) + 1)]
        try:
            codes = [client.say("EPSV") for client in clients]
            self.assertEqual(codes, [229] * len(NARROW_PORTS) + [425])
            self.assertEqual(clients[-1].say("NLST"), 425)
            self.assertEqual(clients[0].say("ABOR"), 226)
            waitFor("a port is free", lambda: len(listening(self.node, NARROW_PORTS)) < len(NARROW_PORTS))
            self.assertIn(b"226", clients[-1].fetch("NLST"))
            self.assertServesFTP()
        finally:
            for client in clients:
                client.__exit__()


def stolen(connection: socket.socket) -> bytes:
    try:
        return connection.recv(100)
    except ConnectionError:
        return b""


class ProtectionTests(FTPCase):
    def test_whatComesInTheClearBehindAUTHIsThrownAway(self) -> None:
        login = f"USER {USER}\r\nPASS correct horse\r\nMKD /injected\r\n".encode()
        for injected in (login, b"NOOP\r\n" * 2000, b"US", b"X" * 20_000, b"\xff\xf4\xff\xf2ABOR\r\n" + login):
            with Client(self.node, SECURE_PORT) as client:
                client.socket.sendall(b"AUTH TLS\r\n" + injected)
                self.assertEqual(client.answer(), 234)
                try:
                    client.socket = client.context.wrap_socket(client.socket)
                except (ssl.SSLError, ConnectionError):
                    # It came behind the answer, where a handshake has to be.
                    continue
                client.lines.close()
                client.lines = client.socket.makefile("rb")
                self.assertEqual([client.say("NOOP"), client.say("PWD")], [200, 530], injected[:20])
        self.assertFalse((self.place / "injected").exists())

    def test_nothingIsSaidOrCarriedInTheClear(self) -> None:
        (self.place / "hers").write_bytes(b"hers")
        with Client(self.node, SECURE_PORT) as client:
            self.assertEqual([client.say("USER alice"), client.say("PASS correct horse")], [530, 530])
            self.assertEqual([client.say("PBSZ 0"), client.say("PROT P"), client.say("CCC")], [503] * 3)
            client.secure()
            self.assertEqual([client.say("USER alice"), client.say("PASS correct horse")], [331, 230])
            for command in ("RETR hers", "LIST", "NLST", "MLSD", "STOR new", "APPE new", "STOU"):
                client.passive()
                self.assertEqual(client.say(command), 521, command)
            self.assertEqual([client.say("PROT P"), client.say("PBSZ 0"), client.say("PROT P")], [503, 200, 200])
            self.assertEqual([client.say("PROT C"), client.say("CCC"), client.say("AUTH TLS")], [534, 534, 503])
            client.private = True
            self.assertEqual(client.fetch("RETR hers")[:4], b"hers")
            self.assertEqual([client.say("REIN"), client.say("PROT P")], [220, 503])
            self.assertIsInstance(client.socket, ssl.SSLSocket)

    def test_beforeALogInNothingElseIsDone(self) -> None:
        (self.place / "hers").write_bytes(b"hers")
        with Client(self.node) as client:
            for verb, command in COMMANDS.items():
                if not command.beforeLogin:
                    self.assertEqual(client.say(f"{verb} hers" if command.usage else verb), 530, verb)
            self.assertEqual(client.say("STAT hers"), 530)
            self.assertEqual([client.say("PASS correct horse"), client.say("USER alice")], [503, 331])
            self.assertEqual([client.say("PASS wrong"), client.say("PASS correct horse")], [530, 503])
            self.assertEqual(client.say("RETR hers"), 530)


# --- paths

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


# --- log-ins


class BruteForceTests(FTPCase):
    def test_guessesAreDelayedCutOffAndTheAddressIsBannedEverywhere(self) -> None:
        source = elsewhere()
        begun = time.monotonic()
        clients = [Client(self.node, source=source) for _ in range(2)]
        for number, client in enumerate(clients):
            # All at once, and each for another name, since a name that fails often is delayed.
            lines = [f"USER {number}-{attempt}\r\nPASS wrong\r\n" for attempt in range(8)]
            client.socket.sendall("".join(lines).encode())
        for client in clients:
            codes = []
            while code := heard(client):
                codes.append(code)
            self.assertLess(codes.count(530), 6, codes)
            self.assertEqual(codes[-1], 421)
            client.__exit__()
        self.assertGreater(time.monotonic() - begun, 4)

        def isBanned() -> bool:
            try:
                with Attacker(self.node, source=source) as attacker:
                    attacker.logIn()
            except (Gone, OSError):
                return True
            return False

        waitFor("SFTP refuses the address too", isBanned)
        waitFor("FTP refuses it", lambda: isRefused(source, lambda: Client(self.node, source=source).login()))
        self.assertServesFTP()

    def test_namesAndPasswordsAreTakenByteByByte(self) -> None:
        secret = "correct horse"
        clients = []
        for name, given in (
            *(
                (name, secret)
                for name in ("carol ", "carol/", "../carol", "CAROL", "carol\t", "c" * 7000, "carol\udcff")
            ),
            *((name, secret) for name in ("${jndi:ldap://127.0.0.1/a}", "' OR 1=1 --", "carol%00", "c\u0430rol")),
            *(("carol", given) for given in (secret[:-1], secret + " ", secret.upper(), "x" * 7000, secret + "\udcfe")),
        ):
            client = Client(self.node)
            client.socket.sendall(f"USER {name}\r\nPASS {given}\r\n".encode("utf-8", "surrogateescape"))
            clients.append((client, name, given))
        for client, name, given in clients:
            with client:
                self.assertEqual([client.answer(), client.answer()], [331, 530], (name[:20], given[:20]))
        with Client(self.node) as client:
            client.socket.sendall(b"USER carol\0\r\nUSER car\rol\r\nPASS correct horse\r\n")
            self.assertEqual([client.answer() for _ in range(3)], [500, 500, 503])
        lines = self.node.log[self.logged :].splitlines()
        self.assertEqual([line for line in lines if not line[:4].isdigit()], [])


def heard(client: Client) -> int:
    try:
        return client.answer()
    except ConnectionError:
        return 0


def isRefused(source: str, work: object) -> bool:
    try:
        work()  # type: ignore[operator]
    except (AssertionError, OSError):
        return True
    return False


class CrowdTests(FTPCase):
    def test_silentSocketsKeepNobodyOut(self) -> None:
        with manyDescriptors():
            self._crowd(choose(300, 2000))
        self.assertServesFTP()

    def _crowd(self, count: int) -> None:
        before, openBefore, begun = residentBytes(self.node), descriptors(self.node), time.monotonic()
        sockets: list[socket.socket] = []
        try:
            for number in range(count):
                # Half of them from one address, the others from a hundred; some have to begin with a handshake.
                source = "127.35.79.1" if number % 2 else f"127.35.80.{number // 2 % 100 + 1}"
                port = 2990 if number % 4 == 3 else (SECURE_PORT, CLEAR_PORT)[number % 2]
                sockets.append(socket.create_connection((self.node.address, port), SECONDS, (source, 0)))
            seconds = [self.loginSeconds() for _ in range(5)]
            figure(f"FTP: a log-in beside {count} silent sockets: {max(seconds):.2f} s at most")
            self.assertLess(sorted(seconds)[2], choose(10, 2))
            figure(f"FTP: {count} silent sockets: {(residentBytes(self.node) - before) / 1e6:.0f} MB")
            if ENDURANCE:
                waitFor(
                    "they are closed", lambda: descriptors(self.node) <= openBefore + 5, SILENT_SECONDS + within(15)
                )
                figure(f"FTP: {count} silent sockets, all closed {time.monotonic() - begun:.1f} s after the first")
        finally:
            for each in sockets:
                each.close()
        waitFor("nothing is left of them", lambda: descriptors(self.node) <= openBefore + 5)

    def loginSeconds(self) -> float:
        begun = time.monotonic()
        with Client(self.node) as client:
            client.login(user="bob")
        return time.monotonic() - begun


# --- lines


class FloodTests(FTPCase):
    def test_aLineWithoutAnEndIsNotKept(self) -> None:
        before = residentBytes(self.node)
        with Client(self.node) as client, client.sending(b"X" * 20_000_000 + b"\r\nNOOP\r\n"):
            self.assertEqual([client.answer(), client.answer()], [500, 200])
        self.assertLess(residentBytes(self.node) - before, 5_000_000)

    def test_telnetIsAnsweredAndHeldToItsBounds(self) -> None:
        before = residentBytes(self.node)
        with Client(self.node) as client:
            with client.sending(b"\xff\xfb\x01\xff\xfd\x03" * 100_000 + b"NOOP\r\n"):
                answers = client.lines.read(600_000)
                self.assertEqual(answers, b"\xff\xfe\x01\xff\xfc\x03" * 100_000)
                self.assertEqual(client.answer(), 200)
            with client.sending(b"\xff\xfa\x18" + b"x" * 1_000_000 + b"\xff\xf0\r\nNOOP\r\n"):
                self.assertEqual([client.answer(), client.answer()], [500, 200])
            with client.sending(b"\xff\xf1" * 500_000 + b"\xff\xf4\xff\xf2NOOP\r\n\xff"):
                self.assertEqual(client.answer(), 200)
        self.assertLess(residentBytes(self.node) - before, 5_000_000)

    def test_commandsAtOnceAreAllAnsweredInOrder(self) -> None:
        before = residentBytes(self.node)
        with Client(self.node) as client, Bystander(self.node, "bob") as bystander:
            client.login()
            lines = ["NOOP", "PWD", "FEAT", "XYZZY", "SIZE none"] * choose(2000, 20_000)
            bystander.rest(0.2)
            took = bystander.during(
                lambda: self.assertEqual(self.codes(client, lines), ["200", "257", "211", "500", "550"])
            )
        figure(f"FTP: {len(lines)} commands at once: others waited {max(took) * 1000:.0f} ms at most")
        self.assertLess(sorted(took)[len(took) // 2], HURRY_SECONDS / 10)
        self.assertLess(residentBytes(self.node) - before, 10_000_000)

    @staticmethod
    def codes(client: Client, lines: Sequence[str]) -> list[str]:
        """The codes of five answers, which have to come again and again."""
        codes = [answer[:3] for answer in client.sayAll(lines)]
        assert all(code == codes[index % 5] for index, code in enumerate(codes))
        return codes[:5]

    def test_namesSmuggleNoCommand(self) -> None:
        (self.place / "mine").write_bytes(b"mine")
        with Client(self.node) as client:
            client.login()
            for separator in ("\r", "\0", "\r\r", "\r\0", "\u2028", "\x0b", "\x85", "%0d%0a", "\\r\\n"):
                self.assertIn(client.say(f"MKD x{separator}DELE mine"), (257, 500, 553), repr(separator))
                self.assertIn("mine", client.sayAll(["MLST mine"])[0])
                self.assertEqual(client.say("NOOP"), 200)
            for name in ("226 done", "250-facts", '"quoted" 257 ""', "a\nb", "\x1b[2J", "caf\udce9", "\udcff"):
                path = self.place / name
                path.write_bytes(b"")
                for command in (f"STAT {name}", "STAT /", f"MLST {name}", f"CWD {name}"):
                    if "\n" not in command:
                        answer = client.sayAll([command])[0].split("\r\n")[:-1]
                        codes = {line[:3] for line in answer if line[:1].isdigit()}
                        self.assertEqual(len(codes), 1, (command, answer))
                        self.assertNotIn("\n", "".join(answer))
                self.assertEqual(client.say("NOOP"), 200)

    def test_deepFoldersAndPatternsCostLittle(self) -> None:
        for number in range(200):
            (self.place / ("a" * 200 + str(number))).write_bytes(b"")
        with Client(self.node) as client:
            client.login()
            for path in ("d/" * 2000, "../" * 2000, "/" * 6000, "./" * 3000, "d/../" * 1500, "x" * 256, "d/" * 100_000):
                begun = time.monotonic()
                for verb in ("CWD", "SIZE", "MLST", "STAT", "MKD"):
                    self.assertIn(client.say(f"{verb} {path}"), (212, 250, 500, 550, 553), path[:10])
                self.assertLess(time.monotonic() - begun, HURRY_SECONDS)
                client.say("CWD /")
            self.assertEqual(client.sayAll(["PWD"])[0][:7], '257 "/"')
            for pattern in (
                *(
                    "*a" * 100 + "b",
                    "*" * 200 + "b",
                    "a*" * 100 + "b",
                    "?*" * 100,
                    "[" * 200,
                    "[a-z]*" * 40 + "b",
                    "[!",
                ),
                *("*/*/*/*", "*/../*/../*", "{a,b}" * 40, "(a+)+$", "[]-a]*", "[z-a]", "**/**", "\\*" * 50),
            ):
                begun = time.monotonic()
                for verb in ("LIST", "NLST", "STAT"):
                    if verb == "STAT":
                        self.assertIn(client.say(f"STAT {pattern}"), (212, 550, 553), pattern[:20])
                    else:
                        self.assertRegex(client.fetch(f"{verb} {pattern}"), b"(?s)(226|550|553) [^\r]*\r\n\\Z")
                self.assertLess(time.monotonic() - begun, HURRY_SECONDS, pattern[:20])

    def test_numbersAreHeldToTheirBounds(self) -> None:
        (self.place / "mine").write_bytes(b"0123456789")
        huge = str(2**63)
        with Client(self.node) as client:
            client.login()
            for line, code in (
                *((f"REST {number}", 501) for number in ("-1", huge, "9" * 40, "1.5", "0x10", "\u0661", "1 2", "")),
                *((f"ALLO {number}", 501) for number in ("-1", "9" * 40, "x", "1 R", "1 R -1")),
                *(
                    (f"MFMT {when} mine", 501)
                    for when in ("1", "20201301000000", "99999999999999", "2020010100000", "-" * 14)
                ),
                *((f"TYPE {kind}", 504) for kind in ("E", "A T", "L 36", "I I")),
                *((f"SITE CHMOD {mode} mine", 501) for mode in ("-1", "888", "77777", "7" * 50, "u+s")),
            ):
                self.assertEqual(client.say(line), code, line)
            for offset in (11, 2**62, 2**63 - 1):
                for command in ("RETR mine", "STOR mine"):
                    self.assertEqual(client.say(f"REST {offset}"), 350)
                    self.assertIn(b"554", client.fetch(command), (command, offset))
            self.assertEqual(client.say("REST 4"), 350)
            self.assertEqual(client.fetch("RETR mine")[:6], b"456789")
            self.assertEqual(client.say(f"ALLO {2**63 - 1}"), 202)
            self.assertEqual(client.send("STOR much", b"little"), 226)
            self.assertEqual([client.say("TYPE A"), client.say("SIZE mine"), client.say("REST 4")], [200, 550, 504])
        self.assertEqual((self.place / "mine").read_bytes(), b"0123456789")


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
