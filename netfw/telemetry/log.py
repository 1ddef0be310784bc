"""The program's own log: twisted.logger's, in the form every room uses.

An event is a name of `event_names` and fields; it reads `name field=value field=value`, and the fields stand in the
event for observers that want them apart. Values are printed without a control character in them, whoever chose them.
Not here: records of exchanges (`record_log`), and where the log goes (twistd's business).
"""

from __future__ import annotations

from collections.abc import Callable
from json.encoder import encode_basestring_ascii
from typing import Any

from twisted.logger import Logger, LogLevel

from netfw.telemetry.record_values import peer_text


def printable(value: object) -> str:
    """A value on one line of ASCII; bytes are read as Latin-1, long ones cut."""
    if isinstance(value, (bytes, str)):
        return encode_basestring_ascii(peer_text(value))[1:-1]
    return encode_basestring_ascii(peer_text(str(value)))[1:-1]


def tell(log: Logger, event_name: str, /, *, level: Any = LogLevel.info, **fields: object) -> None:
    """Log an event. Field names are the caller's own words; values may be anybody's."""
    printed = {name: printable(value) for name, value in fields.items()}
    words = "".join(f" {name}={{{name}}}" for name in printed)
    log.emit(level, f"{{event_name}}{words}", event_name=event_name, **printed)


class Sparingly:
    """Says yes at most once in `interval` seconds, and counts what it kept back."""

    def __init__(self, interval: float, now: Callable[[], float]) -> None:
        self._interval = interval
        self._now = now
        self._next: float | None = None
        self.kept_back = 0

    def may_speak(self) -> bool:
        """Is it time? After a yes, `kept_back` is for the caller to tell and to reset."""
        now = self._now()
        if self._next is not None and now < self._next:
            self.kept_back += 1
            return False
        self._next = now + self._interval
        return True
