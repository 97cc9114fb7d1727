"""Runs schedules: many of them to find a seed that fails, or one to see what happened in it."""

from __future__ import annotations

import sys

from .run import main

if __name__ == "__main__":
    sys.exit(main())
