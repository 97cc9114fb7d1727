"""A reporter for trial that leaves its results as JSON beside the usual output.

It reads two environment variables: ``CFTPCLUSTER_TEST_RECORD``, the file to write, and ``CFTPCLUSTER_SKIPS_FAIL``:
with ``true`` a skipped test makes the run unsuccessful, because on a machine that has everything a skip hides a missing
test.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from twisted.trial.reporter import VerboseTextReporter


def _skipsFail() -> bool:
    return os.environ.get("CFTPCLUSTER_SKIPS_FAIL", "").lower() in {"1", "true"}


class RecordedReporter(VerboseTextReporter):
    """Trial's verbose reporter; one line a test, so that the output of two workers stays readable."""

    def wasSuccessful(self) -> bool:
        """Whether the run is good: nothing failed, something ran, and nothing was skipped where nothing may be."""
        return super().wasSuccessful() and self.testsRun > 0 and not (_skipsFail() and self.skips)

    def done(self) -> None:
        """Print the summary as usual, then write the record."""
        super().done()
        if self.skips and _skipsFail():
            self._writeln("Skipped, though nothing may be skipped here:")
            for test, reason in self.skips:
                self._writeln("  %s: %s", test.id(), reason)
        target = os.environ.get("CFTPCLUSTER_TEST_RECORD")
        if target:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            Path(target).write_text(json.dumps(self.record(), indent=1) + "\n")

    def record(self) -> dict[str, Any]:
        """The results: a number of passed tests, the names of the failed ones, the names and reasons of the skipped."""
        broken = [*self.failures, *self.errors, *self.unexpectedSuccesses]
        return {
            "passed": self.successes + len(self.expectedFailures),
            "failed": sorted({entry[0].id() for entry in broken}),
            "skipped": [[test.id(), str(reason)] for test, reason in self.skips],
            "skipsFail": _skipsFail(),
        }
