"""The architecture, held by a test: imports only go down, and some things are imported in one place only.

The import statements of the installed package are read with :mod:`ast`; nothing is executed. Imports inside functions
and under ``TYPE_CHECKING`` count like any other: a layer that needs a name from above for its annotations knows too
much too.

A new module at the top of the package gets its place in :data:`LAYERS`.
"""

from __future__ import annotations

import ast
import importlib.util
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypeAlias

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

PACKAGE = "cftpcluster"

LAYERS: tuple[tuple[frozenset[str], ...], ...] = (
    # From the lowest up. A module may import what stands in a line above its own, and what stands in the same braces.
    (frozenset({"_version"}),),
    (frozenset({"vocabulary"}), frozenset({"networks"})),
    (frozenset({"errors"}), frozenset({"networks"})),
    (frozenset({"config"}), frozenset({"events"})),
    (frozenset({"interfaces"}),),
    (frozenset({"files"}), frozenset({"journal"})),
    (frozenset({"auth"}), frozenset({"observers", "metrics"})),
    (frozenset({"servers"}), frozenset({"manager"}), frozenset({"cluster"})),
    (
        frozenset(
            {
                *("node", "administration", "appending", "components", "convergence", "draining", "founding"),
                *("peering", "haproxy", "passive", "services", "starting", "state", "status", "tables", "healing"),
                *("chronicle", "condition", "expiry", "readings", "managing", "neighbours", "pools", "remarks"),
                *("actions", "branches", "following", "primacy", "promotion", "reapplying", "renewal", "telling"),
                *("archive", "backup", "changeover", "keyring", "restoration", "supervision", "activity", "series"),
            }
        ),
    ),
    (frozenset({"testing"}),),
    (frozenset({"tap"}), frozenset({"cli", "commands"})),
)

#: What lies beneath its neighbours although it stands in one of them: several of them speak HTTP and TLS.
SHARED = {"servers.http", "servers.tls"}

#: What may be imported in the named files only. A folder ends with a slash.
WALLS: Mapping[str, frozenset[str]] = {
    "twisted.spread": frozenset({"cluster/link.py"}),
    "twisted.internet.reactor": frozenset({"tap.py", "cli.py"}),
    "sqlite3": frozenset({"journal/sqlite.py", "journal/_database.py", "cluster/rows.py", "journal/auditfile.py"}),
}

#: What configuration must do without, to stay a matter of pure values.
IMPURE = ("twisted", "zope", "klein", "treq", "automat")


@frozen
class Import:
    """One imported name: ``from a.b import c`` in line 3 of ``files/local.py`` is ``a.b.c``, seen from there."""

    path: str
    line: int
    name: str

    @property
    def importer(self) -> tuple[str, ...]:
        """The module that imports, as the parts of its name below the package; empty for the package itself."""
        parts = Path(self.path).with_suffix("").parts
        return parts[:-1] if parts[-1] == "__init__" else parts

    @property
    def imported(self) -> tuple[str, ...] | None:
        """The same of what is imported, where it belongs to the package. Its last parts may be no module's."""
        parts = tuple(self.name.split("."))
        return parts[1:] if parts[0] == PACKAGE else None

    def isWithin(self, name: str) -> bool:
        """Whether the import is one of ``name``, or of something below it."""
        return self.name == name or self.name.startswith(name + ".")

    def complain(self, why: str) -> str:
        """A message that an editor can jump to."""
        return f"{PACKAGE}/{self.path}:{self.line}: imports {self.name}: {why}"


@frozen
class Tree:
    """All modules of the package, and everything that they import."""

    paths: Sequence[str]
    imports: Sequence[Import]

    @property
    def roots(self) -> Sequence[str]:
        """The modules and sub-packages at the top of the package."""
        return sorted({Path(path).with_suffix("").parts[0] for path in self.paths} - {"__init__"})

    @property
    def serverPackages(self) -> frozenset[str]:
        """The names of the packages beneath ``servers``: one for each protocol."""
        parts = (Path(path).parts for path in self.paths)
        packages = frozenset(each[1] for each in parts if each[0] == "servers" and len(each) > 2)
        return packages - {shared.removeprefix("servers.") for shared in SHARED}


