"""`log`: outputs, what each gets of records, and every mistake with its place and its fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from netfw.config.errors import ConfigErrors
from netfw.config.load import load_config
from netfw.config.log_model import (
    EXCHANGE_TYPES,
    RECORD_TYPES,
    LogSection,
    OutputSection,
    RecordForm,
    SyslogSection,
    SyslogTransport,
)
from netfw.config.model import Configuration
from netfw.workers.plain import from_plain, to_plain


def configuration(tmp_path: Path, log: Any) -> Configuration:
    document = {
        "listeners": [{"name": "main", "address": "127.0.0.1", "port": 3128}],
        "policy": {"file": "policy.yaml"},
        "log": log,
    }
    (tmp_path / "proxy.yaml").write_text(yaml.safe_dump(document))
    return load_config(tmp_path / "proxy.yaml", with_files=False)


def load(tmp_path: Path, log: Any) -> LogSection:
    return configuration(tmp_path, log).log


def test_the_simple_settings_are_one_output(tmp_path: Path) -> None:
    """As they always were: every line as it is, to the file or to standard output."""
    for given in ({}, None, {"stdout": True}):
        log = load(tmp_path, given)
        assert log.outputs == (OutputSection("stdout"),)
        assert log.outputs[0].is_untouched and log.uses_stdout and log.readable is None
    log = load(tmp_path, {"path": "r.jsonl"})
    assert log.outputs == (OutputSection("file", path=tmp_path / "r.jsonl"),)
    assert log.outputs[0].is_untouched and not log.uses_stdout
    assert (log.path, log.readable, log.journal) == (tmp_path / "r.jsonl", tmp_path / "r.jsonl", None)


def test_outputs_stand_beside_the_simple_one(tmp_path: Path) -> None:
    log = load(
        tmp_path,
        {
            "path": "r.jsonl",
            "outputs": [
                {"name": "siem", "syslog": "tls://siem.example.com", "types": ["deny", "alert"], "format": "ocsf"},
                {"name": "screen", "stdout": True, "format": "pretty", "types": "deny", "queue": 500},
            ],
        },
    )
    assert [output.name for output in log.outputs] == ["file", "siem", "screen"]
    siem, screen = log.outputs[1:]
    assert siem.syslog == SyslogSection(SyslogTransport.TLS, host="siem.example.com", port=6514)
    assert (siem.types, siem.form("deny").format, siem.place) == (("deny", "alert"), "ocsf", "log.outputs[0]")
    assert (screen.types, screen.form("deny").format, screen.queue) == (("deny",), "pretty", 500)
    assert [output.shown for output in log.outputs[1:]] == ["tls://siem.example.com:6514", "standard output"]
    # Without the simple one there is no standard output beside them.
    only = load(tmp_path, {"outputs": [{"name": "a", "path": "a.log"}]})
    assert [output.name for output in only.outputs] == ["a"]


def test_what_is_said_closer_wins(tmp_path: Path) -> None:
    """`log`, `log.TYPE`, the output, the output's TYPE; treatments are put together field by field."""
    log = load(
        tmp_path,
        {
            "hash_key": "key",
            "format": "ecs",
            "treat": {"client_src_ip": "hash", "user_agent": "drop"},
            "allow": {"sample": 0.1, "fields": ["dest_domain"]},
            "outputs": [
                {"name": "a", "path": "a"},
                {
                    "name": "b", "path": "b", "format": "json", "treat": {"user_agent": "keep", "url.query": "mask"},
                    "allow": {"format": "squid", "sample": 1}, "alert": {"treat": {"client_src_ip": "keep"}},
                },
            ],
        },
    )  # fmt: skip
    first, second = log.outputs
    everywhere = {"client_src_ip": "hash", "user_agent": "drop"}
    assert log.treatments == everywhere
    assert first.form("allow") == RecordForm("ecs", ("dest_domain",), 0.1, everywhere)
    assert first.form("deny") == RecordForm("ecs", (), 1.0, everywhere)
    here = {"client_src_ip": "hash", "url.query": "mask"}
    assert second.form("allow") == RecordForm("squid", ("dest_domain",), 1.0, here)
    assert second.form("deny") == RecordForm("json", (), 1.0, here)
    assert second.form("alert").treatments == {"url.query": "mask"}


