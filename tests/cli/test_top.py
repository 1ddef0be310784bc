"""`netfw top`: figures from two looks, and a screen that fits, without a proxy."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from netfw.cli.top_figures import Look, figures, read_samples
from netfw.cli.top_screen import duration, screen_of

BUSY = {
    "records": 40,
    "clients": [{"client": f"10.0.0.{number}", "exchanges": 40 - number} for number in range(10)],
    "destinations": [{"destination": "evil\x1b[2J.example", "exchanges": 9}],
    "denied": [],
    "rules": [{"rule": "house/no-social", "exchanges": 7}],
}
STATUS = {
    "name": "edge", "version": "1.2.3", "state": "ready", "uptime_seconds": 93_784, "generation": 7, "connections": 12,
    "tunnels": 3, "checks": [{"check": "ca", "ok": True, "says": "valid"}],
    "workers": [
        {"worker": number, "pid": 100 + number, "state": "serving", "connections": 6, "tunnels": 1, "restarts": 0,
         "uptime_seconds": 5}
        for number in (1, 2)
    ],
}  # fmt: skip


def look(at: float, allowed: int, denied: int, *, refused: int = 0, **status: Any) -> Look:
    """The proxy at this moment."""
    text = (
        "# TYPE netfw_requests_total counter\n"
        f'netfw_requests_total{{phase="pre_dns",action="allow",rule_group=""}} {allowed}\n'
        f'netfw_requests_total{{phase="pre_dns",action="deny",rule_group="house"}} {denied}\n'
        "# TYPE netfw_client_connections_refused_total counter\n"
        f'netfw_client_connections_refused_total{{reason="not_a_client"}} {refused}\n'
        "# TYPE netfw_log_dropped_total counter\n"
        'netfw_log_dropped_total{sink="file"} 4\n'
    )
    return Look(at, {**STATUS, **status}, read_samples(text), BUSY)


def drawn(seen: dict[str, Any], width: int, height: int) -> list[str]:
    """The screen's lines as a terminal of this size gets them."""
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, force_terminal=False)
    console.print(screen_of(seen, width, height))
    return out.getvalue().splitlines()


def test_rates_are_differences_over_time() -> None:
    """Totals stand beside them."""
    seen = figures(look(100.0, 10, 5), look(102.0, 30, 8, refused=6))
    assert (seen["requests_per_second"], seen["denials_per_second"]) == (11.5, 1.5)
    assert (seen["requests"], seen["denials"], seen["records_dropped"]) == (38, 8, 4)
    assert seen["errors"] == [
        {"what": "client not admitted", "why": "not_a_client", "per_second": 3.0, "total": 6},
    ]
    assert [row["worker"] for row in seen["workers"]] == [1, 2]


def test_counters_of_a_proxy_that_was_restarted() -> None:
    """No negative rates."""
    seen = figures(look(100.0, 1000, 50), look(102.0, 3, 1))
    assert (seen["requests_per_second"], seen["denials_per_second"]) == (0.0, 0.0)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 30), (200, 60), (60, 40)])
def test_the_screen_fits(width: int, height: int) -> None:
    """No line is too long, none too many, and what matters is on it."""
    lines = drawn(figures(look(0.0, 0, 0), look(2.0, 30, 8, refused=2)), width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    whole = "\n".join(lines)
    for word in ("requests/s", "19.0", "10.0.0.0", "house/no-social", "not_a_client", "serving", "edge", "ready"):
        assert word in whole


def test_a_narrow_screen_has_short_titles_and_whole_words() -> None:
    """Nothing of what is still shown is cut but names."""
    lines = drawn(figures(look(0.0, 0, 0), look(2.0, 30, 8)), 40, 30)
    assert max(map(len, lines)) <= 40
    assert lines[1].split() == ["req/s", "deny/s", "conns", "tunnels", "lost"]
    assert lines[2].split() == ["19.0", "4.0", "12", "3", "4"]
    (head,) = (number for number, line in enumerate(lines) if line.split()[:1] == ["worker"])
    assert [line.split() for line in lines[head : head + 2]] == [
        ["worker", "state", "conns", "up"], ["1", "serving", "6", "5s"],
    ]  # fmt: skip


def test_what_peers_chose_does_not_move_the_cursor() -> None:
    """A host name may hold anything."""
    whole = "\n".join(drawn(figures(look(0.0, 0, 0), look(2.0, 1, 1)), 120, 30))
    assert "\x1b" not in whole
    assert "evil\\x1b[2J.example" in whole


def test_a_check_that_does_not_hold_is_on_the_first_line() -> None:
    """So is the state."""
    checks = [{"check": "ca", "ok": False, "says": "ended"}]
    lines = drawn(figures(look(0.0, 0, 0), look(2.0, 1, 1, state="draining", checks=checks)), 120, 30)
    assert "draining" in lines[0]
    assert "ca: ended" in lines[0]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (61, "1m 1s"), (3600, "1h 0m"), (93_784, "1d 2h"), (None, "-")]
)
def test_durations(seconds: int | None, text: str) -> None:
    """The two largest units."""
    assert duration(seconds) == text
