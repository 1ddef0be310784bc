"""Clients that do not take the certificate that they are shown: noticed here, counted by host and client.

In this room: what counts as a refusal. Not here: the counts (`telemetry.pins`), and what is shown (`tunnel_inside`).
"""

from __future__ import annotations

from collections.abc import Callable

from netfw.names.host import Host
from netfw.proxy.exchange import Exchange
from netfw.telemetry.pins import CLOSED, REFUSALS, SIGNS, Pins

RIGHT_AFTER = 2.0
"""Seconds from the handshake to a close that counts. Who only keeps a connection ready holds it for longer."""


class LeafRefusals:
    """`counts` is how often each sign was seen, `now` the wall clock."""

    def __init__(self, pins: Pins, counts: dict[tuple[str, ...], int], now: Callable[[], float]) -> None:
        self.pins = pins
        self._counts = counts
        self._now = now

    def note(self, exchange: Exchange, host: Host, sign: str) -> bool:
        """Count it, if it is one; `sign` is an alert's name or one of `telemetry.pins`."""
        if sign not in SIGNS:
            return False
        self._counts[sign,] = self._counts.get((sign,), 0) + 1
        self.pins.note(host.text, exchange.caller.address_text, sign, self._now())
        return True

    def note_end(self, exchange: Exchange, host: Host, *, alert: str | None, after: float, shows_failure: bool) -> bool:
        """A connection inside ended `after` so many seconds, and nothing was asked in it: was that a refusal?

        With TLS 1.3 some clients look at the certificate only when the handshake is complete on our side. A connection
        that was there to show a denial may well be closed without a word.
        """
        if alert is not None:
            return alert in REFUSALS and self.note(exchange, host, alert)
        return not shows_failure and after <= RIGHT_AFTER and self.note(exchange, host, CLOSED)
