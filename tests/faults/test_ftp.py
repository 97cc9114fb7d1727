"""What strangers do to the FTP ports of a real node, and users with commands: bounces, thefts, guesses, floods."""

from __future__ import annotations

import itertools
import socket
import ssl
import time
from collections.abc import Sequence

from cftpcluster.servers.ftp.control import COMMANDS
from tests.integration.ftpserver import everything, reset

from .attackers import Bystander, elsewhere, isKeptOut, manyDescriptors
from .clusters import USER, descriptors, residentBytes, waitFor
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
)
from .scale import ENDURANCE, choose, figure, within

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

        waitFor("SFTP refuses the address too", lambda: isKeptOut(self.node, source))
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
