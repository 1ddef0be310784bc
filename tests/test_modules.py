"""What holds for every module: length, name, docstring, and what the plugin imports."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path.relative_to(ROOT) for path in (ROOT / "netfw").rglob("*.py"))
BANNED = {
    "util",
    "utils",
    "common",
    "helper",
    "helpers",
    "misc",
    "base",
    "core",
    "manager",
    "handler",
    "handlers",
    "engine",
    "processor",
}
LONGEST = 500
PLUGIN = ROOT / "twisted" / "plugins" / "netfwproxy_plugin.py"
NAMES = [str(path) for path in SOURCES]


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_no_module_is_long(path: Path) -> None:
    """Above 500 lines it has more than one duty."""
    lines = (ROOT / path).read_text().count("\n")
    assert lines <= LONGEST


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_names_say_what_is_inside(path: Path) -> None:
    """No package or module is called what anything could be called."""
    words = {word for part in path.with_suffix("").parts for word in (part, *part.split("_"))}
    assert words & BANNED == set()


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_modules_say_what_is_in_the_room(path: Path) -> None:
    """In a docstring whose first line is a sentence; empty __init__ modules have nothing to say."""
    text = (ROOT / path).read_text()
    if path.name == "__init__.py" and not text.strip():
        return
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring, "no docstring"
    paragraph = docstring.split("\n\n")[0].rstrip()
    assert paragraph.endswith((".", ":", "?", "!")), "the first paragraph is no sentence"


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_exceptions_from_the_tools_have_a_code(path: Path) -> None:
    """`# noqa` and `# type: ignore` alone would hide more than was meant."""
    text = (ROOT / path).read_text()
    assert re.findall(r"# noqa(?!: [A-Z]+[0-9]+)|# type: ignore(?!\[)", text) == []


def test_the_plugin_imports_nothing_of_netfw() -> None:
    """`twistd` loads every plugin to list their names: a broken installation must not break that."""
    imported = [
        alias.name if isinstance(node, ast.Import) else str(node.module)
        for node in ast.walk(ast.parse(PLUGIN.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    ]
    assert imported == ["twisted.application.service"]


def test_the_plugin_folder_is_no_package() -> None:
    """With an __init__ it would hide Twisted's own plugins."""
    assert not (ROOT / "twisted" / "__init__.py").exists()
    assert not (ROOT / "twisted" / "plugins" / "__init__.py").exists()


@pytest.mark.parametrize("script", ["Makefile", ".ci/run"])
def test_scripts_parse(script: str) -> None:
    """A typing error in what everybody runs is found here."""
    command = ["bash", "-n", script] if script == ".ci/run" else ["make", "--dry-run", "--file", script, "help"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
