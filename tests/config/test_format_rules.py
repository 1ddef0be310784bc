"""Formats and where they go: each combination is taken or refused with what to write instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from netfw.config.errors import ConfigErrors
from netfw.config.format_rules import delimiter, format_name
from netfw.config.load import load_config
from netfw.config.log_model import LogSection
from netfw.telemetry.record_fields import OUTPUT_FORMATS

S3 = {"s3": {"bucket": "b-1", "region": "us-east-2"}, "spool": "s"}
CLOUDWATCH = {"cloudwatch": {"group": "g", "region": "us-east-2"}, "spool": "s"}
FIREHOSE = {"firehose": {"stream": "f", "region": "us-east-2"}, "spool": "s"}
HTTP = {"http": "https://siem.test/in", "spool": "s"}
OTLP = {"otlp": "https://otel.test", "spool": "s"}
PLACES: dict[str, dict[str, Any]] = {
    "s3": S3, "cloudwatch": CLOUDWATCH, "firehose": FIREHOSE, "http": HTTP, "otlp": OTLP,
    "path": {"path": "r"}, "stdout": {"stdout": True}, "syslog": {"syslog": "tcp://siem.test"},
}  # fmt: skip


def load(tmp_path: Path, output: dict[str, Any], **log: Any) -> LogSection:
    document = {
        "listeners": [{"name": "main", "address": "127.0.0.1", "port": 3128}],
        "policy": {"file": "policy.yaml"},
        "log": {**log, "outputs": [{"name": "o", **output}]},
    }
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump({"ProxyConfiguration": {"ProxyConfigurationName": "p"}}))
    (tmp_path / "proxy.yaml").write_text(yaml.safe_dump(document))
    return load_config(tmp_path / "proxy.yaml", with_files=False).log


def complaints(tmp_path: Path, output: dict[str, Any], **log: Any) -> str:
    with pytest.raises(ConfigErrors) as raised:
        load(tmp_path, output, **log)
    return "\n".join(str(problem) for problem in raised.value.problems)


@pytest.mark.parametrize("form", OUTPUT_FORMATS)
@pytest.mark.parametrize("place", PLACES)
def test_each_format_at_each_place(tmp_path: Path, place: str, form: str) -> None:
    """The vendor's table: S3 has plain, json and w3c, CloudWatch Logs plain and json, Firehose plain, json and raw."""
    if place in ("s3", "cloudwatch", "firehose"):
        pytest.importorskip("boto3")
    allowed = form == "json" if place == "otlp" else {"w3c": "s3", "raw": "firehose"}.get(form, place) == place
    if allowed:
        assert load(tmp_path, {**PLACES[place], "format": form}).outputs[0].form("deny").format == form
    else:
        found = complaints(tmp_path, {**PLACES[place], "format": form})
        assert "log.outputs[0].format: " in found
        assert ("write format: json" if place == "otlp" else "write plain, or make it an output to") in found


def test_parquet_is_refused_with_what_there_is_instead(tmp_path: Path) -> None:
    pytest.importorskip("boto3")
    found = complaints(tmp_path, {**S3, "format": "parquet"})
    assert "log.outputs[0].format: 'parquet' needs a library that Debian 12 has no package of" in found
    assert "write w3c or plain for columns" in found


def test_an_unknown_format_is_told_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="write w3c"):
        format_name("w3")


def test_columns_have_their_fields_and_their_delimiter(tmp_path: Path) -> None:
    found = load(tmp_path, {**HTTP, "format": "plain", "fields": ["url", "id"], "delimiter": "||", "types": ["deny"]})
    form = found.outputs[0].form("deny")
    assert (form.fields, form.delimiter) == (("url", "id"), "||")
    assert load(tmp_path, {**HTTP, "format": "plain"}).outputs[0].form("allow").delimiter == "\t"


def test_the_columns_of_an_output_are_the_same_for_all_its_types(tmp_path: Path) -> None:
    mixed = {**HTTP, "format": "plain", "deny": {"fields": ["url"]}}
    assert "log.outputs[0].format: differs by type" in complaints(tmp_path, mixed)
    assert "log.outputs[0].format: differs by type" in complaints(tmp_path, {**HTTP, "deny": {"format": "plain"}})
    # A type that the output does not get says nothing.
    assert load(tmp_path, {**mixed, "types": ["deny"]}).outputs[0].form("deny").fields == ("url",)


def test_w3cs_form_is_separated_by_whitespace(tmp_path: Path) -> None:
    pytest.importorskip("boto3")
    assert load(tmp_path, {**S3, "format": "w3c", "delimiter": " "}).outputs[0].form("allow").delimiter == " "
    found = complaints(tmp_path, {**S3, "format": "w3c", "delimiter": ","})
    assert 'log.outputs[0].delimiter: is whitespace in w3c, by its definition; write "\\t" or " "' in found


def test_a_delimiter_without_columns_is_a_mistake(tmp_path: Path) -> None:
    found = complaints(tmp_path, {**HTTP, "delimiter": ","})
    assert "log.outputs[0].delimiter: stands between columns; write format: plain or w3c or raw" in found
    # In `log` it is for those outputs that have some.
    assert load(tmp_path, HTTP, delimiter=",").outputs[0].form("deny").format == "json"


def test_what_is_said_in_log_is_judged_where_it_arrives(tmp_path: Path) -> None:
    assert "log.outputs[0].format: 'raw' is for firehose alone" in complaints(tmp_path, HTTP, format="raw")
    assert "log.format: 'w3c' is for s3 alone" in complaints(tmp_path, HTTP, format="w3c", path="r")


@pytest.mark.parametrize("value", ["", "a", "0", "-", "\\", '"', "\n", "\r", "\x1f", "ä", ",,,,,,", 5, None, ["\t"]])
def test_a_delimiter_that_could_be_taken_for_something_else_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="cannot stand between columns"):
        delimiter(value)


def test_a_tab_that_yaml_did_not_make_one_is_told() -> None:
    with pytest.raises(ValueError, match="in double quotes"):
        delimiter("\\t")
    assert [delimiter(one) for one in ("\t", " ", "||", ";")] == ["\t", " ", "||", ";"]
