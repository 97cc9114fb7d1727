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
# Drawings and answers of programs are no Python, and options begin with two hyphens, not with a dash.
highlight_language = "none"
smartquotes = False

html_theme = "furo"
html_title = f"cftpcluster {release}"


def _generateReference(_application: Any) -> None:
    """Have the pages that are derived from the code written by ``generate.py``."""
    subprocess.run([sys.executable, str(_HERE / "generate.py")], check=True, cwd=_HERE.parent)


def setup(application: Any) -> None:
    """Sphinx calls this first."""
    application.connect("builder-inited", _generateReference)