def test_what_cannot_be_read_is_kept_in_a_journal_where_there_is_an_index(tmp_path: Path) -> None:
    """A file in another form, sampled or without some types has no use for the index; one with hidden values has."""
    index = {"index": {"path": "i"}}
    for settings in ({"format": "squid"}, {"allow": {"sample": 0.5}}, {"deny": {"fields": ["dest_ip"]}}):
        log = load(tmp_path, {"path": "r", **settings, **index})
        assert log.journal == log.readable == tmp_path / "i.journal"
    hidden = load(tmp_path, {"path": "r", "treat": {"user_agent": "mask"}, **index})
    assert (hidden.journal, hidden.readable) == (None, tmp_path / "r")
    only_denials = {"outputs": [{"name": "a", "path": "a", "types": ["deny"]}], **index}
    assert load(tmp_path, only_denials).journal is not None


def test_without_one_it_is_said_which_setting_makes_it_unreadable(tmp_path: Path) -> None:
    log = load(tmp_path, {"path": "r", "format": "squid"})
    assert log.readable is None
    assert log.why_unreadable == f"{tmp_path}/r has them in the form squid"
    log = load(tmp_path, {"outputs": [{"name": "a", "syslog": "udp://[::1]:5140"}]})
    assert (log.readable, log.why_unreadable) == (None, "records go to udp://[::1]:5140")
    partial = load(tmp_path, {"path": "r", "allow": {"sample": 0.5}})
    assert partial.readable == tmp_path / "r"
    assert "does not have everything" in (partial.why_partial or "")
    assert load(tmp_path, {"path": "r"}).why_partial is None


def test_dns_records_are_off_until_they_are_asked_for(tmp_path: Path) -> None:
    assert load(tmp_path, {"path": "r"}).dns is False
    assert load(tmp_path, {"path": "r", "dns": True}).dns is True
    log = load(tmp_path, {"path": "r", "dns": {"sample": 0.5}})
    assert log.dns is True and log.outputs[0].form("dns").sample == 0.5
    assert log.outputs[0].is_whole


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("tcp://192.0.2.1", "tcp://192.0.2.1:601"),
        ("udp://log_host:514", "udp://log_host:514"),
        ("tls://[2001:db8::1]:6514", "tls://[2001:db8::1]:6514"),
        ("unix:/dev/log", "unix:/dev/log"),
        ("unix:///dev/log", "unix:/dev/log"),
        ("unix-stream:/run/x", "unix-stream:/run/x"),
    ],
)
def test_syslog_servers(tmp_path: Path, written: str, shown: str) -> None:
    for given in (written, {"to": written}):
        log = load(tmp_path, {"outputs": [{"name": "s", "syslog": given}]})
        assert log.outputs[0].syslog is not None and log.outputs[0].syslog.shown == shown


def test_tls_has_its_files(tmp_path: Path) -> None:
    given = {"to": "tls://h", "ca": "ca.pem", "certificate": "c", "private_key": "k", "server_name": "n",
             "facility": "audit", "app_name": "proxy"}  # fmt: skip
    section = load(tmp_path, {"outputs": [{"name": "s", "syslog": given}]}).outputs[0].syslog
    assert section == SyslogSection(
        SyslogTransport.TLS, "h", 6514, None, "audit", "proxy", tmp_path / "ca.pem", tmp_path / "c", tmp_path / "k", "n"
    )
    assert section.files == (tmp_path / "ca.pem", tmp_path / "c", tmp_path / "k")


OUTPUT = {"name": "a", "path": "a"}


