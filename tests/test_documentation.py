"""The documentation is true where a program can tell: what it names exists, and whatever there is is explained."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import click
from twisted.trial.unittest import SkipTest, SynchronousTestCase

import cftpcluster
from cftpcluster.cli import cftpctl
from cftpcluster.config.defaults import DEFAULT_LISTENERS
from cftpcluster.config.written import parseText, readDocument
from cftpcluster.errors import Invalid
from cftpcluster.tap import Options

from .test_packaging import checkout

PACKAGE = Path(cftpcluster.__file__).parent
COMMANDS = ("python3 -m venv venv && venv/bin/pip install . && venv/bin/twistd -n cftpcluster --role primary",
            "python3 -m venv venv && venv/bin/pip install tox && venv/bin/tox")  # fmt: skip


def folder() -> Path:
    """Where the documentation is."""
    docs = checkout() / "docs"
    if not docs.is_dir():
        raise SkipTest("the tests were taken out of their checkout")
    return docs


def handwritten() -> dict[str, str]:
    """The pages that people write, by name, the README among them."""
    docs = folder()
    pages = [
        docs.parent / "README.md",
        docs.parent / "CONTRIBUTING.md",
        *docs.glob("*.md"),
        *docs.glob("decisions/*.md"),
    ]
    return {str(page.relative_to(docs.parent)): page.read_text("utf-8") for page in pages}


def withoutFences(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def fences(text: str, *languages: str) -> list[str]:
    """The blocks of code in these languages."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for language, block in blocks if language in languages]


class ArchitectureTests(SynchronousTestCase):
    """Code and description do not drift apart."""

    def test_everyPartOfThePackageIsNamed(self) -> None:
        text = (folder() / "architecture.md").read_text("utf-8")
        parts = [path for path in PACKAGE.iterdir() if not path.name.startswith(("_", "py.typed"))]
        parts += [path for path in (PACKAGE / "servers").iterdir() if not path.name.startswith("_")]
        names = [path.name + "/" if path.is_dir() else path.name for path in parts]
        missing = [name for name in names if not re.search(rf"(?<![\w.]){re.escape(name)}", text)]
        self.assertEqual(missing, [])

    def test_everyModuleThatIsNamedExists(self) -> None:
        files = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py")}
        names = {Path(file).name for file in files}
        wrong = []
        for page, text in handwritten().items():
            for named in re.findall(r"`([\w/]+\.py)`", text):
                ours = (checkout() / named).exists() or (checkout() / "docs" / named).exists()
                if not ours and named not in files and ("/" in named or named not in names):
                    wrong.append(f"{page}: there is no {named}")
            dotted = set(re.findall(r"`cftpcluster((?:\.\w+)+)`", text)) - {".pid", ".log"}
            absent = [each for each in sorted(dotted) if not self._exists(each[1:].split("."))]
            wrong += [f"{page}: there is no cftpcluster{each}" for each in absent]
        self.assertEqual(wrong, [])

    def test_everyTestOfAFaultExists(self) -> None:
        tests = folder().parent / "tests" / "faults"
        named = re.findall(r"`(test_\w+)(?:\.(\w+))?`", (folder() / "faults.md").read_text("utf-8"))
        modules = {module: path.read_text("utf-8") for module, _ in named if (path := tests / f"{module}.py").exists()}
        everything = "".join(path.read_text("utf-8") for path in (folder().parent / "tests").rglob("test_*.py"))
        self.assertGreater(len(modules), 5)
        for module, name in named:
            if name:
                self.assertIn(f"class {name}(", modules[module])
            elif module not in modules:
                self.assertIn(f"def {module}(", everything)

    def _exists(self, parts: list[str]) -> bool:
        """Whether this is a module, or a name in one."""
        for length in range(len(parts), 0, -1):
            path = PACKAGE.joinpath(*parts[:length])
            if path.with_suffix(".py").exists() or (path / "__init__.py").exists():
                module = importlib.import_module(".".join(("cftpcluster", *parts[:length])))
                return all(hasattr(module, name) for name in parts[length:])
        return False


