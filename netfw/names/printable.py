"""Text that somebody else chose, shown on one line: a terminal obeys what it is sent. PURE."""

from __future__ import annotations


def printable(text: str) -> str:
    """Printable characters of any script stay; controls, line ends and marks of direction become escapes."""
    if text.isprintable():
        return text
    return "".join([one if one.isprintable() else ascii(one)[1:-1] for one in text])
