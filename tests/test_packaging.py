"""What is installed is whole: the plug-in, the program, the data files, one version, and no requirement undeclared."""

from __future__ import annotations

import os
import re
import sys
from importlib import metadata
from pathlib import Path

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SkipTest, SynchronousTestCase

import cftpcluster
from cftpcluster import _version

from .test_layers import installedTree

DISTRIBUTION = "cftpcluster"
PLUGINS = "twisted/plugins/cftpcluster_plugins.py"


def installed() -> metadata.Distribution:
    """The distribution, when it is an ordinary install; under tox it always must be one."""
    try:
        distribution = metadata.distribution(DISTRIBUTION)
        root = Path(str(distribution.locate_file("")))
        # An editable install leaves its metadata in the checkout.
        if (root / DISTRIBUTION / "__init__.py").samefile(cftpcluster.__file__) and not (root / "setup.cfg").exists():
            return distribution
    except (metadata.PackageNotFoundError, FileNotFoundError):
        pass
    if "TOX_ENV_NAME" in os.environ:
        raise AssertionError(f"the tests run on {cftpcluster.__file__}, which is not what the wheel installed")
    raise SkipTest("runs on the installed wheel only; tox installs it")


def checkout() -> Path:
    """The source tree that the tests come from, whatever link led to them."""
    return Path(__file__).resolve().parent.parent


def ownFiles(root: Path) -> set[str]:
    """Every file of the package in a tree, data files included, by its path below the root."""
    return {
        str(path.relative_to(root))
        for path in (root / DISTRIBUTION).rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".pyo"}
    }


class InstalledTests(SynchronousTestCase):
    """Tests of the distribution as an operator has it."""

    def test_twistdFindsThePlugin(self) -> None:
        installed()
        names = [maker.tapname for maker in getPlugins(IServiceMaker) if maker.tapname == DISTRIBUTION]
        self.assertEqual(names, [DISTRIBUTION])

    def test_pluginComesFromTheInstalledPackage(self) -> None:
        """What twistd found lies beside the installed package, not in a checkout that happens to be on the path."""
        expected = Path(str(installed().locate_file(PLUGINS)))
        list(getPlugins(IServiceMaker))
        origin = sys.modules["twisted.plugins.cftpcluster_plugins"].__file__
        assert origin is not None
        self.assertEqual(Path(origin).resolve(), expected.resolve())

    def test_pluginFolderIsTwisteds(self) -> None:
        """The distribution adds a file to Twisted's plug-in folder and no ``__init__.py``, which would hide Twisted."""
        files = [str(file) for file in installed().files or ()]
        self.assertEqual(
            [file for file in files if file.startswith("twisted/") and file.endswith((".py", ".typed"))],
            [PLUGINS],
        )

    def test_nothingElseIsInstalled(self) -> None:
        """No tests, tools or stray folders land beside other people's packages."""
        roots = {file.parts[0] for file in installed().files or () if ".." not in file.parts}
        self.assertEqual(
            {root for root in roots if not root.endswith(".dist-info")},
            {DISTRIBUTION, "twisted"},
        )

    def test_versionIsOne(self) -> None:
        installed()
        self.assertEqual(
            {metadata.version(DISTRIBUTION), cftpcluster.__version__, _version.__version__},
            {cftpcluster.__version__},
        )

    def test_everyFileOfThePackageIsInstalled(self) -> None:
        """Templates, style sheets and SQL travel with the code: a new suffix needs a line in ``setup.cfg``."""
        source = checkout()
        if not (source / DISTRIBUTION).is_dir():
            raise SkipTest("the tests were taken out of their checkout")
        site = Path(str(installed().locate_file("")))
        self.assertEqual(ownFiles(source) - ownFiles(site), set())

    def test_typesAreAnnounced(self) -> None:
        self.assertIn("cftpcluster/py.typed", [str(file) for file in installed().files or ()])

    def test_commandIsCallable(self) -> None:
        """``cftpctl`` leads to something that can be called."""
        commands = {point.name: point for point in installed().entry_points if point.group == "console_scripts"}
        self.assertEqual(list(commands), ["cftpctl"])
        self.assertTrue(callable(commands["cftpctl"].load()))


class RequirementsTests(SynchronousTestCase):
    """``setup.cfg`` names what the code imports."""

    def test_everyImportIsDeclared(self) -> None:
        """A distribution that is present only because another one wants it can be gone with that one's next version."""
        requirements = [re.match(r"[\w.-]+", each) for each in installed().requires or () if "extra ==" not in each]
        declared = {_canonical(each[0]) for each in requirements if each} | {DISTRIBUTION}
        providers = metadata.packages_distributions()
        complaints = []
        for each in installedTree().imports:
            root = each.name.split(".")[0]
            # cftpcluster.testing is for those who test, and may use what they have.
            if root in sys.stdlib_module_names or each.importer[:1] == ("testing",):
                continue
            # "ruamel" and "zope" are shared by several distributions; one declared among them is enough.
            if not declared & {_canonical(name) for name in providers.get(root, ())}:
                complaints.append(each.complain("no requirement in setup.cfg provides it"))
        if complaints:
            self.fail("\n" + "\n".join(complaints))


def _canonical(name: str) -> str:
    """The one spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()
