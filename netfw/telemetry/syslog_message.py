"""A record as a syslog message (RFC 5424), and framed for a stream (RFC 6587, section 3.4.1; RFC 5425). PURE.

Not here: connections (`syslog_destination`).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from netfw.config.log_model import FACILITIES
from netfw.telemetry.record_printer import Finish
from netfw.telemetry.record_shape import types_of
from netfw.telemetry.record_text import Record, ended_at

_WARNING, _NOTICE, _INFORMATIONAL = 4, 5, 6
_UNSEEN = re.compile(r"[^!-~]")
_NIL = "-"


def syslog_finish(*, facility: str, hostname: str, app_name: str, process: int, is_stream: bool) -> Finish:
    """What makes a message of a record's text; with its length in front where it goes over a stream."""
    base = FACILITIES.index(facility) * 8
    middle = f"{_word(hostname, 255)} {_word(app_name, 48)} {process}"

    def finish(text: str, record: Record) -> bytes:
        when = datetime.fromtimestamp(ended_at(record), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        kind = _word(str(record.get("kind", _NIL)), 32)
        # A line end would be taken for the end of the message by who reads lines.
        text = text.replace("\n", " ")
        message = f"<{base + severity(record)}>1 {when}Z {middle} {kind} - {text}".encode("utf-8", "backslashreplace")
        return b"%d %b" % (len(message), message) if is_stream else message

    return finish


def severity(record: Record) -> int:
    """Denials are warnings, alerts and what was done by command notices, everything else informational."""
    types = types_of(record)
    if "deny" in types:
        return _WARNING
    return _INFORMATIONAL if types.isdisjoint(("alert", "audit")) else _NOTICE


def _word(text: str, most: int) -> str:
    """A header's word: visible ASCII, and never empty."""
    return _UNSEEN.sub("_", text)[:most] or _NIL
