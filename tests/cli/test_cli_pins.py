"""`netfw pins`: whose refusals are shown, and what is suggested."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from netfw.cli.main import netfw
from netfw.cli.pins import by_host


def row(host: str, client: str, **signs: int) -> dict[str, Any]:
    return {"host": host, "client": client, "signs": signs, "first": 10.0, "last": 20.0}


def suggestion(*rows: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(host["host"], host["bypass"]) for host in by_host(rows)]


def test_one_client_that_pins():
    """It is passed through for that client alone."""
    assert suggestion(row("a.test", "10.0.0.1", certificate_unknown=3)) == [
        ("a.test", {"domain": "a.test", "source": "10.0.0.1"})
    ]


def test_several_clients_that_pin():
    """The host is passed through, the most often refused one first."""
    rows = [row("b.test", "10.0.0.1", unknown_ca=1), row("a.test", "10.0.0.1", unknown_ca=2),
            row("a.test", "10.0.0.2", bad_certificate=1)]  # fmt: skip
    assert suggestion(*rows) == [("a.test", "a.test"), ("b.test", {"domain": "b.test", "source": "10.0.0.1"})]
    (first, _) = by_host(rows)
    assert (first["clients"], first["refusals"], first["signs"]) == (
        ["10.0.0.1", "10.0.0.2"], 3, {"unknown_ca": 2, "bad_certificate": 1},
    )  # fmt: skip


def test_a_client_without_the_ca():
    """Who refuses everything pins nothing."""
    rows = [row(f"{name}.test", "10.0.0.1", unknown_ca=1) for name in "abc"]
    assert [bypass for _, bypass in suggestion(*rows)] == [None] * 3
    assert "give 10.0.0.1 the CA" in by_host(rows)[0]["suggestion"]
    assert suggestion(*rows, row("a.test", "10.0.0.2", unknown_ca=1))[0] == ("a.test", "a.test")


def test_http2_alone():
    """However many hosts: that is the client's way, and no CA helps it."""
    rows = [row(f"{name}.test", "10.0.0.1", no_application_protocol=1) for name in "abcd"]
    assert all(bypass is not None for _, bypass in suggestion(*rows))


def test_a_close_alone_is_no_proof():
    """Somebody has to look."""
    assert suggestion(row("a.test", "10.0.0.1", closed=9)) == [("a.test", None)]


def records(directory: Path) -> Path:
    path = directory / "records.jsonl"
    lines = [
        {"kind": "connect", "dest_domain": "a.test.", "client_src_ip": "10.0.0.1", "event_timestamp": 5,
         "close_reason": "client_tls_alert", "error": {"detail": "unknown_ca"}},
        {"kind": "exchange", "dest_domain": "b.test.", "client_src_ip": "10.0.0.1", "event_timestamp": 6},
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"cut short')
    return path


def test_a_file_of_records(tmp_path: Path):
    """Counts outlive the process by the records that it wrote; a line that is cut short is skipped."""
    done = CliRunner().invoke(netfw, ["pins", "--records", str(records(tmp_path))])
    assert done.exit_code == 0, done.output
    assert "a.test" in done.stdout
    assert "unknown_ca 1" in done.stdout
    assert "bypass: [{domain: a.test, source: 10.0.0.1}]" in done.stdout
    assert "b.test" not in done.stdout
    done = CliRunner().invoke(netfw, ["pins", "--json", "--records", str(records(tmp_path))])
    (host,) = json.loads(done.stdout)["hosts"]
    assert (host["host"], host["refusals"], host["last"]) == ("a.test", 1, 5.0)


def test_nothing_to_show(tmp_path: Path):
    """Said in words."""
    (tmp_path / "empty").write_text("")
    done = CliRunner().invoke(netfw, ["pins", "--records", str(tmp_path / "empty")])
    assert "No client has refused" in done.stdout


def test_a_file_that_is_not_there(tmp_path: Path):
    """Named, with the reason."""
    done = CliRunner().invoke(netfw, ["pins", "--records", str(tmp_path / "no")])
    assert done.exit_code == 1
    assert "cannot be read" in done.output
