"""How Sphinx builds the documentation: Markdown pages, the reference written anew from the code each time."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent

project = "cftpcluster"
author = "cftpcluster contributors"
copyright = author  # noqa: A001 - the name that Sphinx asks for
release = version = metadata.version("cftpcluster")

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["_build", "**/README.md", "examples/**"]

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
# Headings can be linked to as `page.md#heading`, as on a code host.
myst_heading_anchors = 4
suppress_warnings = [
    "misc.highlighting_failure",  # examples hold placeholders such as NAME and ...
]
nitpicky = True

html_theme = "furo"
html_title = f"cftpcluster {release}"


def _generateReference(_application: Any) -> None:
    """Have the pages that are derived from the code written by ``generate.py``."""
    generate = _HERE / "generate.py"
    if generate.exists():
        subprocess.run([sys.executable, str(generate)], check=True, cwd=_HERE.parent)


def _dropEmptyPatterns(_application: Any, page: str, source: list[str]) -> None:
    """Take out of the index what matches no page: a part of the documentation may have none (yet, or in a release)."""
    if page == root_doc:
        lines = source[0].splitlines()
        source[0] = "\n".join(line for line in lines if "*" not in line or any(_HERE.glob(f"{line}.md")))


def setup(application: Any) -> None:
    """Sphinx calls this first."""
    application.connect("source-read", _dropEmptyPatterns)
    application.connect("builder-inited", _generateReference)
