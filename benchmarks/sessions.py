#!/usr/bin/env python3
"""What log-ins, small files and idle sessions cost the server, beside other servers.

    sessions.py [--logins N] [--files N] [--idle N] [--only NAME ...] [--protocol NAME ...] [--folder FOLDER]

Starts a node, and whichever are installed of OpenSSH's sshd, an AsyncSSH server, vsftpd (as root alone) and pyftpdlib,
on loopback addresses. The clients are AsyncSSH, which must be installed for ``sftp``, and ftplib, in this process. For
each protocol and server it prints

- ``key`` and ``password``: log-ins a second with four at a time, and milliseconds of the server's processor for each:
  connect, key exchange or TLS, proof, SFTP session or the protection of data connections, end. Over SFTP passwords
  only where the server has them without an account of the system;
- ``up`` and ``down``: files of 1 KiB a second, one after the other in one session, and milliseconds of processor each;
- ``idle``: KiB of memory that one more session takes.

Protocols are ``ftp``, ``ftps`` (both connections over TLS) and ``sftp``.
"""

from __future__ import annotations

import argparse
import asyncio
import ftplib
import io
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from attrs import define
from servers import Bench, Server, bench, settled

AT_ONCE = 4
SMALL = b"x" * 1024
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE
SESSIONS_OF_A_SOURCE = 40
"""So many idle sessions come from one address: vsftpd takes no more than 50."""


@define
class SFTP:
    """Sessions of AsyncSSH; those without a key log in with a password."""

    server: Server
    key: Path | None

    async def logIn(self, source: str | None = None) -> Any:
        import asyncssh

        server = self.server
        proof = {"client_keys": [str(self.key)]} if self.key else {"password": server.password, "client_keys": None}
        connection = await asyncssh.connect(
            server.host,
            server.ports["sftp"],
            username=server.user,
            known_hosts=None,
            config=None,
            agent_path=None,
            local_addr=(source, 0) if source else None,
            **proof,
        )
        return connection, await connection.start_sftp_client()

    async def end(self, session: Any) -> None:
        session[0].close()
        await session[0].wait_closed()

    async def up(self, session: Any, name: str) -> None:
        async with session[1].open(name, "wb") as file:
            await file.write(SMALL)

    async def down(self, session: Any, name: str) -> bytes:
        async with session[1].open(name, "rb") as file:
            return bytes(await file.read())


class _Resuming(ftplib.FTP_TLS):
    """Data connections resume the session of the control connection, as those of most clients do."""

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> Any:
        connection, size = ftplib.FTP.ntransfercmd(self, cmd, rest)  # noqa: S321 - FTP is what is measured
        control: Any = self.sock
        return self.context.wrap_socket(connection, server_hostname=self.host, session=control.session), size


@define
class FTP:
    """Sessions of ftplib, each call in a thread."""

    server: Server
    secured: bool

    async def logIn(self, source: str | None = None) -> Any:
        return await asyncio.to_thread(self._logIn, source)

    def _logIn(self, source: str | None) -> ftplib.FTP:
        protocol, sourceAddress = "ftps" if self.secured else "ftp", (source, 0) if source else None
        client: Any = _Resuming(context=TLS) if self.secured else ftplib.FTP()  # noqa: S321
        client.connect(self.server.host, self.server.ports[protocol], 60, sourceAddress)
        if self.secured:
            client.auth()
        client.login(self.server.user, self.server.password)
        if self.secured:
            client.prot_p()
        client.voidcmd("TYPE I")
        return client  # type: ignore[no-any-return]

    async def end(self, session: Any) -> None:
        await asyncio.to_thread(session.quit)

    async def up(self, session: Any, name: str) -> None:
        await asyncio.to_thread(session.storbinary, f"STOR {name}", io.BytesIO(SMALL))

    async def down(self, session: Any, name: str) -> bytes:
        got: list[bytes] = []
        await asyncio.to_thread(session.retrbinary, f"RETR {name}", got.append)
        return b"".join(got)


async def timed(server: Server, count: int, work: Callable[[], Awaitable[None]]) -> str:
    """So many a second, and milliseconds of the server's processor for each."""
    cpu, begun = settled(server), time.monotonic()
    await work()
    seconds = time.monotonic() - begun
    return f"{count / seconds:6.0f}/s {(settled(server) - cpu) * 1000 / count:6.2f} ms"


async def logIns(client: SFTP | FTP, count: int) -> None:
    async def some() -> None:
        for _ in range(count // AT_ONCE):
            await client.end(await client.logIn())

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))


async def measure(made: Bench, server: Server, protocol: str, options: argparse.Namespace) -> None:
    def tell(name: str, figure: str) -> None:
        print(f"{server.name:<13}{protocol:<6}{name:<9}{figure}", flush=True)

    client: SFTP | FTP = SFTP(server, made.key) if protocol == "sftp" else FTP(server, protocol == "ftps")
    await client.end(await client.logIn())
    first = await timed(server, options.logins, lambda: logIns(client, options.logins))
    tell("key" if protocol == "sftp" else "password", first)
    if protocol == "sftp" and server.password:
        other = SFTP(server, None)
        tell("password", await timed(server, options.logins, lambda: logIns(other, options.logins)))
    session = await client.logIn()
    base = server.folder.rstrip("/")

    async def up() -> None:
        for number in range(options.files):
            await client.up(session, f"{base}/{number}.bin")

    async def down() -> None:
        for number in range(options.files):
            if await client.down(session, f"{base}/{number}.bin") != SMALL:
                raise RuntimeError(f"{server.name} lost something")

    tell("up", await timed(server, options.files, up))
    tell("down", await timed(server, options.files, down))
    await client.end(session)
    before = server.memoryBytes()
    idle = [await client.logIn(f"127.43.0.{1 + number // SESSIONS_OF_A_SOURCE}") for number in range(options.idle)]
    tell("idle", f"{(server.memoryBytes() - before) / max(options.idle, 1) / 1024:6.0f} KiB")
    for each in idle:
        await client.end(each)


async def measureAll(options: argparse.Namespace) -> None:
    for protocol in options.protocol:
        # Anew for each: what was used before is there to be used again, and would not be counted.
        with bench(options.folder, options.only) as made:
            for server in made.servers:
                if protocol in server.ports:
                    await measure(made, server, protocol, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logins", type=int, default=200)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--idle", type=int, default=500)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--protocol", nargs="*", default=["ftp", "ftps", "sftp"])
    parser.add_argument("--folder", default=".")
    asyncio.run(measureAll(parser.parse_args()))


if __name__ == "__main__":
    main()
