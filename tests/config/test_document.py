"""YAML and JSON files, read with suspicion."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.config import document
from netfw.config.document import locate, parse_json, parse_yaml, read_document
from netfw.config.errors import ConfigErrors


def refusal(text: str) -> str:
    """The one problem of a YAML text."""
    with pytest.raises(ConfigErrors) as caught:
        parse_yaml(text, "x.yaml")
    (problem,) = caught.value.problems
    return str(problem)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing", None),
        ("a: 1", {"a": 1}),
        (
            "a: [1, -2, 1.5, true, False, null, ~, '1', \"true\"]",
            {"a": [1, -2, 1.5, True, False, None, None, "1", "true"]},
        ),
        ("a:", {"a": None}),
        ("a: ''", {"a": ""}),
        ("a: |\n  b\n  c\n", {"a": "b\nc\n"}),
        ("- a\n- b: c", ["a", {"b": "c"}]),
        ("80: x\ntrue: y", {"80": "x", "true": "y"}),
        ("---\na: ::1", {"a": "::1"}),
    ],
)
def test_plain_yaml_is_plain_data(text: str, value: object) -> None:
    """The core schema, and keys as they are spelled."""
    assert parse_yaml(text, "x") == value


@pytest.mark.parametrize(
    "text", ["NO", "on", "yes", "2026-12-01", "12:30", "010", "0x1f", "0o17", "1_000", ".inf", ".nan", "<<"]
)
def test_what_yaml_1_1_would_turn_into_something_else_stays_text(text: str) -> None:
    """Norway, dates, times and octal numbers are what they look like."""
    assert parse_yaml(f"a: {text}", "x") == {"a": text}


@pytest.mark.parametrize(
    ("text", "place", "word"),
    [
        ("a: 1\nb: &x [1]\nc: *x", "x.yaml:2", "anchor"),
        ("a: *x", "x.yaml:1", "alias"),
        ("a: 1\na: 2", "x.yaml:2", "second time"),
        ("a: !!python/object/apply:os.system ['true']", "x.yaml:1", "tag"),
        ("a: !!binary aGk=", "x.yaml:1", "tag"),
        ("? [1]\n: 2", "x.yaml:1", "key must be text"),
        ("? *x\n: 2", "x.yaml:1", "alias"),
        ("a: 1\n---\nb: 2", "x.yaml:2", "second document"),
        ("a: 1\n b: 2", "x.yaml:2", ""),
        ("a: [1, 2\nb: 3", "x.yaml:2", ""),
        ("a:\n\t- b", "x.yaml:2", "indent with spaces"),
        ("a: @b", "x.yaml:1", "quote"),
        ("[" * 70 + "]" * 70, "x.yaml:1", "deeper than 64"),
        ("a: \x01", "x.yaml", ""),
    ],
)
def test_traps_are_refused_with_their_place(text: str, place: str, word: str) -> None:
    """Anything that could expand, construct or be read in two ways, and every syntax error."""
    message = refusal(text)
    assert message.startswith(place)
    assert word in message


def test_a_syntax_error_names_the_column() -> None:
    """Line and column count from one."""
    assert refusal("a: 1\nb: ]").startswith("x.yaml:2: ")
    assert "(column 4)" in refusal("a: 1\nb: ]")


def test_deep_nesting_ends_at_the_cap_whatever_its_depth() -> None:
    """A hundred thousand brackets are a message, not a crash."""
    assert "deeper than 64" in refusal("- " * 100 + "x")
    with pytest.raises(ConfigErrors):
        parse_json("[" * 100_000 + "]" * 100_000, "x.json")


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "[NaN]", "{", "[1] x", "[" * 70 + "]" * 70, ""])
def test_bad_json_is_refused(text: str) -> None:
    """Duplicate keys, NaN, depth and syntax."""
    with pytest.raises(ConfigErrors):
        parse_json(text, "x.json")


def test_a_json_error_names_its_line() -> None:
    """Line and column as for YAML."""
    with pytest.raises(ConfigErrors, match="x.json:2.*column 6"):
        parse_json('{"a": 1,\n"b": }', "x.json")


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"a: \0", "NUL"), (b"a: \xff", "UTF-8"), (b"\xff\xfea\0", "UTF-8"), (b"a: " + b"x" * 40, "larger")],
)
def test_files_that_are_no_text_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, word: str
) -> None:
    """NUL, other encodings, and more than the cap."""
    monkeypatch.setattr(document, "SIZE_LIMIT", 32)
    file = tmp_path / "x.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigErrors, match=word):
        read_document(file)


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    """The file's name and the system's reason."""
    with pytest.raises(ConfigErrors, match="x.yaml: cannot be read: No such file"):
        read_document(tmp_path / "x.yaml")


def test_the_suffix_chooses_the_language(tmp_path: Path) -> None:
    """`.json` is JSON, which a comment is not; a byte order mark is left out of both."""
    (tmp_path / "a.json").write_text('{"a": 1} # b')
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfa: 1 # b")
    with pytest.raises(ConfigErrors):
        read_document(tmp_path / "a.json")
    assert read_document(tmp_path / "a.yaml") == {"a": 1}


def test_lines_are_found_by_path_or_by_the_nearest_thing_above() -> None:
    """What is missing is shown where it would be."""
    text = "a: 1\nlisteners:\n  - name: x\n  - name: y\n    port: 5\n"
    paths = {"a", "listeners[1].port", "listeners[1].address", "listeners[7].x", "nothing"}
    assert locate(text, paths) == {
        "a": 1,
        "listeners[1].port": 5,
        "listeners[1].address": 4,
        "listeners[7].x": 2,
    }


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(plain)
def test_json_reads_back_as_it_was_printed(value: object) -> None:
    """Through the JSON reader exactly."""
    assert parse_json(json.dumps(value), "x") == value


@given(st.text(alphabet="a:[]{}-?&*!|>'\"%@`#,\n \t0~<é\x85\u2028", max_size=40))
def test_any_text_is_data_or_a_problem(text: str) -> None:
    """No other exception comes out."""
    try:
        parse_yaml(text, "x")
    except ConfigErrors as errors:
        assert errors.problems
