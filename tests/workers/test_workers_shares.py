"""Caps in shares: enough for what chance does, and not much more than the whole."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from netfw.config.defaults import LIMITS
from netfw.workers.shares import share, share_of_limits


@given(st.integers(1, 1_000_000), st.integers(1, 256))
def test_shares_hold_the_whole_and_no_share_is_more(cap: int, workers: int) -> None:
    """All together at least the cap; each at most, and never nothing."""
    part = share(cap, workers)
    assert 1 <= part <= cap
    assert part * workers >= cap


def test_one_worker_has_all_of_it() -> None:
    """Nothing is shared out then."""
    assert share_of_limits(LIMITS, 1) == LIMITS


def test_what_chance_spreads_has_room_and_caches_stay_whole() -> None:
    """A small cap is nearly each worker's own, a large one is divided."""
    limits = share_of_limits(replace(LIMITS, connections=10_000, connections_per_client=4), 4)
    assert limits.connections == 2700
    assert limits.connections_per_client == 4
    assert limits.idle_upstream_connections == 128
    assert (limits.leaf_cache, limits.dns_cache) == (LIMITS.leaf_cache, LIMITS.dns_cache)
