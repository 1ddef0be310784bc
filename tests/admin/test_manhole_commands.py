"""What may be typed in the manhole, and by whom."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from netfw.admin.manhole_commands import COMMANDS, LONGEST_LINE, Access, CommandError, CommandLine, printed, read_line


class Calls:
    """Remembers what was run."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, list[str]]] = []
        self.audited: list[tuple[str, str]] = []
        self.table = {command.name: self._run(command.name) for command in COMMANDS}

    def _run(self, name: str):
        def run(arguments, _output):
            self.seen.append((name, list(arguments)))
            return {"name": name}

        return run

    def line(self, access: Access) -> CommandLine:
        """What somebody with this key types into."""
        return CommandLine(self.table, access, lambda event, **facts: self.audited.append((event, facts["line"])))


def outcome(deferred: Deferred) -> object:
    """What a Deferred that has fired gave, or its exception."""
    found: list[object] = []
    deferred.addCallbacks(found.append, lambda failure: found.append(failure.value))
    (value,) = found
    return value


@pytest.mark.parametrize(
    ("line", "name", "arguments"),
    [
        ("status", "status", []),
        ("status()", "status", []),
        ('why("7F3KQ-92XAB")', "why", ["7F3KQ-92XAB"]),
        ("why 7F3KQ-92XAB", "why", ["7F3KQ-92XAB"]),
        ("explain http://x.test/a?b=(c) POST", "explain", ["http://x.test/a?b=(c)", "POST"]),
        ("explain('http://x.test/', \"POST\")", "explain", ["http://x.test/", "POST"]),
        ("drain(2)", "drain", ["2"]),
    ],
)
def test_a_line_is_a_call_or_words(line: str, name: str, arguments: list[str]) -> None:
    """Both say the same."""
    assert read_line(line) == (name, arguments)


@pytest.mark.parametrize(
    "line",
    [
        "status().x", "status(status())", "(lambda: 1)()", "why(*[1])", "why(id='x')", "a.b()", "status() + 1",
        "why(f'{1}')", "status(", "why('a' 'b", "x" * (LONGEST_LINE + 1), "status(True, None, ...)", "f(" * 3000,
    ],
)  # fmt: skip
def test_anything_else_is_refused_and_nothing_runs(line: str) -> None:
    """It is parsed, never evaluated."""
    calls = Calls()
    assert isinstance(outcome(calls.line(Access.OPERATE).run(line, print)), CommandError)
    assert calls.seen == []
    assert calls.audited == [("command", line)]


@given(st.text(max_size=80), st.sampled_from(list(Access)))
def test_no_line_breaks_it_and_a_reader_never_changes_anything(line: str, access: Access) -> None:
    """Whatever is typed."""
    calls = Calls()
    result = outcome(calls.line(access).run(line, print))
    assert isinstance(result, str | CommandError)
    if access is Access.READ:
        assert not {name for name, _ in calls.seen} & {command.name for command in COMMANDS if command.changes}


def test_a_reader_is_offered_nothing_that_changes_anything() -> None:
    """Neither by help, nor by completion, nor by name."""
    calls = Calls()
    reader = calls.line(Access.READ)
    for command in COMMANDS:
        arguments = ", ".join('"x"' for _ in range(command.fewest))
        result = outcome(reader.run(f"{command.name}({arguments})", print))
        if command.changes:
            assert isinstance(result, CommandError)
            assert "reading only" in str(result)
            line = f"{command.name}({arguments})"
            assert calls.audited[-2:] == [("command", line), ("refused", line)]
            assert f"{command.name}(" not in reader.help()
            assert command.name not in reader.completions("")
        else:
            assert result == f"name  {command.name}"
    assert calls.line(Access.OPERATE).completions("re") == ["reload"]


def test_a_wrong_number_of_arguments_is_told() -> None:
    """With what to write."""
    reader = Calls().line(Access.READ)
    assert str(outcome(reader.run("explain", print))) == "write explain(url, [method], [client])"
    assert str(outcome(reader.run("why a b", print))) == "write why(id)"


def test_results_are_aligned_and_hold_no_control_character() -> None:
    """They may hold a client's own words."""
    assert printed({"a": 1, "long": None}) == "a     1\nlong  -"
    assert printed([{"x": "one", "y": 2}, {"x": "\x1b[2J", "y": 33}]) == "x        y\none      2\n\\x1b[2J  33"
    assert printed([]) == "(none)"
    assert printed({"rows": [{"x": 1}]}) == "rows:\n  x\n  1"


def test_the_documented_screen_has_the_help_that_there_is() -> None:
    """docs/operations.md shows a terminal of an operator's."""
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    documented = "\n".join(line.removeprefix("    ") for line in page.splitlines())
    assert Calls().line(Access.OPERATE).help() in documented
