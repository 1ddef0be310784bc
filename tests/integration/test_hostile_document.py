"""docs/security.md says what is so: its tests exist, its defaults are the code's, its ports those of the guard."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from netfw.config.defaults import LIMITS, TIMEOUTS
from netfw.config.units import parse_duration, parse_size
from netfw.proxy.guarded_ports import CLOSED_PORTS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)(?:\[([^`]*)\])?`", TEXT)))
WEAKNESSES = re.findall(r"(?m)^\| (CVE-\d{4}-\d+) \|", TEXT)


@cache
def functions(path: str) -> set[str]:
    """The test functions of a file."""
    return {node.name for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)}


@cache
def everywhere(path: str) -> str:
    """Where the names of parameters may stand: the file, the tables, the names of corpus files."""
    corpus = ROOT / "tests" / "corpus"
    tables = [table.read_text() for table in sorted(corpus.rglob("*.toml"))]
    fuzz = (ROOT / "tests" / "fuzz" / "targets.py").read_text()
    return "\n".join([(ROOT / path).read_text(), fuzz, *tables])


@pytest.mark.parametrize(("path", "function", "parameter"), NAMED, ids=["::".join(name) for name in NAMED])
def test_every_named_test_exists(path: str, function: str, parameter: str) -> None:
    """File, function and parameter."""
    assert function in functions(path)
    if parameter:
        found = re.search(rf'["\[]{re.escape(parameter)}["\]]|\b{re.escape(parameter)}\b', everywhere(path))
        assert found, parameter


def test_many_weaknesses_of_others_have_a_test() -> None:
    """Each once."""
    assert len(WEAKNESSES) >= 40
    assert len(set(WEAKNESSES)) == len(WEAKNESSES)
    for row in re.findall(r"(?m)^\| CVE-.*$", TEXT):
        assert "`tests/" in row, row


def test_the_table_of_limits_is_complete_and_right() -> None:
    """Every setting of both sections, with its default."""
    rows = dict(re.findall(r"(?m)^\| `((?:limits|timeouts)\.\w+)` \| (\S+) \|", TEXT))
    wanted = {f"limits.{name}": getattr(LIMITS, name) for name in LIMITS.__slots__}
    wanted |= {f"timeouts.{name}": getattr(TIMEOUTS, name) for name in TIMEOUTS.__slots__}
    assert rows.keys() == wanted.keys()
    for name, default in wanted.items():
        parse = parse_duration if name.startswith("timeouts") else parse_size
        written = rows[name]
        assert parse(int(written) if written.isdigit() else written) == default, name


def test_the_ports_are_those_of_the_guard() -> None:
    """All of them."""
    section = TEXT[TEXT.index("## Ports that stay closed") : TEXT.index("`guard: {allow_ports")]
    assert {int(port) for port in re.findall(r"\b\d+\b", section)} == set(CLOSED_PORTS)
