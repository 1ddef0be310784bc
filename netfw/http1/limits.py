"""The caps of the readers. They are enforced while reading, never after."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """Caps in octets, both ends included: what is exactly as long as the limit passes.

    The defaults follow nginx and Envoy: 64 KiB of head (Envoy 60 KiB), 100 fields (Envoy, Apache).
    """

    head_size: int = 65536
    """A whole head, from the first octet of its start line to its empty line."""
    head_fields: int = 100
    """Field lines of one head, and of one trailer section."""
    chunk_line: int = 4096
    """A chunk size with its extensions, without CRLF."""
    trailer_size: int = 16384
    """A whole trailer section with its empty line."""
