#!/usr/bin/env python3
"""What log-ins, small files and idle sessions cost the server, beside other servers.

    sessions.py [--logins N] [--files N] [--idle N] [--only NAME ...] [--folder FOLDER]

Starts a node, and OpenSSH's sshd and an AsyncSSH server where they are installed, on loopback addresses. The client is
AsyncSSH, which must be installed, in this process. For each server it prints

- ``key`` and ``password``: log-ins a second with four at a time, and milliseconds of the server's processor for each:
  connect, key exchange, proof, SFTP session, end. Passwords only where the server has them without an account of the
  system;
- ``up`` and ``down``: files of 1 KiB a second, one after the other in one session, and milliseconds of processor each;
- ``idle``: KiB of memory that one more session takes.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncssh
from servers import Bench, Server, bench, settled

AT_ONCE = 4
SMALL = b"x" * 1024


async def logIn(server: Server, key: Path | None) -> tuple[Any, Any]:
    proof = {"client_keys": [str(key)]} if key else {"password": server.password, "client_keys": None}
    port = server.ports["sftp"]
    connection = await asyncssh.connect(
        server.host, port, username=server.user, known_hosts=None, config=None, agent_path=None, **proof
    )
    return connection, await connection.start_sftp_client()


async def end(session: tuple[Any, Any]) -> None:
    session[0].close()
    await session[0].wait_closed()


async def timed(server: Server, count: int, work: Callable[[], Awaitable[None]]) -> str:
    """So many a second, and milliseconds of the server's processor for each."""
    cpu, begun = settled(server), time.monotonic()
    await work()
    seconds = time.monotonic() - begun
    return f"{count / seconds:6.0f}/s {(settled(server) - cpu) * 1000 / count:6.2f} ms"


async def measure(made: Bench, server: Server, options: argparse.Namespace) -> None:
    async def logIns(key: Path | None) -> None:
        async def some() -> None:
            for _ in range(options.logins // AT_ONCE):
                await end(await logIn(server, key))

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))

    await end(await logIn(server, made.key))
    figures = {"key": await timed(server, options.logins, lambda: logIns(made.key))}
    if server.password:
        figures["password"] = await timed(server, options.logins, lambda: logIns(None))
    session = await logIn(server, made.key)
    base = server.folder.rstrip("/")

    async def up() -> None:
        for number in range(options.files):
            async with session[1].open(f"{base}/{number}.bin", "wb") as file:
                await file.write(SMALL)

    async def down() -> None:
        for number in range(options.files):
            async with session[1].open(f"{base}/{number}.bin", "rb") as file:
                if await file.read() != SMALL:
                    raise RuntimeError(f"{server.name} lost something")

    figures["up"] = await timed(server, options.files, up)
    figures["down"] = await timed(server, options.files, down)
    await end(session)
    before = server.memoryBytes()
    idle = [await logIn(server, made.key) for _ in range(options.idle)]
    figures["idle"] = f"{(server.memoryBytes() - before) / options.idle / 1024:6.0f} KiB"
    for each in idle:
        await end(each)
    for name, figure in figures.items():
        print(f"{server.name:<13}{name:<9}{figure}", flush=True)


async def measureAll(options: argparse.Namespace) -> None:
    with bench(options.folder, options.only) as made:
        for server in made.servers:
            await measure(made, server, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logins", type=int, default=200)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--idle", type=int, default=500)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--folder", default=".")
    asyncio.run(measureAll(parser.parse_args()))


if __name__ == "__main__":
    main()
