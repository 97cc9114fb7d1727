"""What strangers send to the SSH listener of a real node, and how many of them there may be."""

from __future__ import annotations

import os
import socket
import struct
import time

from tests.servers.ssh import scripted
from tests.servers.ssh.scripted import asking, kexInit, opening, sending, string, uint32

from .attackers import (
    HURRIED_PORT,
    HURRIED_SECONDS,
    PORT,
    SFTP,
    Attacker,
    SSHCase,
    elsewhere,
    isKeptOut,
    manyDescriptors,
)
from .clusters import PASSWORD, descriptors, residentBytes, waitFor
from .scale import choose, figure, within

OPENED = {scripted.OPEN_CONFIRMATION, scripted.CHANNEL_SUCCESS, scripted.CHANNEL_DATA, scripted.USERAUTH_SUCCESS}
"""What nobody gets who has not logged in."""

FORBIDDEN = [
    bytes((scripted.USERAUTH_SUCCESS,)),
    bytes((scripted.INFO_REQUEST,)) + string(b"") * 3 + uint32(0),
    bytes((scripted.INFO_RESPONSE,)) + uint32(1) + string(PASSWORD.encode()),
    bytes((scripted.GLOBAL_REQUEST,)) + string(b"tcpip-forward") + b"\1" + string(b"") + uint32(0),
    bytes((scripted.REQUEST_SUCCESS,)),
    opening(),
    opening(b"direct-tcpip"),
    bytes((scripted.OPEN_CONFIRMATION,)) + uint32(0) * 4,
    bytes((scripted.WINDOW_ADJUST,)) + uint32(0) + uint32(1),
    sending(0, b"x"),
    asking(0, b"exec", string(b"id")),
    asking(0, b"subsystem", string(b"sftp")),
    bytes((scripted.CHANNEL_EOF,)) + uint32(0),
    bytes((scripted.CHANNEL_CLOSE,)) + uint32(0),
    bytes((128,)),
    bytes((192,)) + string(b"ping"),
    bytes((255,)),
]
"""Messages that belong to a later stage, or to none."""


def garbage() -> dict[str, bytes]:
    """What may come in place of a conversation."""
    version, key = b"SSH-2.0-x\r\n", scripted.Way().seal
    return {
        "nothing but a newline": b"\r\n",
        "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "TLS": b"\x16\x03\x01\x02\0\1\0\1\xfc\3\3" + bytes(508),
        "SSH 1": b"SSH-1.5-x\r\n",
        "a version that never ends": b"SSH-2.0-" + b"x" * 1_000_000,
        "a version with NUL": b"SSH-2.0-x\0y\r\n",
        "a packet of 4 GiB": version + b"\xff" * 4 + bytes(1000),
        "a packet of nothing": version + bytes(64),
        "a KEXINIT that is cut": version + key(kexInit()[:40]),
        "a KEXINIT whose lengths lie": version + key(bytes((scripted.KEXINIT,)) + bytes(16) + b"\xff" * 40),
        "a KEXINIT of 30,000 names": version + key(kexInit([b"x"] * 15_000, [b"y"] * 1000)),
        "padding that is longer than its packet": version + struct.pack(">IB", 12, 200) + bytes(11),
        "random bytes after the version": version + os.urandom(40_000),
        "random bytes": os.urandom(40_000),
    }


class StrangerTests(SSHCase):
    def test_messagesOfLaterStagesEndTheConnection(self) -> None:
        for stage in ("at once", "with keys", "with the service"):
            for message in FORBIDDEN:
                with Attacker(self.node, exchanges=stage != "at once") as attacker:
                    attacker.client.start()
                    if stage != "at once":
                        attacker.until(lambda client=attacker.client: client.keyed)
                    if stage == "with the service":
                        attacker.requestService()
                    # Whoever was let in by the first gets what it asks for next.
                    attacker.send(message, opening(), asking(0, b"subsystem", string(b"sftp")))
                    said = attacker.ended()
                    self.assertFalse(OPENED & set(attacker.client.whatCame), (stage, message))
                    self.assertIn(scripted.DISCONNECT, attacker.client.whatCame, (stage, message))
                    self.assertTrue(said, (stage, message))
        self.assertServes()

    def test_strictKeyExchange(self) -> None:
        def countedOf(strict: bool) -> int:
            """The number that the server gave to the first packet under the new keys."""
            with Attacker(self.node, strict=strict) as attacker:
                attacker.exchangeKeys()
                self.assertEqual(attacker.client.isStrict, strict)
                attacker.send(bytes((9,)))
                return int.from_bytes(attacker.answer(scripted.UNIMPLEMENTED)[1:5], "big")

        self.assertEqual((countedOf(True), countedOf(False)), (0, 3))
        for early in (True, False):
            with Attacker(self.node, exchanges=False) as attacker:
                attacker.client.start()
                ignored = bytes((scripted.IGNORE,)) + string(b"")
                attacker.send(*((ignored, kexInit()) if early else (kexInit(), ignored)))
                self.assertTrue(attacker.ended())
        with Attacker(self.node, strict=False) as attacker:
            attacker.client.start()
            attacker.send(ignored)
            attacker.until(lambda: attacker.client.keyed)
            attacker.requestService()

    def test_garbage(self) -> None:
        before = residentBytes(self.node)
        for name, data in garbage().items():
            with socket.create_connection((self.node.address, PORT), 60, (elsewhere(), 0)) as connection:
                try:
                    connection.sendall(data)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass
                except OSError:
                    pass  # ended before all was sent
            self.assertLess(residentBytes(self.node) - before, 5 << 20, name)
        self.assertServes()

    def test_manyMessagesThatMeanNothing(self) -> None:
        with Attacker(self.node, strict=False) as attacker:
            attacker.client.start()
            attacker.until(lambda: attacker.client.keyed)
            before = residentBytes(self.node)
            for number in (scripted.IGNORE, scripted.DEBUG, scripted.UNIMPLEMENTED, 8, 19):
                attacker.send(*[bytes((number,)) + string(bytes(100))] * 3000)
            attacker.requestService()
            grown = residentBytes(self.node) - before
        figure(f"15,000 messages that mean nothing: {grown / 1e6:.1f} MB")
        self.assertLess(grown, 5 << 20)
        with SFTP(self.node) as sftp:
            ping = bytes((192,)) + string(bytes(100))
            sftp.send(*[ping] * 3000)
            sftp.list()
        self.assertLess(residentBytes(self.node) - before, 5 << 20)


