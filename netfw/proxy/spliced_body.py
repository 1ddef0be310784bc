"""Large bodies that go by in the kernel: plain TCP on both sides, and nobody who has to see the bytes.

In this room: which bodies, and from when on. Not here: how (`transport.splicing`), and what is counted and bounded
for bodies of either kind (`forward`, `limits_bodies`).

The head, and what was read with it, is written before; after the last byte of the body the connection reads as it did,
so that connections stay and what comes behind the body is judged as ever. Chunks are read and printed anew, always.
"""

from __future__ import annotations

from typing import Any

from netfw.http1.reader import MessageReader
from netfw.transport import pipes
from netfw.transport.stream import Stream

LEAST = 1 << 17
"""How much of a body must be to come: for less, it is not worth asking for a pipe."""


def splice_rest(source: Any, reader: MessageReader, sink: Any) -> None:
    """Let the rest of the body that `reader` is in go by in the kernel from one transport to the other, where it can.

    From then on the protocol of `source` gets `splicedReceived` instead of `dataReceived`.
    """
    unfed = reader.unfed
    if unfed >= LEAST and pipes.AVAILABLE and isinstance(source, Stream) and isinstance(sink, Stream):
        source.splice_next(unfed)
