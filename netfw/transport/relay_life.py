"""The life of a relay: what it has moved, how long it may take, when it is over and why.

In this room: what the two ways to relay have in common (`relay`, `splice`). Not here: moving bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from netfw.transport.deadlines import Deadlines

LEFT: Final = 0
RIGHT: Final = 1

_CLOSED: Final = ("client_closed", "origin_closed")
_ABORTED: Final = ("client_aborted", "origin_aborted")


class RelayOutcome(NamedTuple):
    """How a relay went. Left is the client's side.

    `reason` is one of these. `client_closed`, `origin_closed`: this side ended first, and all that was sent before was
    delivered as far as the transports allow. `client_aborted`, `origin_aborted`: this connection broke, or did not take
    what was left for it. `idle_timeout`, `lifetime_timeout`, `cancelled`: we cut it.
    """

    bytes_left_to_right: int
    bytes_right_to_left: int
    reason: str


class RelayLife:
    """Counts, deadlines and the end of one relay. `abort` closes both sides at once; `over` is called once, at the end.

    Not a Deferred: one object waits for one other, and most of what a tunnel does besides moving bytes would be its.
    """

    __slots__ = ("from_left", "from_right", "reason", "_abort", "_over", "_idle", "_idle_seconds", "_lifetime")

    def __init__(
        self,
        deadlines: Deadlines,
        idle: float | None,
        lifetime: float | None,
        abort: Callable[[], object],
        over: Callable[[RelayOutcome], object],
    ) -> None:
        self.from_left = 0
        self.from_right = 0
        self.reason: str | None = None
        self._abort: Callable[[], object] | None = abort
        self._over: Callable[[RelayOutcome], object] | None = over
        self._idle_seconds = idle or 0.0
        self._idle = deadlines.start(idle, self.cut, "idle_timeout") if idle else None
        self._lifetime = deadlines.start(lifetime, self.cut, "lifetime_timeout") if lifetime else None

    def moved(self, side: int, count: int) -> None:
        """Bytes that came from `side` went on."""
        if side == LEFT:
            self.from_left += count
        else:
            self.from_right += count
        idle = self._idle
        if idle is not None:
            idle.restart(self._idle_seconds)

    def ended(self, side: int) -> None:
        """This side ended its output orderly."""
        if self.reason is None:
            self.reason = _CLOSED[side]

    def broke(self, side: int) -> None:
        """The connection of this side is gone: the other is aborted, so that the truncation stays visible there."""
        self.cut(_ABORTED[side])

    def cut(self, reason: str) -> None:
        """Abort both sides, for this reason."""
        abort = self._abort
        if abort is not None:
            self.reason = reason
            abort()
            self.over()

    def over(self) -> None:
        """Both sides are closed, or are as good as closed."""
        over = self._over
        if over is None:
            return
        self._abort = self._over = None
        if self._idle is not None:
            self._idle.cancel()
        if self._lifetime is not None:
            self._lifetime.cancel()
        self._idle = self._lifetime = None
        over(RelayOutcome(self.from_left, self.from_right, self.reason or "cancelled"))

    def cancel(self) -> None:
        """Abort both sides: nobody wants it any more."""
        self.cut("cancelled")