@pytest.mark.parametrize(
    ("log", "place", "fix"),
    [
        ({"path": "r", "stdout": True}, "log", "keep one of the two"),
        ({"stdout": False}, "log.stdout", "write path"),
        ({"path": "r", "format": "squib"}, "log.format", "write squid"),
        ({"path": "r", "fields": ["dest_domin"]}, "log.fields[0]", "did you mean dest_domain"),
        ({"path": "r", "fields": []}, "log.fields", "name some"),
        ({"path": "r", "sample": 0.1}, "log.sample", "write it under allow"),
        ({"path": "r", "deny": {"sample": 0.1}}, "log.deny.sample", "denials are never sampled"),
        ({"path": "r", "allow": {"sample": 10}}, "log.allow.sample", "from 0 to 1"),
        ({"path": "r", "allow": {"sample": True}}, "log.allow.sample", "from 0 to 1"),
        ({"path": "r", "allow": {"smple": 1}}, "log.allow.smple", "did you mean sample"),
        ({"path": "r", "allow": 3}, "log.allow", "is not a mapping"),
        ({"path": "r", "treat": {"id": "drop"}}, "log.treat.id", "stays in every record"),
        ({"path": "r", "treat": {"usr_agent": "drop"}}, "log.treat.usr_agent", "did you mean user_agent"),
        ({"path": "r", "treat": {"bytes_in": "mask"}}, "log.treat.bytes_in", "write keep or drop"),
        ({"path": "r", "treat": {"user_agent": "hide"}}, "log.treat.user_agent", "keep or mask or drop or hash"),
        ({"path": "r", "treat": {"user_agent": "hash"}}, "log.hash_key", "openssl rand"),
        ({"path": "r", "dns": "yes"}, "log.dns", "neither true nor false"),
        ({"outputs": [{"path": "a"}]}, "log.outputs[0].name", "is missing"),
        ({"outputs": [{"name": "journal", "path": "a"}]}, "log.outputs[0].name", "choose another"),
        ({"outputs": [{"name": "a"}]}, "log.outputs[0]", "leads nowhere"),
        ({"outputs": [{**OUTPUT, "stdout": True}]}, "log.outputs[0]", "make it two outputs"),
        ({"outputs": [{"name": "a", "stdout": False}]}, "log.outputs[0].stdout", "leave the output out"),
        ({"outputs": [{**OUTPUT, "types": []}]}, "log.outputs[0].types", "would get nothing"),
        ({"outputs": [{**OUTPUT, "types": ["denied"]}]}, "log.outputs[0].types[0]", "write deny"),
        ({"outputs": [{**OUTPUT, "queue": 1}]}, "log.outputs[0].queue", "from 100"),
        ({"outputs": [OUTPUT, {**OUTPUT, "path": "b"}]}, "log.outputs", "the name of two outputs"),
        ({"outputs": [OUTPUT, {**OUTPUT, "name": "b"}]}, "log.outputs", "the file of two outputs"),
        ({"path": "a", "outputs": [OUTPUT]}, "log.outputs", "the file of two outputs"),
        ({"stdout": True, "outputs": [{"name": "b", "stdout": True}]}, "log.outputs", "both standard output"),
        ({"path": "r", "outputs": [OUTPUT], "index": {"path": "a"}}, "log.index.path", "name another one"),
        ({"outputs": [{"name": "s", "syslog": "http://x"}]}, "log.outputs[0].syslog", "tcp://"),
        ({"outputs": [{"name": "s", "syslog": "tcp://x:99999"}]}, "log.outputs[0].syslog", "no syslog server"),
        ({"outputs": [{"name": "s", "syslog": {}}]}, "log.outputs[0].syslog.to", "is missing"),
        ({"outputs": [{"name": "s", "syslog": {"to": "tcp://x", "ca": "c"}}]}, "log.outputs[0].syslog.ca", "for TLS"),
        (
            {"outputs": [{"name": "s", "syslog": {"to": "tls://x", "certificate": "c"}}]},
            "log.outputs[0].syslog.private_key",
            "is missing",
        ),
        (
            {"outputs": [{"name": "s", "syslog": {"to": "tcp://x", "facility": "local9"}}]},
            "log.outputs[0].syslog.facility",
            "local",
        ),
        (
            {"outputs": [{"name": "s", "syslog": {"to": "tcp://x", "app_name": "a b"}}]},
            "log.outputs[0].syslog.app_name",
            "APP-NAME",
        ),
        ({"outputs": [{"name": "s", "syslog": "unix:/" + "x" * 120}]}, "log.outputs[0].syslog", "kernel's limit"),
    ],
)
def test_mistakes_are_told_with_their_place_and_fix(tmp_path: Path, log: Any, place: str, fix: str) -> None:
    with pytest.raises(ConfigErrors) as raised:
        load(tmp_path, log)
    found = [str(problem) for problem in raised.value.problems if problem.path == place]
    assert any(fix in problem for problem in found), raised.value.problems


