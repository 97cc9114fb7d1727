"""Public fakes and contract tests, for the authors of plug-ins too."""
