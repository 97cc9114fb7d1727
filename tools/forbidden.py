"""Fails when the package can be made to run data as code: pickle, marshal, eval, exec, yaml.load and their like.

The syntax tree is read, so words in comments and methods such as ``cursor.execute`` are no matter, and a ``noqa`` is no
way around it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

MODULES = frozenset({"cPickle", "cloudpickle", "dill", "jsonpickle", "marshal", "pickle", "shelve", "yaml"})
CALLS = frozenset({"__import__", "compile", "eval", "exec", "execfile"})
# Twisted's pickled applications.
NAMES = frozenset({"twisted.persisted"})


def _forbiddenModule(name: str) -> bool:
    return name.split(".")[0] in MODULES or any(name == bad or name.startswith(bad + ".") for bad in NAMES)


def findings(path: Path) -> Iterator[tuple[int, str]]:
    """Line and description of everything forbidden in a file."""
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, f"import {alias.name}") for alias in node.names if _forbiddenModule(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            if any(_forbiddenModule(name) for name in [node.module, *full]):
                yield node.lineno, f"from {node.module} import"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
            yield node.lineno, f"{node.func.id}()"
        elif isinstance(node, ast.Constant) and node.value == "unsafe":
            yield node.lineno, "a YAML loader of the unsafe type"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "builtins":
            yield node.lineno, f"builtins.{node.attr}"


def main(folders: list[str]) -> int:
    """Print what is found beneath the folders; the exit code says whether anything was."""
    count = files = 0
    for folder in folders:
        for path in sorted(Path(folder).rglob("*.py")):
            files += 1
            for line, what in findings(path):
                count += 1
                print(f"{path}:{line}: {what} is not allowed here: data must not become code")
    if not files:
        print(f"no Python files beneath {' '.join(folders)}")
    return int(bool(count) or not files)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
