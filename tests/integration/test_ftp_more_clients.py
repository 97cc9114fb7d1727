"""FTP as clients use it that know no TLS, or only the old commands, or synchronise: ncftp, tnftp, wget, rclone; and as
FileZilla and WinSCP do."""

from __future__ import annotations

import ssl

from .clients import needs
from .ftpserver import Talker, everything
from .test_ftp_clients import CONTENTS, ClientCase


class OlderClientTests(ClientCase):
    @needs("ncftpget")
    async def test_ncftp(self) -> None:
        (self.folder / "x y").write_bytes(CONTENTS)
        login = ("-u", "alice", "-p", "secret", "-P", str(self.port))
        await self.run_("ncftpput", *login, "127.0.0.1", "/", "x y")
        self.assertEqual(await self.get("/x y"), CONTENTS)
        (self.folder / "back").mkdir()
        await self.run_("ncftpget", *login, "127.0.0.1", "back", "/x y")
        self.assertEqual((self.folder / "back" / "x y").read_bytes(), CONTENTS)
        self.assertIn("x y", await self.run_("ncftpls", *login, "ftp://127.0.0.1/"))

    @needs("tnftp")
    async def test_tnftp(self) -> None:
        (self.folder / "x").write_bytes(CONTENTS)
        url = f"ftp://alice:secret@127.0.0.1:{self.port}/"
        await self.run_("tnftp", "-u", url + "y", "x")
        self.assertEqual(await self.get("/y"), CONTENTS)
        await self.run_("tnftp", "-o", "z", url + "y")
        self.assertEqual((self.folder / "z").read_bytes(), CONTENTS)

    @needs("wget")
    async def test_wget(self) -> None:
        await self.put("/x", CONTENTS)
        (self.folder / "x").write_bytes(CONTENTS[:1000])
        await self.run_("wget", "-q", "-c", f"ftp://alice:secret@127.0.0.1:{self.port}/x")
        self.assertEqual((self.folder / "x").read_bytes(), CONTENTS)

    @needs("rclone")
    async def test_rclone(self) -> None:
        (self.folder / "tree" / "d é").mkdir(parents=True)
        for name in ("x", "d é/y 'z'"):
            (self.folder / "tree" / name).write_bytes(CONTENTS)
        secret = (await self.run_("rclone", "obscure", "secret")).strip()
        switches = ("--config", "/dev/null", "--ftp-explicit-tls", "--ftp-no-check-certificate", "--retries", "1")
        remote = f':ftp,host=127.0.0.1,port={self.port},user=alice,pass="{secret}":/there'
        await self.run_("rclone", "copy", *switches, "tree", remote)
        self.assertEqual(await self.get("/there/d é/y 'z'"), CONTENTS)
        await self.run_("rclone", "check", "--download", *switches, "tree", remote)


class LikeFileZillaTests(ClientCase):
    """One control connection for everything, with the commands in the order that FileZilla and WinSCP say them."""

    async def test_aSession(self) -> None:
        def use() -> tuple[list[int], bytes, str]:
            with Talker(self.port) as client:
                client.secure()
                codes = [client.say(line) for line in ("USER alice", "PASS secret", "CLNT x", "OPTS UTF8 ON", "FEAT")]
                codes += [client.say("OPTS MLST type;size;modify;"), client.say("PWD"), client.say("TYPE I")]
                client.protect()
                assert isinstance(client.socket, ssl.SSLSocket)
                data = client.open("STOR /d é")
                data.sendall(CONTENTS)
                assert isinstance(data, ssl.SSLSocket)
                data.unwrap().close()
                codes += [client.answer(), client.say("MFMT 20170714024000 /d é"), client.say("SITE CHMOD 640 /d é")]
                data = client.connect(client.passive())
                codes += [client.say("REST 1000"), client.say("RETR /d é")]
                data = client.context.wrap_socket(data, session=client.socket.session)
                rest = everything(data)
                data.close()
                codes += [client.answer(), client.say("NOOP")]
                return codes, rest, client.text

        codes, rest, text = await self.inThread(use)
        self.assertEqual(codes, [331, 230, 200, 200, 211, 200, 257, 200, 226, 213, 200, 350, 150, 226, 200], text)
        self.assertEqual(rest, CONTENTS[1000:])