Rule: TypeAlias = Callable[[Tree], list[str]]


def importsOf(source: str, path: str) -> Iterator[Import]:
    """What a module imports, wherever in it the statement stands."""
    package = (PACKAGE, *Path(path).parts[:-1])
    for node in ast.walk(ast.parse(source, path)):
        if isinstance(node, ast.Import):
            yield from (Import(path, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            yield from (Import(path, node.lineno, ".".join([*base, alias.name])) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            argument = node.args[0]
            byName = called in {"import_module", "__import__", "namedAny", "namedModule", "requireModule"}
            if byName and isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield Import(path, node.lineno, argument.value)


def readTree(sources: Mapping[str, str]) -> Tree:
    """The tree of the modules given as path below the package and source."""
    return Tree(
        paths=sorted(sources),
        imports=[each for path in sorted(sources) for each in importsOf(sources[path], path)],
    )


@cache
def installedTree() -> Tree:
    """The tree of the package that the tests run on; read once."""
    specification = importlib.util.find_spec(PACKAGE)
    if specification is None or specification.origin is None:
        raise AssertionError(f"{PACKAGE} is not installed")
    root = Path(specification.origin).parent
    return readTree({str(path.relative_to(root)): path.read_text("utf-8") for path in root.rglob("*.py")})


# --- the rules; each gives the complaints about a tree


def _place(root: str) -> tuple[int, frozenset[str]] | None:
    for height, layer in enumerate(LAYERS):
        for together in layer:
            if root in together:
                return height, together
    return None


def unknownModules(tree: Tree) -> list[str]:
    """Every module at the top of the package has a layer."""
    return [
        f"{PACKAGE}/{root}: has no layer; give it one in LAYERS of tests/test_layers.py"
        for root in tree.roots
        if _place(root) is None
    ]


def _rootsApart(tree: Tree) -> Iterator[tuple[Import, str, str]]:
    """Imports of one part of the package by another, with the names of both."""
    roots = set(tree.roots)
    for each in tree.imports:
        target = each.imported
        if target and each.importer and target[0] in roots and target[0] != each.importer[0]:
            yield each, each.importer[0], target[0]


def upwardImports(tree: Tree) -> list[str]:
    """No layer imports a higher one."""
    complaints = []
    for each, importer, imported in _rootsApart(tree):
        low, high = _place(importer), _place(imported)
        if low and high and low[0] < high[0]:
            complaints.append(each.complain(f"{imported} lies above {importer}; let node.py hand it over instead"))
    return complaints


def sidewaysImports(tree: Tree) -> list[str]:
    """No part imports its neighbour of the same layer."""
    complaints = []
    for each, importer, imported in _rootsApart(tree):
        one, other = _place(importer), _place(imported)
        if each.imported and ".".join(each.imported[:2]) in SHARED:
            continue
        if one and other and one[0] == other[0] and one[1] != other[1]:
            complaints.append(each.complain(f"{imported} lies beside {importer}; let node.py hand it over instead"))
    return complaints


def importsByThePackageItself(tree: Tree) -> list[str]:
    """``import cftpcluster`` costs nothing: the package's own ``__init__`` imports the version alone."""
    return [
        each.complain("every import of the package would pay for it")
        for each in tree.imports
        if each.importer == () and each.imported not in {("_version", "__version__"), None}
    ]


def importsOfTesting(tree: Tree) -> list[str]:
    """What runs in production needs no test doubles."""
    return [
        each.complain("testing is for tests")
        for each, _importer, imported in _rootsApart(tree)
        if imported == "testing"
    ]


def impureConfiguration(tree: Tree) -> list[str]:
    """``config``, and what lies beneath it, are pure values."""
    pure = {"config", "errors", "networks", "vocabulary", "_version"}
    return [
        each.complain("configuration is pure values, and so is what it is made of")
        for each in tree.imports
        if each.importer and each.importer[0] in pure and any(each.isWithin(name) for name in IMPURE)
    ]


def wall(name: str) -> Rule:
    """The rule that something is imported in its own places only."""

    def check(tree: Tree) -> list[str]:
        places = WALLS[name]
        return [
            each.complain(f"only {', '.join(sorted(places))} may")
            for each in tree.imports
            if each.isWithin(name) and each.path not in places
        ]

    return check


def importsBetweenServers(tree: Tree) -> list[str]:
    """No server package imports another; what they share are the modules directly in ``servers``, which import none."""
    complaints = []
    for each in tree.imports:
        target = each.imported
        if each.importer[:1] != ("servers",) or not target or target[0] != "servers" or len(target) < 2:
            continue
        own = each.importer[1] if len(each.importer) > 1 else None
        if target[1] in tree.serverPackages and target[1] != own:
            complaints.append(each.complain("a server package is nobody's library"))
    return complaints


class LayersTests(SynchronousTestCase):
    """The installed package keeps the rules."""

    tree = installedTree()

    def assertKeeps(self, rule: Rule) -> None:
        """Fail with all complaints of a rule together."""
        complaints = rule(self.tree)
        if complaints:
            self.fail("\n" + "\n".join(complaints))

    def test_thePackageIsRead(self) -> None:
        """Modules and imports were found: the other tests have something to look at."""
        self.assertIn("interfaces.py", self.tree.paths)
        self.assertIn("zope.interface.Interface", [each.name for each in self.tree.imports])

    def test_everyModuleHasALayer(self) -> None:
        self.assertKeeps(unknownModules)

    def test_noImportGoesUp(self) -> None:
        self.assertKeeps(upwardImports)

    def test_noImportGoesSideways(self) -> None:
        self.assertKeeps(sidewaysImports)

    def test_importingThePackageImportsNothingElse(self) -> None:
        self.assertKeeps(importsByThePackageItself)

    def test_productionNeedsNoTestDoubles(self) -> None:
        self.assertKeeps(importsOfTesting)

    def test_configurationIsPure(self) -> None:
        self.assertKeeps(impureConfiguration)

    def test_perspectiveBrokerOnlyInTheLink(self) -> None:
        self.assertKeeps(wall("twisted.spread"))

    def test_globalReactorOnlyWhereProgramsStart(self) -> None:
        self.assertKeeps(wall("twisted.internet.reactor"))

    def test_databaseOnlyInItsStores(self) -> None:
        self.assertKeeps(wall("sqlite3"))

    def test_noServerImportsAnother(self) -> None:
        self.assertKeeps(importsBetweenServers)


class CheckerTests(SynchronousTestCase):
    """The checker sees what it is there to see, in trees made up for it."""

    def assertComplaints(self, rule: Rule, sources: Mapping[str, str], expected: Sequence[str]) -> None:
        """The places complained about are the expected ones, given as ``path:line``."""
        tree = readTree({path: textwrap.dedent(source) for path, source in sources.items()})
        places = [":".join(complaint.split(":")[:2]) for complaint in rule(tree)]
        self.assertEqual(places, [f"{PACKAGE}/{place}" for place in expected])

    def test_unknownModuleIsNamed(self) -> None:
        tree = readTree({"__init__.py": "", "node.py": "", "utils.py": "", "gadgets/__init__.py": ""})
        self.assertEqual(
            [complaint.split(":")[0] for complaint in unknownModules(tree)],
            ["cftpcluster/gadgets", "cftpcluster/utils"],
        )

    def test_upwardImportIsSeenInEveryForm(self) -> None:
        source = """\
        import cftpcluster.node
        from cftpcluster import node
        from cftpcluster.node import Node
        from ..node import Node
        from .. import node
        def later():
            from cftpcluster.node import Node
        if TYPE_CHECKING:
            from cftpcluster.node import Node
        import_module("cftpcluster.node")
        from ..config import document
        from .paths import parse
        import os
        """
        self.assertComplaints(
            upwardImports,
            {"files/local.py": source, "files/paths.py": "", "node.py": "", "config/document.py": ""},
            [f"files/local.py:{line}" for line in (1, 2, 3, 4, 5, 7, 9, 10)],
        )

    def test_packageModuleImportsRelativelyToItself(self) -> None:
        self.assertComplaints(
            upwardImports,
            {"files/__init__.py": "from .paths import parse\nfrom ..auth import realm\n", "auth/realm.py": ""},
            ["files/__init__.py:2"],
        )

    def test_downwardImportIsFine(self) -> None:
        self.assertComplaints(
            upwardImports,
            {"node.py": "from .files.local import LocalFiles\nfrom . import __version__\n", "files/local.py": ""},
            [],
        )

    def test_sidewaysImportIsSeen(self) -> None:
        self.assertComplaints(
            sidewaysImports,
            {
                "files/local.py": "from ..journal import sqlite",
                "journal/sqlite.py": "",
                "tap.py": "import os\nfrom .cli import main",
                "cli.py": "",
            },
            ["files/local.py:1", "tap.py:2"],
        )

    def test_modulesOfOnePartImportEachOther(self) -> None:
        self.assertComplaints(
            sidewaysImports,
            {"node.py": "from .state import State", "state.py": "", "files/a.py": "from .b import c", "files/b.py": ""},
            [],
        )

    def test_packageThatImportsItsPartsIsSeen(self) -> None:
        self.assertComplaints(
            importsByThePackageItself,
            {"__init__.py": "from cftpcluster._version import __version__\nfrom .node import Node", "node.py": ""},
            ["__init__.py:2"],
        )

    def test_testDoubleInProductionIsSeen(self) -> None:
        self.assertComplaints(importsOfTesting, {"tap.py": "from .testing import x", "testing.py": ""}, ["tap.py:1"])

    def test_impureConfigurationIsSeen(self) -> None:
        self.assertComplaints(
            impureConfiguration,
            {
                "config/plan.py": "import attrs\nfrom twisted.python import log\n",
                "config/codec.py": "from zope.interface import implementer",
                "files/local.py": "import twisted",
                "vocabulary.py": "import twistedly\nimport twisted.internet.defer",
            },
            ["config/codec.py:1", "config/plan.py:2", "vocabulary.py:2"],
        )

    def test_perspectiveBrokerElsewhereIsSeen(self) -> None:
        line = "from twisted.spread import pb"
        self.assertComplaints(
            wall("twisted.spread"),
            {"cluster/link.py": line, "cluster/publisher.py": line, "node.py": "from twisted import spread"},
            ["cluster/publisher.py:1", "node.py:1"],
        )

    def test_globalReactorIsSeenInsideFunctions(self) -> None:
        source = """\
        from twisted.internet import defer, reactor
        import twisted.internet.reactor
        def run():
            from twisted.internet import reactor
        """
        self.assertComplaints(
            wall("twisted.internet.reactor"),
            {"node.py": source, "tap.py": source, "cli.py": source},
            ["node.py:1", "node.py:2", "node.py:4"],
        )

    def test_databaseElsewhereIsSeen(self) -> None:
        self.assertComplaints(
            wall("sqlite3"),
            {"journal/sqlite.py": "import sqlite3", "auth/checkers.py": "import sqlite3"},
            ["auth/checkers.py:1"],
        )

    def test_importBetweenServersIsSeen(self) -> None:
        self.assertComplaints(
            importsBetweenServers,
            {
                "servers/tls.py": "from .ftp import protocol",
                "servers/ftp/protocol.py": "from ..tls import context\nfrom . import words\n",
                "servers/ftp/words.py": "",
                "servers/web/files.py": "from ..ftp.words import WORDS\nfrom cftpcluster.servers import ftp, tls\n",
            },
            ["servers/tls.py:1", "servers/web/files.py:1", "servers/web/files.py:2"],
        )
