"""Whether the tests run their short or their long variants, and where what they measure is told."""

from __future__ import annotations

import os
from typing import TypeVar

from cftpcluster.testing.processes import PATIENCE_SECONDS

T = TypeVar("T")

ENDURANCE = os.environ.get("CFTPCLUSTER_ENDURANCE", "").lower() == "true"


def choose(short: T, long: T) -> T:
    """What the variant at hand takes."""
    return long if ENDURANCE else short


def within(seconds: float) -> float:
    """How long that may take here for which so many seconds are enough where nothing else runs. Only the long variants
    run alone; beside other tests, on any machine, no more can be said than that it comes to pass."""
    return choose(max(PATIENCE_SECONDS, 5 * seconds), seconds)


def figure(line: str) -> None:
    """Tell what was measured: to the file that ``CFTPCLUSTER_FIGURES`` names, else nowhere."""
    path = os.environ.get("CFTPCLUSTER_FIGURES")
    if path:
        with open(path, "a") as file:
            file.write(line + "\n")
