"""What a node keeps: it comes back as it was, or it is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.policy.load import load_policy
from netfw.store.last_good import LastGoodUnusable, read_last_good, write_last_good
from netfw.store.wire import ChangeLines, print_change
from netfw.testing.proxy_process import domain_rule, policy

POLICY = load_policy(
    policy(
        groups={name: {"PreDNS": [domain_rule(f"r{n}", "DENY", f"h{n}.test") for n in range(250)]} for name in "ab"}
    ),
    "test",
)
DIGESTS = {"a": "1" * 64, "b": "2" * 64}


def pieces() -> list[bytes]:
    """The policy for somebody who has nothing."""
    return list(print_change(7, POLICY, DIGESTS))


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    """With its generation and its groups' digests; nothing else is left in the directory."""
    file = tmp_path / "kept"
    assert read_last_good(file, "p") is None
    write_last_good(file, "p", pieces())
    write_last_good(file, "p", pieces())
    found = read_last_good(file, "p")
    assert found is not None
    assert (found.generation, found.policy, found.digests) == (7, POLICY, DIGESTS)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert file.stat().st_mode & 0o077 == 0
    with pytest.raises(LastGoodUnusable, match="is of proxy 'p'"):
        read_last_good(file, "other")


@given(st.data())
def test_what_was_damaged_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Cut anywhere, or with any byte changed."""
    file = tmp_path_factory.mktemp("x") / "kept"
    write_last_good(file, "p", pieces())
    content = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[place:]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)
    with pytest.raises(LastGoodUnusable):
        read_last_good(file, "p")


def test_only_what_is_not_there_is_sent() -> None:
    """A group that the proxy has is named by its digest, and is the very same object afterwards."""
    known = {DIGESTS["a"]: POLICY.groups[0]}
    lines = b"".join(print_change(8, POLICY, DIGESTS, known)).split(b"\n")[:-1]
    assert len(lines) < len(b"".join(pieces()).split(b"\n")) - 2

    reader = ChangeLines(json.loads(lines[0]), known)
    for line in lines[1:]:
        reader.take(line)
    groups = reader.groups()
    assert reader.policy(groups) == POLICY
    assert groups[DIGESTS["a"]] is POLICY.groups[0]
