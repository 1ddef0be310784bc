"""`log.index`: off unless it is there; what cannot be is refused with its place and the fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from netfw.config.errors import ConfigErrors
from netfw.config.load import load_config
from netfw.config.model import IndexSection, LogSection


def load(tmp_path: Path, log: dict[str, Any]) -> LogSection:
    document = {
        "listeners": [{"name": "main", "address": "127.0.0.1", "port": 3128}],
        "policy": {"file": "policy.yaml"},
        "log": log,
    }
    (tmp_path / "proxy.yaml").write_text(yaml.safe_dump(document))
    return load_config(tmp_path / "proxy.yaml", with_files=False).log


def test_an_index_is_kept_where_one_is_named(tmp_path: Path) -> None:
    """Relative to the file; a week and 4 GiB by default."""
    assert load(tmp_path, {"path": "r.jsonl"}).index is None
    given = load(tmp_path, {"path": "r.jsonl", "index": {"path": "r.index"}}).index
    assert given == IndexSection(tmp_path / "r.index", 7 * 86400.0, 4 << 30)
    given = load(tmp_path, {"path": "r.jsonl", "index": {"path": "r.index", "keep": "2h", "size": "64MiB"}}).index
    assert given == IndexSection(tmp_path / "r.index", 7200.0, 64 << 20)


def test_records_to_standard_output_have_a_journal_beside_the_index(tmp_path: Path) -> None:
    """Which is where they are looked for."""
    log = load(tmp_path, {"stdout": True, "index": {"path": "r.index"}})
    assert log.journal == log.readable == tmp_path / "r.index.journal"
    log = load(tmp_path, {"path": "r.jsonl", "index": {"path": "r.index"}})
    assert (log.journal, log.readable) == (None, tmp_path / "r.jsonl")
    assert load(tmp_path, {"stdout": True}).readable is None


@pytest.mark.parametrize(
    ("log", "place", "fix"),
    [
        ({"path": "r", "index": {}}, "log.index.path", "name a file"),
        ({"path": "r", "index": {"path": "r"}}, "log.index.path", "name another one"),
        ({"path": "r", "index": {"path": "i", "keep": "1s"}}, "log.index.keep", "write 60s or more"),
        ({"path": "r", "index": {"path": "i", "size": 5}}, "log.index.size", "write 16MiB or more"),
        ({"path": "r", "index": {"path": "i", "kept": "1d"}}, "log.index.kept", "keep"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, log: dict[str, Any], place: str, fix: str) -> None:
    """One problem each."""
    with pytest.raises(ConfigErrors) as caught:
        load(tmp_path, log)
    (problem,) = caught.value.problems
    assert problem.path == place
    assert fix in problem.message
