#!/usr/bin/env python3
"""How fast one client's large file comes and goes, and what it costs the server, beside other servers.

    throughput.py [--mebibytes N] [--rounds N] [--only NAME ...] [--protocol NAME ...] [--folder FOLDER]

Starts a node, and whichever are installed of OpenSSH's sshd, an AsyncSSH server, vsftpd (as root alone) and pyftpdlib,
on loopback addresses. Clients are OpenSSH's ``sftp`` and ``curl``, one transfer at a time; rounds take turns between
the servers, so that whatever else the machine has to do hits all of them. Files lie in FOLDER, which should be on a
disk file system, as users' files are, and in its cache. For each protocol, direction and server it prints medians of

- ``MiB/s``: size by the client's whole time, log-in included;
- ``CPU s/GiB``: seconds of processor time of all the server's processes, kernel included.

Protocols are ``ftp``, ``ftps`` (both connections over TLS) and ``sftp:`` with a cipher.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import time
from pathlib import Path

from servers import Bench, Server, bench, settled

PROTOCOLS = ["ftp", "ftps", "sftp:aes128-gcm@openssh.com", "sftp:chacha20-poly1305@openssh.com", "sftp:aes256-ctr"]
MEBIBYTE = 1 << 20


def overSFTP(made: Bench, server: Server, cipher: str, direction: str, file: Path) -> tuple[list[str], str]:
    """A command that transfers the file, and its input."""
    base = server.folder.rstrip("/")
    batch = f"get {base}/{file.name} /dev/null" if direction == "download" else f"put {file} {base}/up.bin"
    command = ["sftp", "-q", "-b", "-", "-c", cipher, "-i", str(made.key), "-P", str(server.ports["sftp"])]
    for option in ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "LogLevel=ERROR"):
        command += ["-o", option]
    return [*command, f"{server.user}@{server.host}"], batch + "\n"


def overFTP(server: Server, protocol: str, direction: str, file: Path) -> tuple[list[str], str]:
    """The same; curl takes a path that begins with two slashes as an absolute one."""
    base = f"ftp://{server.host}:{server.ports[protocol]}/{server.folder.rstrip('/')}"
    secured = ["--ssl-reqd", "--insecure"] if protocol == "ftps" else []
    work = (
        [f"{base}/{file.name}", "-o", "/dev/null"] if direction == "download" else ["-T", str(file), f"{base}/up.bin"]
    )
    return ["curl", "-sS", *secured, "--config", "-", *work], f'user = "{server.user}:{server.password}"\n'


def transfer(made: Bench, server: Server, protocol: str, direction: str, file: Path) -> tuple[float, float]:
    """Seconds of the client, and of the server's processor."""
    target = server.place / "up.bin"
    target.unlink(missing_ok=True)
    kind, _, cipher = protocol.partition(":")
    if kind == "sftp":
        command, words = overSFTP(made, server, cipher, direction, file)
    else:
        command, words = overFTP(server, kind, direction, file)
    cpu, begun = settled(server), time.monotonic()
    subprocess.run(command, input=words.encode(), stdout=subprocess.DEVNULL, check=True)
    seconds = time.monotonic() - begun
    if direction == "upload" and target.stat().st_size != file.stat().st_size:
        raise RuntimeError(f"{server.name} lost something")
    return seconds, settled(server) - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mebibytes", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--protocol", nargs="*", default=PROTOCOLS)
    parser.add_argument("--folder", default=".")
    options = parser.parse_args()
    with bench(options.folder, options.only) as made:
        file = made.folder / "big.bin"
        with file.open("wb") as output:
            for _ in range(options.mebibytes):
                output.write(os.urandom(MEBIBYTE))
        made.share(file)
        works = [(protocol, direction) for protocol in options.protocol for direction in ("download", "upload")]
        times: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
        for _ in range(options.rounds):
            for protocol, direction in works:
                for server in made.servers:
                    if protocol.partition(":")[0] in server.ports:
                        took = transfer(made, server, protocol, direction, file)
                        times.setdefault((protocol, direction, server.name), []).append(took)
    print(f"{'protocol':<36}{'direction':<11}{'server':<13}{'MiB/s':>7}{'CPU s/GiB':>11}")
    for (protocol, direction, name), measured in sorted(times.items()):
        seconds, cpu = (statistics.median(each[at] for each in measured) for at in (0, 1))
        speed, cost = options.mebibytes / seconds, cpu * 1024 / options.mebibytes
        print(f"{protocol:<36}{direction:<11}{name:<13}{speed:>7.0f}{cost:>11.2f}")


if __name__ == "__main__":
    main()
