"""Outputs that deliver batches: what each setting becomes, and every mistake with its place and its fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from netfw.config import delivery_section
from netfw.config.credential_files import log_files
from netfw.config.delivery_model import (
    MIB,
    AwsSection,
    AwsService,
    BatchSection,
    DeliverySection,
    Drop,
    HttpSection,
    OtlpSection,
    SecretSource,
    Signal,
    SpoolSection,
)
from netfw.config.errors import ConfigErrors
from netfw.config.load import load_config
from netfw.config.log_model import LogSection
from netfw.workers.plain import from_plain, to_plain


def load(tmp_path: Path, *outputs: Any, with_files: bool = False) -> LogSection:
    document = {
        "listeners": [{"name": "main", "address": "127.0.0.1", "port": 3128}],
        "policy": {"file": "policy.yaml"},
        "log": {"outputs": [{"name": f"o{position}", **output} for position, output in enumerate(outputs)]},
    }
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump({"ProxyConfiguration": {"ProxyConfigurationName": "p"}}))
    (tmp_path / "proxy.yaml").write_text(yaml.safe_dump(document))
    return load_config(tmp_path / "proxy.yaml", with_files=with_files).log


def delivery(tmp_path: Path, **output: Any) -> DeliverySection:
    found = load(tmp_path, {"spool": "spool", **output}).outputs[0].delivery
    assert found is not None
    return found


def complaints(tmp_path: Path, *outputs: Any, with_files: bool = False) -> list[str]:
    with pytest.raises(ConfigErrors) as raised:
        load(tmp_path, *outputs, with_files=with_files)
    return [str(problem) for problem in raised.value.problems]


def test_a_url_and_a_directory_are_enough(tmp_path: Path) -> None:
    assert delivery(tmp_path, http="https://siem.test/in") == DeliverySection(
        spool=SpoolSection(tmp_path / "spool", 256 * MIB, Drop.OLDEST),
        batch=BatchSection(500, MIB, 5.0),
        http=HttpSection("https://siem.test/in"),
    )


def test_everything_can_be_said(tmp_path: Path) -> None:
    found = delivery(
        tmp_path,
        http={
            "url": "https://siem.test:8443/in?x=1",
            "headers": {
                "X-Team": "blue",
                "Authorization": {"file": "token"},
                "X-Api-Key": {"env": "SIEM_KEY"},
            },
            "ca": "ca.pem",
            "certificate": "me.pem",
            "private_key": "me.key",
            "compress": False,
        },
        batch={"records": 7, "size": "2MiB", "wait": "250ms"},
        spool={"path": "s", "size": "1GiB", "drop": "newest"},
    )
    secrets = {"Authorization": SecretSource(tmp_path / "token"), "X-Api-Key": SecretSource(None, "SIEM_KEY")}
    assert found.http == HttpSection(
        "https://siem.test:8443/in?x=1",
        {"X-Team": "blue"},
        secrets,
        tmp_path / "ca.pem",
        tmp_path / "me.pem",
        tmp_path / "me.key",
        False,
    )
    assert found.batch == BatchSection(7, 2 * MIB, 0.25)
    assert found.spool == SpoolSection(tmp_path / "s", 1024 * MIB, Drop.NEWEST)
    assert [path.name for path in found.files] == ["ca.pem", "me.pem", "me.key", "token"]
    assert found.variables == ("SIEM_KEY",)
    assert from_plain(DeliverySection, to_plain(found)) == found


def test_otlp_puts_the_signals_path_behind_the_endpoint_unless_it_is_there(tmp_path: Path) -> None:
    for given, url, signal in (
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/logs", Signal.LOGS),
        ({"endpoint": "https://o.test/base/", "signal": "spans"}, "https://o.test/base/v1/traces", Signal.SPANS),
        ({"endpoint": "https://o.test/v1/logs"}, "https://o.test/v1/logs", Signal.LOGS),
    ):
        assert delivery(tmp_path, otlp=given).otlp == OtlpSection(HttpSection(url), signal)
    with_resource = {"endpoint": "http://127.0.0.1:4318", "resource": {"deployment.environment.name": "prod"}}
    found = delivery(tmp_path, otlp=with_resource).otlp
    assert found is not None and found.resource == {"deployment.environment.name": "prod"}


def test_aws_services_have_a_target_and_a_region(tmp_path: Path) -> None:
    found = delivery(tmp_path, s3={"bucket": "records-1", "prefix": "netfw/", "region": "eu-central-1"})
    assert found.aws == AwsSection(AwsService.S3, "records-1", "netfw/", "eu-central-1")
    assert found.batch.size == 8 * MIB and found.variables == ("AWS_*", "HOME")
    found = delivery(
        tmp_path,
        cloudwatch={
            "group": "/netfw/records",
            "region": "us-east-2",
            "credentials": "keys",
            "profile": "p",
            "endpoint": "http://127.0.0.1:5000",
        },
    )
    assert found.aws == AwsSection(
        AwsService.CLOUDWATCH,
        "/netfw/records",
        None,
        "us-east-2",
        "http://127.0.0.1:5000",
        tmp_path / "keys",
        "p",
        compress=False,
    )
    assert found.shown == "cloudwatch:/netfw/records at http://127.0.0.1:5000"
    found = delivery(tmp_path, firehose={"stream": "to-siem", "region": "us-east-2"})
    assert found.aws == AwsSection(AwsService.FIREHOSE, "to-siem", None, "us-east-2", compress=False)


def test_without_boto3_aws_services_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_section, "find_spec", lambda _name: None)
    (found,) = complaints(tmp_path, {"spool": "s", "firehose": {"stream": "x", "region": "us-east-2"}})
    assert "log.outputs[0].firehose" in found and "python3-boto3" in found and "netfw[aws]" in found


HTTP = "https://siem.test/in"


@pytest.mark.parametrize(
    ("output", "place", "words"),
    [
        ({"http": HTTP}, "spool", "name a directory of its own"),
        ({"http": "siem.test/in", "spool": "s"}, "http", "is no URL of a server"),
        ({"http": "https://u:pw@siem.test/", "spool": "s"}, "http", "has a user or a password"),
        ({"http": "https://siem.test/#x", "spool": "s"}, "http", "fragment"),
        ({"http": {}, "spool": "s"}, "http.url", "is missing"),
        ({"http": {"url": HTTP, "headers": {"authorization": "x"}}, "spool": "s"}, "headers.authorization", "{file:"),
        ({"http": {"url": HTTP, "headers": {"Host": "x"}}, "spool": "s"}, "headers.Host", "set by the proxy"),
        ({"http": {"url": HTTP, "headers": {"a b": "x"}}, "spool": "s"}, "headers.a b", "no name of a field"),
        ({"http": {"url": HTTP, "headers": {"X": {}}}, "spool": "s"}, "headers.X", "needs one of"),
        (
            {"http": {"url": HTTP, "headers": {"X": {"env": "A", "file": "b"}}}, "spool": "s"},
            "headers.X",
            "needs one of",
        ),
        ({"http": {"url": HTTP, "headers": {"X": {"env": "A-B"}}}, "spool": "s"}, "headers.X.env", "no name of"),
        ({"http": {"url": HTTP, "certificate": "c"}, "spool": "s"}, "http.private_key", "is missing"),
        ({"http": {"url": "http://h.test/", "ca": "c"}, "spool": "s"}, "http.ca", "is for TLS"),
        (
            {"http": {"url": "http://h.test/", "headers": {"X": {"env": "A"}}}, "spool": "s"},
            "http.headers",
            "readable on the way",
        ),
        ({"http": HTTP, "spool": "s", "path": "r"}, "outputs[0]", "has both path and http"),
        ({"http": HTTP, "otlp": HTTP, "spool": "s"}, "outputs[0]", "has both http and otlp"),
        ({"path": "r", "spool": "s"}, "spool", "is for outputs with one of"),
        ({"path": "r", "batch": {"records": 1}}, "batch", "is for outputs with one of"),
        ({"http": HTTP, "spool": {"path": "s", "drop": "all"}}, "spool.drop", "oldest"),
        ({"http": HTTP, "spool": {"path": "s", "size": "2MiB"}}, "spool.size", "less than 4 batches"),
        ({"http": HTTP, "spool": "s", "batch": {"records": 0}}, "batch.records", "whole number"),
        ({"http": HTTP, "spool": "s", "batch": {"wait": "2d"}}, "batch.wait", "between 50ms and 1h"),
        ({"otlp": {"endpoint": HTTP, "signal": "metrics"}, "spool": "s"}, "otlp.signal", "spans"),
        ({"otlp": HTTP, "spool": "s", "format": "ecs"}, "outputs[0].format", "is json for OTLP"),
        ({"s3": {"bucket": "A_b", "region": "us-east-2"}, "spool": "s"}, "s3.bucket", "no bucket"),
        ({"s3": {"bucket": "abc"}, "spool": "s"}, "s3.region", "is missing"),
        ({"firehose": {"region": "us-east-2"}, "spool": "s"}, "firehose.stream", "missing"),
        (
            {"firehose": {"stream": "x", "region": "us-east-2"}, "spool": "s", "batch": {"records": 501}},
            "batch.records",
            "from 1 to 500",
        ),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path: Path, output: Any, place: str, words: str) -> None:
    found = complaints(tmp_path, output)
    assert any(place in one and words in one for one in found), found
    assert "pw" not in " ".join(found)


def test_two_outputs_cannot_share_a_spool(tmp_path: Path) -> None:
    (found,) = complaints(tmp_path, {"http": HTTP, "spool": "s"}, {"otlp": HTTP, "spool": "s"})
    assert "is the spool of two outputs" in found


def test_files_are_looked_at(tmp_path: Path) -> None:
    """Secrets are their owner's alone, and the spool is a directory that can be made."""
    (tmp_path / "token").write_text("s3cret")
    (tmp_path / "token").chmod(0o644)
    (tmp_path / "file").write_text("")
    secret = {"url": HTTP, "headers": {"Authorization": {"file": "token"}}, "ca": "missing.pem"}
    found = complaints(tmp_path, {"http": secret, "spool": "file"}, with_files=True)
    assert any("headers.Authorization.file" in one and "chmod 0600" in one for one in found), found
    assert any("http.ca" in one and "missing.pem" in one for one in found)
    assert any("spool" in one and "is not a directory" in one for one in found)
    assert "s3cret" not in " ".join(found)
    (tmp_path / "token").chmod(0o600)
    section = load(tmp_path, {"http": {**secret, "ca": "token"}, "spool": "new/deep"}, with_files=True)
    assert list(log_files(section)) == [tmp_path / "token", tmp_path / "token"]
