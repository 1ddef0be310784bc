"""Where TLS records end in a stream of bytes (RFC 8446, section 5.1). PURE.

OpenSSL must be asked for more plaintext until it says that it has none, which costs an exception; when the bytes that
came are exactly one record, asking once is enough. That needs certainty about where a record begins, kept here.
"""

from __future__ import annotations

HEADER = 5


class RecordBoundary:
    """Follows the record headers of one direction from its first byte."""

    __slots__ = ("_header", "_missing")

    def __init__(self) -> None:
        self._missing = 0
        self._header = b""

    def take(self, data: bytes) -> bool:
        """Go past these bytes. True when they are exactly one record, from its first byte to its last."""
        size = len(data)
        missing, header = self._missing, self._header
        if not missing and not header and size > HEADER and size == HEADER + (data[3] << 8 | data[4]):
            return True
        position = 0
        if header:
            position = HEADER - len(header)
            header += data[:position]
            if len(header) < HEADER:
                self._header = header
                return False
            self._header = b""
            missing = header[3] << 8 | header[4]
        position += missing
        while position + HEADER <= size:
            position += HEADER + (data[position + 3] << 8 | data[position + 4])
        if position > size:
            self._missing = position - size
        else:
            self._missing = 0
            self._header = bytes(data[position:])
        return False
