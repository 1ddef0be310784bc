"""Retry-After: how long a server asks to be left alone. RFC 9110, section 10.2.3. PURE."""

from __future__ import annotations

from email.utils import parsedate_to_datetime


def retry_after(value: bytes, now: float) -> float | None:
    """The seconds that Retry-After asks for, whichever of its two forms it has; None where it has neither."""
    text = value.decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (TypeError, ValueError, OverflowError):
        return None
