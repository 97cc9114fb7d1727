"""Adds up what a run of tox did, and says whether it was good.

Reads tox's own result file and the records that ``tools/reporting`` left of the runs of trial. Each environment that
runs no tests (lint, types, ...) counts as one. The last line printed is ``N passed, N failed, N skipped``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def readJSON(path: Path) -> Any:
    """The value in a file, or ``None`` when there is no whole one."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def isTestEnvironment(name: str) -> bool:
    """Whether an environment runs trial, and so leaves a record."""
    return name.split("-")[0] in {"unit", "integration", "endurance"}


def summarise(toxResult: Any, records: Path) -> tuple[int, int, int, list[str]]:
    """Passed, failed, skipped, and lines that explain what did not pass."""
    passed = failed = skipped = 0
    notes: list[str] = []
    environments = (toxResult or {}).get("testenvs", {})
    for name, environment in sorted(environments.items()):
        if "result" not in environment:  # the package's build, and environments that this run did not ask for
            continue
        good = environment["result"]["success"]
        record = readJSON(records / f"{name}.json") if isTestEnvironment(name) else None
        if record is None:
            if good and not isTestEnvironment(name):
                passed += 1
            else:
                failed += 1
                notes.append(
                    f"{name}: failed" + (" and left no record of its tests" if isTestEnvironment(name) else "")
                )
            continue
        passed += record["passed"]
        failed += len(record["failed"])
        notes += [f"{name}: {test} failed" for test in record["failed"]]
        notes += [f"{name}: {test} skipped: {reason}" for test, reason in record["skipped"]]
        if record["skipsFail"]:
            failed += len(record["skipped"])
        else:
            skipped += len(record["skipped"])
        if not good and not record["failed"] and not (record["skipsFail"] and record["skipped"]):
            failed += 1
            notes.append(f"{name}: failed, though its tests passed")
        if good and not record["passed"]:
            failed += 1
            notes.append(f"{name}: no test ran")
    return passed, failed, skipped, notes


def main() -> int:
    """Print the summary; the exit code is 0 only when tests ran, none failed and tox itself was content."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("toxResult", type=Path, help="what tox wrote for --result-json")
    parser.add_argument("records", type=Path, help="the folder of the records")
    parser.add_argument("toxExitCode", type=int)
    options = parser.parse_args()
    toxResult = readJSON(options.toxResult)
    passed, failed, skipped, notes = summarise(toxResult, options.records)
    if options.toxExitCode and not failed:
        failed = 1
        notes.append(f"tox ended with {options.toxExitCode}")
    if not passed and not failed:
        failed = 1
        notes.append("nothing ran")
    print("\n".join(notes))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
