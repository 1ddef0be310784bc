"""How a listener's clients prove who they are, as it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from netfw.config.client_proof import read_client_proof
from netfw.config.errors import Problem
from netfw.config.model import ListenerType
from netfw.config.table import Table

HERE = Path("/etc/netfw")
NOTHING = {"client_ca": None, "client_crl_files": (), "client_required": True, "users": None, "realm": "netfw"}


def read(kind: ListenerType, **written: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """What was read, and the complaints by their path."""
    problems: list[Problem] = []
    found = read_client_proof(Table(written, "listeners[0]", problems), HERE, kind)
    return found, {problem.path: problem.message for problem in problems}


@pytest.mark.parametrize("kind", ListenerType)
def test_nothing_is_asked_for(kind: ListenerType) -> None:
    """By default, whatever the listener speaks."""
    assert read(kind) == (NOTHING, {})


def test_passwords() -> None:
    """On a plain listener too; paths are of the directory of the configuration."""
    found, problems = read(ListenerType.HTTP, users="users", realm="the lab (#2)")
    assert (found, problems) == ({**NOTHING, "users": HERE / "users", "realm": "the lab (#2)"}, {})


def test_certificates() -> None:
    """Wanted of everybody, or of who has one; lists may be one or several."""
    found, problems = read(ListenerType.HTTPS, client_ca="/ca.pem", client_crl_files="crl")
    assert (found["client_ca"], found["client_crl_files"], found["client_required"]) == (
        Path("/ca.pem"), (HERE / "crl",), True,
    )  # fmt: skip
    assert not problems
    found, problems = read(
        ListenerType.HTTPS, client_ca="ca", client_crl_files=["a", "b"], client_certificate="optional", users="u"
    )
    assert (found["client_crl_files"], found["client_required"]) == ((HERE / "a", HERE / "b"), False)
    assert not problems


@pytest.mark.parametrize(
    ("kind", "written", "key", "said"),
    [
        (ListenerType.HTTP, {"client_ca": "ca"}, "client_ca", "write type: HTTPS"),
        (ListenerType.HTTP, {"client_certificate": "optional"}, "client_certificate", "write type: HTTPS"),
        (ListenerType.HTTPS, {"client_crl_files": "c"}, "client_crl_files", "means nothing without client_ca"),
        (ListenerType.HTTPS, {"client_certificate": "required"}, "client_certificate", "without client_ca"),
        (ListenerType.HTTPS, {"client_ca": "ca", "client_certificate": "maybe"}, "client_certificate", "maybe"),
        (ListenerType.HTTPS, {"realm": "lab"}, "realm", "means nothing without users"),
        (ListenerType.HTTPS, {"client_ca": "ca", "users": "u"}, "users", "client_certificate: optional"),
        *((ListenerType.HTTP, {"users": "u", "realm": realm}, "realm", "is no realm")
          for realm in ('a"b', "a\\b", "ü", "a\nb", "", "x" * 65, 5)),
    ],
)  # fmt: skip
def test_what_is_refused(kind: ListenerType, written: dict[str, Any], key: str, said: str) -> None:
    """With the path, and what to write instead."""
    _, problems = read(kind, **written)
    assert list(problems) == [f"listeners[0].{key}"]
    assert said in problems[f"listeners[0].{key}"]
