"""Makes the tests visible in a folder, and nothing else of the checkout.

Trial puts its working folder first on the path. In the checkout that would be the source tree; in a folder that holds
only links to the tests, ``import cftpcluster`` finds the installed wheel, and twistd the plug-in installed with it.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

_TESTS = Path(__file__).resolve().parent.parent / "tests"


def linkTests(destination: Path, without: set[str]) -> None:
    """Fill ``destination/tests`` with links to what is in the tests' folder, except the names in ``without``."""
    target = destination / "tests"
    if target.exists():
        shutil.rmtree(target)
    target.mkdir(parents=True)
    for entry in sorted(_TESTS.iterdir()):
        if entry.name not in without and entry.name != "__pycache__":
            (target / entry.name).symlink_to(entry)


def main() -> None:
    """Read the command line and link."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("destination", type=Path)
    parser.add_argument("--without", action="append", default=[], metavar="NAME")
    options = parser.parse_args()
    linkTests(options.destination, set(options.without))


if __name__ == "__main__":
    main()