def test_workers_get_it_as_it_is(tmp_path: Path) -> None:
    """The whole section travels."""
    made = configuration(
        tmp_path,
        {
            "path": "r", "hash_key": "k", "treat": {"user_agent": "hash"}, "index": {"path": "i"}, "dns": True,
            "outputs": [{"name": "s", "syslog": {"to": "tls://h", "ca": "c"}, "allow": {"sample": 0.5}}],
        },
    )  # fmt: skip
    assert from_plain(Configuration, to_plain(made)) == made
    assert set(made.log.outputs[1].types) == set(RECORD_TYPES) > set(EXCHANGE_TYPES)


def test_retention(tmp_path: Path) -> None:
    """Off until it is written; a time for all types, others for some, and one for the index."""
    assert load(tmp_path, {"path": "r"}).retention is None
    log = load(
        tmp_path,
        {
            "path": "r", "index": {"path": "i"},
            "retention": {"keep": "14d", "deny": "90d", "size": "1GiB", "total": "20GiB", "index": "30d"},
        },
    )  # fmt: skip
    retention = log.retention
    assert retention is not None and log.index is not None
    assert (retention.of("allow"), retention.of("deny"), log.index.keep) == (14 * 86400, 90 * 86400, 30 * 86400)
    assert (retention.rotate, retention.size, retention.total, retention.every) == (86400, 1 << 30, 20 << 30, 30)
    made = configuration(tmp_path, {"path": "r", "retention": {"keep": "1d", "rotate": "60s"}})
    assert made.log.retention is not None and made.log.retention.every == 30
    assert from_plain(Configuration, to_plain(made)) == made


@pytest.mark.parametrize(
    ("log", "place", "fix"),
    [
        ({"path": "r", "retention": {"keep": "1s"}}, "log.retention.keep", "60s or more"),
        ({"path": "r", "retention": {"size": "1KiB"}}, "log.retention.size", "1MiB or more"),
        ({"path": "r", "retention": {"denied": "1d"}}, "log.retention.denied", "did you mean deny"),
        ({"path": "r", "retention": {"index": "1d"}}, "log.retention.index", "for an index"),
        ({"stdout": True, "retention": {"keep": "1d"}}, "log.retention", "no output is one"),
        (
            {"path": "r", "index": {"path": "i", "keep": "1d"}, "retention": {"index": "1d"}},
            "log.retention.index",
            "keep one of the two",
        ),
        ({"path": "r", "format": "squid", "retention": {"keep": "1d", "deny": "2d"}}, "log.retention", "told apart"),
        ({"path": "r", "fields": ["id"], "retention": {"keep": "1d", "deny": "2d"}}, "log.retention", "told apart"),
    ],
)
def test_mistakes_of_retention(tmp_path: Path, log: Any, place: str, fix: str) -> None:
    test_mistakes_are_told_with_their_place_and_fix(tmp_path, log, place, fix)
