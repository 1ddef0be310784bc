"""How often one access key may ask: a bucket of tokens for each, and one for signatures that were not accepted. PURE.

A bucket holds a burst and fills at a steady rate. What is throttled is refused at once and costs nothing more; SDKs
wait and try again by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

from netfw.control.refusals import Throttled

_MOST_BUCKETS = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Throttle:
    """At most `rate` requests a second for each name, with `burst` at once; a rate of 0 is no limit."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: dict[str, _Bucket] = {}

    def take(self, name: str, now: float) -> None:
        """Count a request. Raises `Throttled`."""
        if not self._rate:
            return
        bucket = self._buckets.get(name)
        if bucket is None:
            if len(self._buckets) >= _MOST_BUCKETS:
                self._forget_full(now)
            bucket = self._buckets[name] = _Bucket(self._burst, now)
        bucket.tokens = min(self._burst, bucket.tokens + max(0.0, now - bucket.at) * self._rate)
        bucket.at = now
        if bucket.tokens < 1.0:
            raise Throttled(f"Rate exceeded: more than {self._rate:g} requests a second; wait, then try again")
        bucket.tokens -= 1.0

    def _forget_full(self, now: float) -> None:
        """A full bucket is as good as none."""
        for name, bucket in list(self._buckets.items()):
            if bucket.tokens + (now - bucket.at) * self._rate >= self._burst:
                del self._buckets[name]
