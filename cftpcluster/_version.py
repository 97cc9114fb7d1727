"""The one place that says which version this is; the build reads it without importing the package."""

__version__ = "0.1.0"
