"""Adds ``--reporter recorded`` to trial, when ``tools/reporting`` is on the Python path.

It is not part of the distribution: what runs the project's own tests does not belong on an operator's machine.
"""

from __future__ import annotations

from twisted.plugins.twisted_trial import _Reporter

recorded = _Reporter(
    "Recorded reporter",
    "recordedreporter",
    description="trial's verbose output, and the same results as JSON",
    longOpt="recorded",
    shortOpt=None,
    klass="RecordedReporter",
)
