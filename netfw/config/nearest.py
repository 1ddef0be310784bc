"""The word that was probably meant.

PURE. Used for unknown keys and unknown words in configuration; nothing is ever accepted because it is near.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(written: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like the written one, case set aside, or None."""
    by_lower = {word.lower(): word for word in known}
    matches = get_close_matches(written.lower(), list(by_lower), n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None
