"""Columns: whatever a peer chose, as many as there are names, on one line, and to be had back."""

from __future__ import annotations

import csv
import re
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.telemetry.record_columns import Columns, column_names
from netfw.telemetry.record_fields import AWS_DEFAULT, AWS_MANDATORY, AWS_NAMES, FIELD_NAMES

RECORD: dict[str, Any] = {
    "event_timestamp": 1768021005,
    "proxy_name": "test-proxy",
    "final_action": "allow",
    "client_src_ip": "10.0.142.68",
    "dest_domain": "httpbin.org.",
    "url": {"scheme": "https", "authority": "httpbin.org", "path": "/a b", "query": "x=1,2"},
    "all_matches": {"matches": [{"rule_id": "r", "hook": "pre_dns", "action": "alert"}]},
    "http_status_code": 500,
    "final_rule_name": "default",
    "final_rule_group_name": "",
    "kind": "exchange",
    "id": "AAAAA-00001",
    "duration_ms": 12,
    "sample_rate": 0.5,
    "tls": {"intercepted": True, "sni": "httpbin.org"},
}
DELIMITERS = st.text("\t ,;|/.:!%&()=+~_@$^", min_size=1, max_size=5)
HOSTILE = st.one_of(
    st.text(max_size=20),
    st.text("\\tnx0u-\"'#, |;\t\n\r", max_size=12),
    st.sampled_from(["-", "--", "", "#Fields: x", "a\r\n#x", "\x1b[2J", "\u202e", "\ud800", "\u2028", "\x85"]),
    st.sampled_from(["\\t", "\\", '"', '"a b"', "\U0001f600"]),
)
VALUES = st.one_of(HOSTILE, st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False))


def plain(record: dict[str, Any], *fields: str, delimiter: str = "\t", form: str = "plain") -> str:
    text = Columns(form, fields, delimiter).text(record)
    assert text is not None
    return text


def had_back(text: str) -> str:
    """By Python's own reader of such escapes."""
    return text.encode("ascii").decode("unicode_escape")


def read_w3c(line: str) -> list[str]:
    """As the draft says: columns end at whitespace, but for what is quoted."""
    return re.findall(r'"(?:[^"]|"")*"|\S+', line)


def expected(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value).replace("inf", "Infinity")


def test_the_vendors_default_fields_in_their_order_with_a_tab_between_them() -> None:
    assert plain(RECORD) == (
        "1768021005\ttest-proxy\tallow\t10.0.142.68\t-\thttpbin.org.\t-\t-\t500\tdefault\t-"
    )  # fmt: skip
    assert column_names(()) == AWS_DEFAULT


def test_fields_come_in_the_order_in_which_they_are_named_behind_the_mandatory_ones_that_were_not() -> None:
    assert column_names(["url", "final_action", "url"]) == ("event_timestamp", "proxy_name", "url", "final_action")
    assert plain(RECORD, "url", "final_action", delimiter=",") == (
        r"1768021005,test-proxy,https://httpbin.org/a b?x=1\x2c2,allow"
    )


@given(st.lists(st.sampled_from(FIELD_NAMES), unique=True))
def test_mandatory_fields_are_always_there(fields: list[str]) -> None:
    names = column_names(fields)
    assert set(AWS_MANDATORY) <= set(names) and len(set(names)) == len(names)
    assert [name for name in names if name in fields] == (fields or []) or not fields
    assert len(plain(RECORD, *fields).split("\t")) == len(names)


def test_objects_are_a_url_or_json_and_their_members_have_columns_of_their_own() -> None:
    text = plain(RECORD, "url.path", "url.query", "tls.sni", "tls", "all_matches", "sample_rate", "names", form="w3c")
    columns = text.split("\t")[3:]
    assert columns[:3] == [r"/a\x20b", "x=1,2", "httpbin.org"]
    assert [had_back(column) for column in columns[3:]] == [
        '{"intercepted":true,"sni":"httpbin.org"}',
        '{"matches":[{"rule_id":"r","hook":"pre_dns","action":"alert"}]}',
        "0.5",
        "-",
    ]


def test_of_a_url_what_is_left_is_shown() -> None:
    assert plain({"url": {"path": "/x"}}, "url").split("\t")[3] == "/x"
    assert plain({"url": {"authority": "a.test", "path": "/x"}}, "url").split("\t")[3] == "//a.test/x"
    assert plain({"url": {}}, "url").split("\t")[3] == "-"


@pytest.mark.parametrize("kind", ["audit", "dns"])
def test_what_the_vendors_log_does_not_have_has_no_line(kind: str) -> None:
    assert Columns("plain", (), "\t").text({**RECORD, "kind": kind}) is None


@given(st.lists(VALUES, min_size=3, max_size=6), st.sampled_from(["plain", "raw"]), DELIMITERS)
def test_every_value_is_one_column_and_can_be_had_back(values: list[Any], form: str, delimiter: str) -> None:
    names = AWS_NAMES[: len(values)]
    text = plain(dict(zip(names, values, strict=True)), *names, delimiter=delimiter, form=form)
    assert text.isascii() and (text.replace("\t", "")).isprintable()
    assert len(text.splitlines()) == 1
    columns = text.split(delimiter)
    assert [had_back(column) for column in columns] == [expected(value) for value in values]
    # What was given is told from what was not.
    assert [column == "-" for column in columns] == [value in (None, "") for value in values]


@given(st.lists(VALUES, min_size=3, max_size=6), st.sampled_from(["\t", " "]))
def test_in_w3cs_form_readers_that_know_of_quotes_and_those_that_do_not_find_the_same(
    values: list[Any], delimiter: str
) -> None:
    names = AWS_NAMES[: len(values)]
    text = plain(dict(zip(names, values, strict=True)), *names, delimiter=delimiter, form="w3c")
    columns = text.split(delimiter)
    assert columns == text.split() == read_w3c(text)
    assert "#" not in text and '"' not in text
    assert [had_back(column) for column in columns] == [expected(value) for value in values]


@given(st.lists(HOSTILE, min_size=3, max_size=6), st.sampled_from(",;|\t"))
def test_a_reader_of_csv_finds_the_same(values: list[str], delimiter: str) -> None:
    names = AWS_NAMES[: len(values)]
    text = plain(dict(zip(names, values, strict=True)), *names, delimiter=delimiter)
    (row,) = csv.reader([text], delimiter=delimiter)
    assert [had_back(column) for column in row] == [value or "-" for value in values]


def test_a_url_with_everything_in_it_is_one_word() -> None:
    url = {"scheme": "http", "authority": "a.test", "path": "/x\ty z\r\n2026 allow", "query": '"q"=\x1b[2J\\,#'}
    text = plain({**RECORD, "url": url}, "url", "id", form="w3c", delimiter=" ")
    assert text == (
        r"1768021005 test-proxy allow http://a.test/x\ty\x20z\r\n2026\x20allow?\x22q\x22=\x1b[2J\\,\x23 AAAAA-00001"
    )
    assert len(shlex.split(text.replace("\\", ""))) == 5
