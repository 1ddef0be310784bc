"""Commands found in a text of shell, as a shell would find them."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.testing.shell_lines import UNKNOWN, simple_commands


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("netfw check && netfw reload", [["netfw", "check"], ["netfw", "reload"]]),
        ("a; b | c & d || e\nf", [["a"], ["b"], ["c"], ["d"], ["e"], ["f"]]),
        ("a 'b c' \"d e\" f\\ g", [["a", "b c", "d e", "f g"]]),
        ("a b   # c; d", [["a", "b"]]),
        ("a b#c", [["a", "b#c"]]),
        ("a > b c 2>&1 2> d <e >>f g", [["a", "c", "g"]]),
        ("a \\\n  b", [["a", "b"]]),
        ('eval "$(netfw env --format sh)"', [["netfw", "env", "--format", "sh"], ["eval", UNKNOWN]]),
        ("netfw why $(netfw logs | tail -1)", [["netfw", "logs"], ["tail", "-1"], ["netfw", "why", UNKNOWN]]),
        ("kill `cat x`", [["cat", "x"], ["kill", UNKNOWN]]),
        ("(umask 077; x)", [["umask", "077"], ["x"]]),
        ("A=1 B=2 netfw status", [["netfw", "status"]]),
        ("if a; then b; fi", [["a"], ["b"], ["fi"]]),
        ("runuser -u netfw -- netfw ca init", [["netfw", "ca", "init"]]),
        ("a ${B:?} $C $? \"$D\"", [["a", *[UNKNOWN] * 4]]),
        ("a \"b $(c \"d e\") f\"", [["c", "d e"], ["a", f"b {UNKNOWN} f"]]),
        ("", []),
    ],
)  # fmt: skip
def test_commands(text: str, commands: list[list[str]]) -> None:
    assert simple_commands(text) == commands


@given(st.lists(st.text(min_size=1), min_size=1))
def test_words_that_were_quoted_come_back(words: list[str]) -> None:
    assert simple_commands(shlex.join(["echo", *words])) == [["echo", *words]]


@given(st.text(alphabet="ab \"'\\$(){}`#;&|<>\n=1"))
def test_any_text_ends(text: str) -> None:
    for words in simple_commands(text):
        assert words
