"""Files much larger than what a key may be used for, there and back."""

from __future__ import annotations

import filecmp
import os
import time
from pathlib import Path

from ..faults.scale import choose, figure
from .clients import needs
from .sshclients import ClientTestCase

MIB = 1 << 20
SIZE_MIB = choose(512, 5 << 10)
REKEY_MIB = choose(16, 64)


@needs("sftp", "ssh")
class LongTransferTests(ClientTestCase):
    timeout = choose(300, 1800)

    def makeFile(self, path: Path) -> Path:
        """Every MiB differs from every other, and none is easily made smaller."""
        noise = os.urandom(MIB)
        with open(path, "wb") as file:
            file.writelines(number.to_bytes(8, "big") + noise[8:] for number in range(SIZE_MIB))
        return path

    def transferred(self, command: str, cipher: str) -> None:
        """One direction, during which keys are exchanged as often as it takes."""
        begin = time.monotonic()
        options = {"RekeyLimit": f"{REKEY_MIB}M", "Ciphers": cipher, "LogLevel": "DEBUG1"}
        said = self.sftp(command, seconds=self.timeout, **options)
        exchanges = said.count("SSH2_MSG_NEWKEYS received")
        self.assertTrue(0.9 < exchanges / (SIZE_MIB / REKEY_MIB) < 2, exchanges)
        speed = SIZE_MIB / (time.monotonic() - begin)
        figure(f"sftp {command.split()[0]} with {cipher}, {SIZE_MIB} MiB: {exchanges} key exchanges, {speed:.0f} MiB/s")

    def test_thereAndBackWithNewKeysAllTheTime(self) -> None:
        original = self.makeFile(self.local / "original")
        self.addCleanup(original.unlink)
        self.addCleanup((self.stored / "file").unlink)
        self.transferred("put original file", "aes128-gcm@openssh.com")
        self.assertTrue(filecmp.cmp(original, self.stored / "file", shallow=False))
        self.addCleanup((self.local / "copy").unlink)
        self.transferred("get file copy", "chacha20-poly1305@openssh.com")
        self.assertTrue(filecmp.cmp(original, self.local / "copy", shallow=False))