@cache
def generated() -> Mapping[str, str]:
    """The pages that are written from the code, by name; written once."""
    specification = importlib.util.spec_from_file_location("generate", folder() / "generate.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.path.insert(0, str(folder()))
    try:
        specification.loader.exec_module(module)
        pages: Mapping[str, str] = module.pages()
        return pages
    finally:
        sys.path.remove(str(folder()))
        sys.modules.pop("fragments", None)


class ReferenceTests(SynchronousTestCase):
    """The pages that are written from the code."""

    def test_everythingIsExplained(self) -> None:
        """Whatever has no words of its own fails: a key of the document, an option, a verb, a route, a module."""
        for name, text in generated().items():
            self.assertGreater(len(text), 500, name)
            self.assertEqual(re.findall(r"^.*\|\s*\|\s*$", text, re.MULTILINE), [], name)

    def test_everyListenerAndKeyIsThere(self) -> None:
        text = generated()["document"]
        for listener in DEFAULT_LISTENERS:
            self.assertIn(f"### listener of kind {listener.kind}\n", text)
        for key in ("passwordHash", "password", "atomicUploads", "passivePorts", "requireMarker", "drainSeconds"):
            self.assertIn(f"`{key}`", text)

    def test_everyModuleIsInTheTable(self) -> None:
        text = generated()["modules"]
        for path in PACKAGE.rglob("*.py"):
            parts = path.relative_to(PACKAGE).with_suffix("").parts
            name = ".".join(("cftpcluster", *parts)).removesuffix(".__init__")
            self.assertIn(f"| `{name}` |", text)


class ExampleTests(SynchronousTestCase):
    """What a reader can copy is what the programs take."""

    def commands(self) -> list[tuple[str, str]]:
        """Page and line of each command in the pages."""
        found = []
        for page, text in handwritten().items():
            for block in fences(text, "sh", "console"):
                lines = [re.sub(r"^\$ |\s#.*", "", line) for line in block.replace("\\\n", " ").splitlines()]
                found += [(page, line) for line in lines]
            found += [(page, line) for line in re.findall(r"`((?:cftpctl|twistd) [^`]+)`", withoutFences(text))]
        return found

    def test_verbsAndOptionsExist(self) -> None:
        wrong = []
        count = 0
        for page, line in self.commands():
            for command in re.findall(r"(?:^|[ /|])(cftpctl (?!/)(?:[^|;<>#\n]|(?<==)[<>])+)", line):
                count += 1
                fault = self._fault(shlex.split(command)[1:])
                if fault:
                    wrong.append(f"{page}: {command.strip()}: {fault}")
        self.assertGreater(count, 30)
        self.assertEqual(wrong, [])

    def _fault(self, words: list[str]) -> str:
        """What is wrong with the words after ``cftpctl``, if anything."""
        command: Any = cftpctl
        rest = iter(words)
        for word in rest:
            if word.startswith("--"):
                option = self._option(command, word.partition("=")[0])
                if option is None and word != "--help":
                    return f"no option {word}"
                if option is not None and not option.is_flag and "=" not in word:
                    next(rest, None)
            elif isinstance(command, click.Group):
                if word not in command.commands:
                    return f"no verb {word}"
                command = command.commands[word]
        return ""

    def _option(self, command: click.Command, name: str) -> Any:
        return next((each for each in command.params if name in each.opts or name in each.secondary_opts), None)

    def test_optionsOfNodesExist(self) -> None:
        known = {f"--{parameter[0]}" for parameter in [*Options.optParameters, *Options.optFlags]} | {"--help"}
        used = set()
        for page, line in self.commands():
            for command in re.findall(r"twistd[^|;]*? cftpcluster( [^|;<>#`]*)", line):
                for option in re.findall(r"--[\w-]+", command):
                    used.add(option)
                    self.assertIn(option, known, page)
        self.assertLessEqual({"--role", "--name", "--bind", "--state-dir", "--join-file"}, used)

    def test_documentsAreTaken(self) -> None:
        count = 0
        for page, text in handwritten().items():
            for block in fences(text, "yaml"):
                try:
                    readDocument(parseText(block.encode()))
                except Invalid as error:
                    self.fail(f"{page}: {error}")
                count += 1
        self.assertGreater(count, 1)

    def test_linksLeadSomewhere(self) -> None:
        wrong = []
        for page, text in handwritten().items():
            for target in re.findall(r"\]\((?!https?:|#)([^)#]*)(?:#[^)]*)?\)", text):
                path = (checkout() / page).parent / target
                generated = target.startswith(("reference/", "../reference/"))
                if not generated and not path.exists():
                    wrong.append(f"{page}: {target}")
        self.assertEqual(wrong, [])

    def test_theTwoCommandsStandInTheReadme(self) -> None:
        blocks = fences(handwritten()["README.md"], "sh")
        for command in COMMANDS:
            self.assertIn(command + "\n", blocks)
