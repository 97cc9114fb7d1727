"""Wrappers that decide and tell what happens to any file system: permissions and events."""

from ._observed import Observed
from ._permitted import Permitted

__all__ = ["Observed", "Permitted"]
