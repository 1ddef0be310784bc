"""The program's own log: one line an event, no control characters."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger, LogLevel, formatEvent

from netfw.telemetry.log import Sparingly, printable, tell


def test_an_event_reads_as_one_line() -> None:
    """Name, then fields, in order; braces in a value are text; control characters are escaped."""
    events: list[dict[str, Any]] = []
    log = Logger(observer=events.append)
    tell(log, "x.y", level=LogLevel.warn, path=b"/a\r\n\xff", who="{log_time}\u202e", count=3)
    assert formatEvent(events[0]) == "x.y path=/a\\r\\n\\u00ff who={log_time}\\u202e count=3"
    assert events[0]["log_level"] is LogLevel.warn
    assert events[0]["count"] == "3"


def test_printable_is_bounded() -> None:
    """Long values are cut."""
    assert len(printable("x" * 100_000)) <= 2048 + 5


def test_sparingly() -> None:
    """At most once in the interval; what was kept back is counted."""
    now = [0.0]
    sparingly = Sparingly(60.0, lambda: now[0])
    assert sparingly.may_speak()
    now[0] = 59.9
    assert not sparingly.may_speak()
    assert sparingly.kept_back == 1
    now[0] = 60.0
    assert sparingly.may_speak()
