"""Fuzzing by hand: ``python -m tests.servers.ftp.test_fuzz 100000``."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import Any

from twisted.logger import FileLogObserver, globalLogPublisher

Told = Callable[[bytes, Any], None]


def run(tried: Callable[[int, int, Told], object]) -> None:
    """Have as much tried as the command line says, by chance, and tell what was wrong."""

    def shown(event: object) -> str:
        return f"{event}\n" if "log_failure" in event else ""  # type: ignore[operator]

    def told(said: bytes, why: Any) -> None:
        sys.stdout.write(f"{said!r}: {why!r}\n")

    globalLogPublisher.addObserver(FileLogObserver(sys.stderr, shown))
    tried(int(sys.argv[1]), random.randrange(1 << 30), told)
