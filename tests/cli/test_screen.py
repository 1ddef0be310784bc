"""Tables for people: what peers chose does not reach the terminal as it is."""

from __future__ import annotations

import pytest

from netfw.cli.screen import print_facts, print_rows

HOSTILE = "anna\x1b[2J\x1b]0;title\x07\u202e\n[red]"
SHOWN = "anna\\x1b[2J\\x1b]0;title\\x07\\u202e\\n[red]"


def test_hostile_values(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither escapes nor rich's own markup; a user's name may have any character."""
    print_rows("Clients", [{"client": HOSTILE, "exchanges": 1}])
    print_facts("Facts", [("client", HOSTILE)])
    shown = capsys.readouterr().out
    assert shown.count(SHOWN) == 2
    assert "\x1b" not in shown
