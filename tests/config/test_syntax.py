"""The syntax of single values."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config import _syntax as syntax

from .samples import ARGON2, BCRYPT, PUBLIC_KEYS, SHA512, certificate, wireKey


class SyntaxTests(SynchronousTestCase):
    def good(self, check: Callable[[str], str | None], values: Iterable[str]) -> None:
        for value in values:
            self.assertIsNone(check(value), value)

    def bad(self, check: Callable[[str], str | None], values: Iterable[str]) -> None:
        for value in values:
            fault = check(value)
            assert fault is not None, value
            self.assertNotIn("\n", fault)
            self.assertLess(len(fault), 300)

    def test_names(self) -> None:
        self.good(syntax.nameFault, ["a", "A.b_c-d@e", "0", "x" * 64])
        self.bad(
            syntax.nameFault, ["", ".a", "-a", "_a", "@a", "a b", "a/b", "a\n", "a\0", "x" * 65, "é", "../x", "a\u200b"]
        )

    def test_networks(self) -> None:
        self.good(syntax.networkFault, ["192.0.2.0/24", "192.0.2.1", "2001:db8::/32", "::1", "0.0.0.0/0"])
        self.bad(syntax.networkFault, ["", "192.0.2.1/24", "192.0.2.0/33", "example.org", "192.0.2", "1/2/3", "::/129"])
        self.bad(syntax.networkFault, ["fe80::1%eth0", "fe80::1%a\nb"])

    def test_addresses(self) -> None:
        self.good(syntax.addressFault, ["192.0.2.1", "2001:db8::1", "node-a", "node-a.example.org", "a" * 63 + ".org"])
        self.good(syntax.addressFault, ["fe80::1%eth0"])
        self.bad(
            syntax.addressFault, ["fe80::1%a\nb", "fe80::1%", "192.0.2.1%eth0", "a%b", "fe80::1%a%b", "fe80::/10%a"]
        )
        self.bad(
            syntax.addressFault, ["", "192.0.2.0/24", "-a.org", "a..b", "a b", "a_b", "x" * 64, "a.b" * 100, "a:8789"]
        )

    def test_ports(self) -> None:
        for port in (1, 65535):
            self.assertIsNone(syntax.portFault(port))
        for port in (0, -1, 65536):
            self.assertEqual(syntax.portFault(port), f"{port} is not a port: expected 1 to 65535")

    def test_mountPaths(self) -> None:
        self.good(syntax.mountPathFault, ["/", "/a", "/a/b c", "/é", "/..."])
        self.bad(
            syntax.mountPathFault,
            ["", "a", "//", "/a/", "/a//b", "/a/../b", "/.", "/a\0b", "/.cftpcluster-x", "/" + "x" * 256],
        )
        self.bad(syntax.mountPathFault, ["/x" * 3000])

    def test_folders(self) -> None:
        self.good(syntax.folderFault, ["", "a", "a/b", "..."])
        self.bad(
            syntax.folderFault,
            ["/", "/a", "a/", "..", "a/../b", "./a", "a//b", "a\0", ".cftpcluster-part-1", "é" * 128],
        )

    def test_passwordHashes(self) -> None:
        self.good(syntax.passwordHashFault, ["", ARGON2, BCRYPT, SHA512, SHA512.replace("rounds=5000$", "")])
        self.bad(
            syntax.passwordHashFault,
            [
                "secret",
                "$1$salt$hash",
                "$5$x$y",
                ARGON2.replace("argon2id", "argon2i"),
                ARGON2 + "!",
                BCRYPT[:-1],
                BCRYPT.replace("$2b$", "$2z$"),
                ARGON2.replace("v=19", "v=16"),
                SHA512 + "\n",
                "{SSHA}abc",
            ],
        )

    def test_costsOfPasswordHashesAreBounded(self) -> None:
        expensive = [
            ARGON2.replace("m=65536", "m=4194304"),
            ARGON2.replace("m=65536", "m=8"),
            ARGON2.replace("t=3", "t=0"),
            ARGON2.replace("t=3", "t=999"),
            ARGON2.replace("p=4", "p=0"),
            ARGON2.replace("p=4", "p=99"),
            BCRYPT.replace("$12$", "$31$"),
            BCRYPT.replace("$12$", "$00$"),
            SHA512.replace("5000", "999999999"),
        ]
        for text in expensive:
            self.assertEqual(syntax.passwordHashFault(text), "is a password hash with parameters out of bounds", text)

    def test_passwordHashesAreNotShown(self) -> None:
        self.assertNotIn("hunter2", str(syntax.passwordHashFault("hunter2")))

    def test_publicKeys(self) -> None:
        self.good(syntax.publicKeyFault, PUBLIC_KEYS)
        point = b"\x04" + bytes(64)
        self.good(
            syntax.publicKeyFault,
            [
                wireKey("sk-ssh-ed25519@openssh.com", bytes(32), b"ssh:"),
                wireKey("sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", point, b"ssh:"),
            ],
        )

    def test_publicKeysWithOptionsThatAreKept(self) -> None:
        key = PUBLIC_KEYS[0]
        self.good(
            syntax.publicKeyFault,
            [
                f'from="192.0.2.0/24,!192.0.2.7,2001:db8::*" {key}',
                f'restrict,expiry-time="20270131" {key}',
                f'no-pty,No-X11-Forwarding,expiry-time="202701312359Z",from="::1"  {key} alice@home',
            ],
        )

    def test_damagedPublicKeys(self) -> None:
        kind, blob = PUBLIC_KEYS[0].split()
        self.bad(
            syntax.publicKeyFault,
            [
                "",
                "x",
                kind,
                f"{kind} %%%",
                f"{kind} {blob[:-8]}",
                f"{kind} {blob}AAAA",
                f"ssh-rsa {blob}",
                f"{kind}\n{blob}",
                f'command="id" {kind} {blob}',
                f'from="192.0.2.1"{kind} {blob}',
                f'from="192.0.2.1 {kind} {blob}',
                f'from="partner.example" {kind} {blob}',
                f'from="" {kind} {blob}',
                f'from="192.0.2.1",from="::1" {kind} {blob}',
                f"from {kind} {blob}",
                f"restrict, {kind} {blob}",
                f'restrict="x" {kind} {blob}',
                f"cert-authority {kind} {blob}",
                f'expiry-time="tomorrow" {kind} {blob}',
                f'expiry-time="20270230" {kind} {blob}',
                f'expiry-time="2027013112" {kind} {blob}',
                f"{kind} {blob}\nssh-rsa x",
                f"ssh-dss {blob}",
                "x" * 20000,
                wireKey("ssh-ed25519", bytes(31)),
                wireKey("ssh-ed25519", bytes(32), b"more"),
                wireKey("ssh-rsa", b"\x01\x00\x01", b"\x00" + b"\xff" * 128),
                wireKey("ssh-rsa", b"\x03", b"\xff" * 9000),
                wireKey("ecdsa-sha2-nistp256", b"nistp384", bytes(97)),
                wireKey("ecdsa-sha2-nistp256", b"nistp256", bytes(64)),
            ],
        )

    def test_chains(self) -> None:
        self.good(syntax.chainFault, [certificate(), certificate() + certificate()])
        self.bad(syntax.chainFault, ["", "x", certificate()[:-40], certificate().replace("CERTIFICATE", "PRIVATE KEY")])

    def test_fingerprints(self) -> None:
        self.good(syntax.fingerprintFault, ["ab" * 32])
        self.bad(syntax.fingerprintFault, ["", "AB" * 32, "ab" * 31, "ab:" * 32, "ab" * 32 + "\n"])
