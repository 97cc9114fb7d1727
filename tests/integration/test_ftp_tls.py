"""What an FTP listener asks of TLS: client certificates as a log-in, resumed sessions, one certificate of several."""

from __future__ import annotations

import contextlib
import datetime
import ssl
import subprocess
from functools import partial
from pathlib import Path
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail

from cftpcluster.auth.credentials import CertificateLogin, MoreNeeded, PasswordLogin
from cftpcluster.auth.steps import Proof
from cftpcluster.servers.ftp import FTPOptions
from cftpcluster.servers.tls import ServerTLS
from tests.servers.ftp import support

from .clients import needs
from .ftpserver import ServerCase, Talker

PORTS = "51000-51999"


class Authority:
    """Signs certificates; where it is signed by itself, its own is :attr:`pem`."""

    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.pem = self._sign(self.name, self.key, True, []).decode()

    def _sign(self, subject: x509.Name, key: Any, isAuthority: bool, hosts: list[str]) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(isAuthority, None), critical=True)
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in hosts]), False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def issue(self, name: str, *hosts: str) -> tuple[bytes, bytes]:
        """A certificate for ``name``, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return self._sign(subject, key, False, list(hosts)), private


AUTHORITY, STRANGE = Authority("ours"), Authority("ours")


class CertifiedUsers(support.Users):
    """Users who may come with a certificate; ``wary`` has to say a password, too."""

    def _decide(self, credentials: Any, mind: Any) -> Deferred[Any]:
        if not isinstance(credentials, CertificateLogin):
            return super()._decide(credentials, mind)
        if credentials.name == "wary":
            return fail(MoreNeeded(Proof("wary", ("certificate",), 1), ["password"]))
        if credentials.name not in credentials.names or credentials.name not in self.passwords:
            return fail(UnauthorizedLogin())
        known = PasswordLogin(credentials.name, self.passwords[credentials.name], mind)
        return super()._decide(known, mind)


class TLSCase(ServerCase):
    def setUp(self) -> None:
        super().setUp()
        self.users = CertifiedUsers(self.users.backend)
        self.server.portal = cast("Any", self.users)
        self.users.passwords["wary"] = b"secret"
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def talker(self, name: str | None = None, authority: Authority = AUTHORITY, **more: Any) -> Talker:
        """A client that shows a certificate, after its handshake."""
        client = Talker(self.port, **more)
        if name is not None:
            certificate, key = authority.issue(name)
            (self.folder / "pem").write_bytes(certificate + key)
            client.context.load_cert_chain(self.folder / "pem")
        client.secure()
        return client


class ClientCertificateTests(TLSCase):
    options = FTPOptions(clientCertificates="optional", clientAuthorities=AUTHORITY.pem, passivePorts=PORTS)

    async def test_theCertificateIsTheLogIn(self) -> None:
        def use() -> tuple[int, int, bytes]:
            with self.talker("alice") as client:
                code = client.say("USER alice")
                client.protect()
                data = client.open("STOR /x")
                data.sendall(b"abc")
                data.unwrap()  # type: ignore[attr-defined]
                data.close()
                return code, client.answer(), b""

        self.assertEqual((await self.inThread(use))[:2], (232, 226))
        self.assertEqual(await self.get("/x"), b"abc")

    async def test_itIsForNobodyElse(self) -> None:
        def use() -> list[int]:
            with self.talker("alice") as client:
                return [client.say("USER bob"), client.say("PASS wrong"), client.say("PWD")]

        self.assertEqual(await self.inThread(use), [331, 530, 530])

    async def test_aPasswordMayHaveToFollow(self) -> None:
        def use() -> list[int]:
            with self.talker("wary") as client:
                return [client.say("USER wary"), client.say("PWD"), client.say("PASS secret"), client.say("PWD")]

        self.assertEqual(await self.inThread(use), [331, 530, 230, 257])
        self.assertEqual(self.users.logins[-1].before.methods, ("certificate",))

    async def test_withoutOneAPasswordDoes(self) -> None:
        def use() -> list[int]:
            with self.talker() as client:
                return [client.say("USER alice"), client.say("PASS secret")]

        self.assertEqual(await self.inThread(use), [331, 230])

    async def test_anotherAuthoritysIsRefusedInTheHandshake(self) -> None:
        def use() -> int:
            try:
                with self.talker("alice", STRANGE) as client:
                    return client.say("USER alice")
            except OSError:
                return 0

        self.assertEqual(await self.inThread(use), 0)
        self.assertEqual(self.users.logins, [])

    @needs("curl")
    async def test_curlLogsInByIt(self) -> None:
        await self.put("/x", b"abc")
        certificate, key = AUTHORITY.issue("alice")
        pem = self.folder / "curl.pem"
        pem.write_bytes(certificate + key)
        for newest in ("1.2", "1.3"):
            command = ["curl", "-sSk", "--ssl-reqd", "--tls-max", newest, "--cert", str(pem), "-u", "alice:"]
            url = f"ftp://127.0.0.1:{self.port}/x"
            done = await self.inThread(partial(subprocess.run, [*command, url], capture_output=True, timeout=20))
            self.assertEqual((done.stdout, done.stderr), (b"abc", b""))
        self.assertEqual([type(login) for login in self.users.logins], [CertificateLogin] * 2)


class RequiredCertificateTests(TLSCase):
    options = FTPOptions(
        tls="optional", clientCertificates="required", clientAuthorities=AUTHORITY.pem, passivePorts=PORTS
    )

    async def test_nobodyLogsInWithoutOne(self) -> None:
        def use() -> tuple[int, int, int, int]:
            with Talker(self.port) as clear:
                codes = clear.say("USER alice"), clear.say("PASS secret")
            try:
                with self.talker() as client:
                    without = client.say("USER alice")
            except OSError:
                without = 0
            with self.talker("alice") as client:
                return *codes, without, client.say("USER alice")

        self.assertEqual(await self.inThread(use), (530, 503, 0, 232))


VERSIONS = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


class SessionReuseCase(ServerCase):
    async def setUpFile(self) -> None:
        await self.put("/x", b"abc")

    def download(self, newest: ssl.TLSVersion, *, resumes: bool, tickets: bool = True) -> tuple[int, bool]:
        """How the server answers, and whether the data connection was resumed in the end."""
        client = Talker(self.port, newest=newest)
        if not tickets:
            client.context.options |= ssl.OP_NO_TICKET
        with client.login(tls=True):
            data = client.connect(client.passive())
            assert client.say("RETR /x") == 150
            assert isinstance(client.socket, ssl.SSLSocket)
            isResumed = False
            try:
                with client.context.wrap_socket(data, session=client.socket.session if resumes else None) as secured:
                    isResumed = bool(secured.session_reused)
                    secured.recv(10)
            except OSError:
                pass
            return client.answer(), isResumed


class RequiredReuseTests(SessionReuseCase):
    options = FTPOptions(tlsSessionReuse="required", passivePorts=PORTS)

    async def test_clientsThatResumeAreServed(self) -> None:
        """With tickets and without: those that have the server remember, as curl does with TLS 1.2."""
        await self.setUpFile()
        for newest in VERSIONS:
            for tickets in (True, False):
                found = await self.inThread(partial(self.download, newest, resumes=True, tickets=tickets))
                self.assertEqual(found, (226, True), (newest, tickets))

    async def test_othersAreRefused(self) -> None:
        await self.setUpFile()
        for newest in VERSIONS:
            found = await self.inThread(partial(self.download, newest, resumes=False))
            self.assertEqual(found[0], 522, newest)

    async def test_theReasonIsToldToACommandThatComesLater(self) -> None:
        def use() -> list[int]:
            with Talker(self.port).login(tls=True) as client:
                data = client.context.wrap_socket(client.connect(client.passive()))
                with contextlib.suppress(OSError):
                    data.recv(1)
                return [client.say("RETR /x"), client.answer(), client.say("RETR /x")]

        await self.setUpFile()
        self.assertEqual(await self.inThread(use), [150, 522, 425])

    async def test_theSessionOfSomebodyElseIsNoGood(self) -> None:
        """Nor that of another control connection."""

        def steal() -> int:
            with Talker(self.port, newest=ssl.TLSVersion.TLSv1_2).login(tls=True) as other:
                assert isinstance(other.socket, ssl.SSLSocket)
                with Talker(self.port, newest=ssl.TLSVersion.TLSv1_2).login(tls=True) as client:
                    data = client.connect(client.passive())
                    assert client.say("RETR /x") == 150
                    with contextlib.suppress(OSError):
                        other.context.wrap_socket(data, session=other.socket.session).close()
                    return client.answer()

        await self.setUpFile()
        self.assertEqual(await self.inThread(steal), 522)

    @needs("curl", "lftp", "wget")
    async def test_curlLftpAndWgetAreServed(self) -> None:
        await self.setUpFile()
        url = f"ftp://127.0.0.1:{self.port}/x"
        lftp = f"set ssl:verify-certificate no; set ftp:ssl-force yes; set ftp:ssl-protect-data yes; cat {url}"
        for command in (
            ["curl", "--tls-max", "1.2", "-sSk", "--ssl-reqd", "-u", "alice:secret", url],
            ["curl", "--tls-max", "1.3", "-sSk", "--ssl-reqd", "-u", "alice:secret", url],
            ["lftp", "--norc", "-c", lftp.replace("//", "//alice:secret@")],
            ["wget", "-qO-", "-t1", "--no-check-certificate", url.replace("ftp://", "ftps://alice:secret@")],
        ):
            done = await self.inThread(partial(subprocess.run, command, capture_output=True, timeout=20))
            self.assertEqual((done.returncode, done.stdout), (0, b"abc"), (command, done.stderr))


class NoReuseTests(SessionReuseCase):
    options = FTPOptions(tlsSessionReuse="off", passivePorts=PORTS)

    async def test_nothingIsResumed(self) -> None:
        await self.setUpFile()
        for newest in VERSIONS:
            for tickets in (True, False):
                found = await self.inThread(partial(self.download, newest, resumes=True, tickets=tickets))
                self.assertEqual(found, (226, False), (newest, tickets))


class SeveralCertificatesTests(TLSCase):
    def setUp(self) -> None:
        super().setUp()
        certificates = [ServerTLS(*AUTHORITY.issue(name, name)) for name in ("b.example", "*.c.example")]
        self.server.tls = ServerTLS(
            *AUTHORITY.issue("a.example", "a.example"),
            lambda name: next((each for each in certificates if each.isFor(name)), None),
        )

    async def test_theNameThatIsAskedForChooses(self) -> None:
        def shown(asked: str | None) -> str:
            client = Talker(self.port)
            assert client.say("AUTH TLS") == 234
            with client.context.wrap_socket(client.socket, server_hostname=asked) as tls:
                certificate = x509.load_der_x509_certificate(tls.getpeercert(True) or b"")
            client.lines.close()
            return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)

        for asked, expected in (
            (None, "a.example"),
            ("a.example", "a.example"),
            ("B.example", "b.example"),
            ("x.c.example", "*.c.example"),
            ("x.y.c.example", "a.example"),
            ("c.example", "a.example"),
            ("unknown.example", "a.example"),
        ):
            self.assertEqual(await self.inThread(shown, asked), expected, asked)
