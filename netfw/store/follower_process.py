"""`python -m netfw.store.follower_process`: the process beside a proxy that follows the store.

The first line of standard input says what to follow and who follows; further lines are what the proxy tells. Standard
output has the lines of `wire`. It ends when standard input does, which is when the proxy ends.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import sys
import time

from netfw.store.fleet import Node
from netfw.store.follower import Follower, Following


def main() -> int:
    """Follow until nobody listens."""
    # What ends the proxy in a terminal ends this by the end of its input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = sys.stdout.buffer
    source = _Lines(sys.stdin.fileno())
    first = source.wait()
    if first is None:
        return 0
    about = json.loads(first)
    follower = Follower(Following(**about["following"]), Node(**about["node"]), out.write, time.monotonic, time.time)
    try:
        while True:
            follower.step()
            out.flush()
            source.wait_for(follower.descriptor, follower.pause())
            for line in source.take():
                follower.told(json.loads(line))
            if source.has_ended:
                break
    except BrokenPipeError:
        os._exit(0)  # nobody reads: there is nothing to flush
    follower.close()
    return 0


class _Lines:
    """Lines of a descriptor, without waiting for them."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""
        self.has_ended = False
        os.set_blocking(descriptor, False)

    def wait(self) -> bytes | None:
        """The next line; None at the end."""
        while not self.has_ended:
            for line in self.take(1):
                return line
            self.wait_for(None, 60.0)
        return None

    def wait_for(self, other: int | None, seconds: float) -> None:
        """Until there is something to read, here or there, or the time is over."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._descriptor, selectors.EVENT_READ)
            if other is not None:
                selector.register(other, selectors.EVENT_READ)
            selector.select(seconds)

    def take(self, most: int | None = None) -> list[bytes]:
        """The lines that are there, at most so many."""
        try:
            while data := os.read(self._descriptor, 65536):
                self._rest += data
            self.has_ended = True
        except BlockingIOError:
            pass
        lines = self._rest.split(b"\n")
        taken = lines[:-1] if most is None else lines[:-1][:most]
        self._rest = b"\n".join(lines[len(taken) :])
        return taken


if __name__ == "__main__":
    sys.exit(main())