class PasswordTests(SSHCase):
    TRICKS = (
        (b"carol\0", PASSWORD.encode()),
        (b"carol\0x", PASSWORD.encode()),
        (b"carol\n", PASSWORD.encode()),
        (b"carol ", PASSWORD.encode()),
        (b"carol/", PASSWORD.encode()),
        (b"../carol", PASSWORD.encode()),
        (b"CAROL", PASSWORD.encode()),
        (b"", PASSWORD.encode()),
        (b"carol\xff", PASSWORD.encode()),
        (b"c" * 30_000, PASSWORD.encode()),
        (b"${jndi:ldap://127.0.0.1/a}", PASSWORD.encode()),
        (b"' OR 1=1 --", PASSWORD.encode()),
        (b"carol", PASSWORD.encode() + b"\0"),
        (b"carol", PASSWORD.encode() + b"\n"),
        (b"carol", PASSWORD.encode()[:-1]),
        (b"carol", b""),
        (b"carol", b"x" * 30_000),
        (b"carol", PASSWORD.encode() + b"\0" + b"x" * 10_000),
    )

    def test_namesAndPasswordsAreTakenByteByByte(self) -> None:
        attackers = [Attacker(self.node).exchangeKeys().requestService() for _ in self.TRICKS]
        # At the same time: a refusal takes a second.
        for attacker, (name, secret) in zip(attackers, self.TRICKS, strict=True):
            attacker.send(scripted.password(name, secret))
        for attacker, trick in zip(attackers, self.TRICKS, strict=True):
            with attacker:
                answer = attacker.answer(scripted.USERAUTH_SUCCESS, scripted.USERAUTH_FAILURE)
                self.assertEqual(answer[0], scripted.USERAUTH_FAILURE, trick)
        lines = self.node.log[self.logged :].splitlines()
        self.assertEqual([line for line in lines if not line[:4].isdigit()], [])

    def test_sixAttemptsThenTheAddressIsBanned(self) -> None:
        source = elsewhere()
        attackers = [Attacker(self.node, source=source).exchangeKeys().requestService() for _ in range(2)]
        for number, attacker in enumerate(attackers):
            # All at once, and each for another name, since a name that fails often is delayed.
            attacker.send(*[scripted.password(b"%d-%d" % (number, attempt), b"wrong") for attempt in range(8)])
        for attacker in attackers:
            with attacker:
                self.assertTrue(attacker.ended())
                self.assertLess(attacker.client.whatCame.count(scripted.USERAUTH_FAILURE), 6)

        waitFor("the ban", lambda: isKeptOut(self.node, source), within(5))
        self.assertLess(self.logInSeconds(), choose(10, 2))


class CrowdTests(SSHCase):
    def test_silentSocketsKeepNobodyOut(self) -> None:
        with manyDescriptors():
            self._crowd(2000, HURRIED_PORT)
        self.assertServes()

    def _crowd(self, count: int, port: int) -> None:
        sockets: list[socket.socket] = []
        before, openBefore = residentBytes(self.node), descriptors(self.node)
        begun = time.monotonic()
        try:
            for number in range(count):
                # Half of them from one address, the others from a hundred.
                source = "127.35.77.1" if number % 2 else f"127.35.78.{number // 2 % 100 + 1}"
                sockets.append(socket.create_connection((self.node.address, port), 60, (source, 0)))
            figure(f"{count} silent sockets: connected in {time.monotonic() - begun:.1f} s")
            seconds = [self.logInSeconds(port) for _ in range(5)]
            figure(f"a log-in beside {count} silent sockets: {max(seconds):.2f} s at most")
            self.assertLess(sorted(seconds)[2], choose(10, 2))
            figure(f"{count} silent sockets: {(residentBytes(self.node) - before) / 1e6:.0f} MB")
            self.assertLess(descriptors(self.node) - openBefore, 600)
            waitFor("they are closed", lambda: descriptors(self.node) <= openBefore + 5, HURRIED_SECONDS + within(5))
            figure(f"{count} silent sockets, all closed {time.monotonic() - begun:.1f} s after the first")
        finally:
            for each in sockets:
                each.close()

    def test_halfOpenLogInsFromOneAddress(self) -> None:
        source = elsewhere()
        attackers = []
        try:
            for number in range(210):
                attacker = Attacker(self.node, source=source, exchanges=number % 4 < 2, port=HURRIED_PORT)
                attackers.append(attacker)
                if number % 4:
                    attacker.client.start()
            seconds = [self.logInSeconds(HURRIED_PORT) for _ in range(3)]
            figure(f"a log-in beside 210 that do not go on: {max(seconds):.2f} s at most")
            self.assertLess(sorted(seconds)[1], choose(10, 2))
        finally:
            for attacker in attackers:
                attacker.socket.close()


class RefusalTests(SSHCase):
    def test_everythingButFilesIsRefused(self) -> None:
        environment = string(b"LD_PRELOAD") + string(b"/tmp/x")
        terminal = string(b"xterm") + uint32(80) * 4 + string(b"")
        refused = {
            b"shell": b"",
            b"pty-req": terminal,
            b"env": environment,
            b"x11-req": b"\0" + string(b"MIT-MAGIC-COOKIE-1") + string(b"00") + uint32(0),
            b"auth-agent-req@openssh.com": b"",
            b"subsystem": string(b"netconf"),
        }
        with Attacker(self.node) as attacker:
            attacker.logIn()
            for kind, rest in (
                (b"direct-tcpip", string(b"127.0.0.1") + uint32(22) + string(b"127.0.0.1") + uint32(1)),
                (b"direct-streamlocal@openssh.com", string(b"/run/x") + string(b"") + uint32(0)),
                (b"forwarded-tcpip", b""),
                (b"x11", string(b"127.0.0.1") + uint32(1)),
                (b"auth-agent@openssh.com", b""),
                (b"tun@openssh.com", uint32(1) * 2),
                (b"", b""),
            ):
                attacker.send(opening(kind, rest=rest))
                answer = attacker.answer(scripted.OPEN_CONFIRMATION, scripted.OPEN_FAILURE)
                self.assertEqual(answer[0], scripted.OPEN_FAILURE, kind)
            for name, rest in (
                (b"tcpip-forward", string(b"0.0.0.0") + uint32(0)),
                (b"streamlocal-forward@openssh.com", string(b"/tmp/x")),
                (b"cancel-tcpip-forward", string(b"") + uint32(0)),
            ):
                attacker.send(bytes((scripted.GLOBAL_REQUEST,)) + string(name) + b"\1" + rest)
                answer = attacker.answer(scripted.REQUEST_SUCCESS, scripted.REQUEST_FAILURE)
                self.assertEqual(answer[0], scripted.REQUEST_FAILURE, name)
            for kind, rest in refused.items():
                attacker.send(opening())
                channel = int.from_bytes(attacker.answer(scripted.OPEN_CONFIRMATION)[5:9], "big")
                attacker.send(asking(channel, kind, rest))
                self.refusedOrEnded(attacker, kind)
                attacker.send(bytes((scripted.CHANNEL_CLOSE,)) + uint32(channel))

    def refusedOrEnded(self, attacker: Attacker, kind: bytes) -> None:
        """Shells may be told in words that there are none; whoever asks for one gets nothing else."""
        answer = attacker.answer(scripted.CHANNEL_SUCCESS, scripted.CHANNEL_FAILURE)
        if kind != b"shell":
            self.assertEqual(answer[0], scripted.CHANNEL_FAILURE, kind)
        elif answer[0] == scripted.CHANNEL_SUCCESS:
            attacker.answer(scripted.CHANNEL_EOF, scripted.CHANNEL_CLOSE)

    def test_otherProgramsAreNotRun(self) -> None:
        for command in (
            b"id",
            b"sh -c id",
            b"scp -S sh -f /",
            b"/bin/sh",
            b"md5sum /etc/passwd; id",
            b"echo $(id) `id`",
        ):
            with Attacker(self.node) as attacker:
                attacker.logIn()
                attacker.send(opening(), asking(0, b"exec", string(command)))
                said = b""
                attacker.send(bytes((scripted.CHANNEL_EOF,)) + uint32(0))
                while (message := self.next(attacker))[0] in (scripted.CHANNEL_DATA, scripted.EXTENDED_DATA):
                    said += message
                self.assertNotIn(b"uid=", said.replace(b"uid=$", b""), command)
                self.assertNotIn(b"root:", said, command)

    def next(self, attacker: Attacker) -> bytes:
        return attacker.answer(
            scripted.CHANNEL_DATA, scripted.EXTENDED_DATA, scripted.CHANNEL_FAILURE, scripted.CHANNEL_CLOSE
        )
