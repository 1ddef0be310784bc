"""netfw.x509.leaf_cache"""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from netfw.names.host import host_from_text
from netfw.x509.authority import create_root, load_authority
from netfw.x509.leaf import Leaf, issue_leaf
from netfw.x509.leaf_cache import LeafCache

NOW = datetime.fromisoformat("2030-01-01T00:00:00+00:00")
AUTHORITY = load_authority(*create_root("Egress CA", NOW, 30), NOW)
KEY = ec.generate_private_key(ec.SECP256R1())
A, B, C = (host_from_text(f"{letter}.test") for letter in "abc")


def leaf(host: object) -> Leaf:
    return issue_leaf(AUTHORITY, host, KEY, NOW)  # type: ignore[arg-type]  # a Host


def test_a_leaf_is_kept_under_its_host() -> None:
    """And no other."""
    cache = LeafCache(2)
    kept = leaf(A)
    cache.put(kept)
    assert cache.get(A, NOW) is kept
    assert cache.get(B, NOW) is None


def test_a_leaf_is_given_until_half_its_life() -> None:
    """At the middle it is gone, and its place is free."""
    cache = LeafCache(2)
    kept = leaf(A)
    cache.put(kept)
    assert cache.get(A, kept.renew_at - timedelta(seconds=1)) is kept
    assert cache.get(A, kept.renew_at) is None
    assert len(cache) == 0


def test_the_least_recently_used_goes_first() -> None:
    """Being asked for counts as use."""
    cache = LeafCache(2)
    cache.put(leaf(A))
    cache.put(leaf(B))
    cache.get(A, NOW)
    cache.put(leaf(C))
    assert [cache.get(host, NOW) is not None for host in (A, B, C)] == [True, False, True]
    assert len(cache) == 2


def test_a_new_leaf_takes_the_old_ones_place() -> None:
    """One a host."""
    cache = LeafCache(2)
    cache.put(leaf(A))
    newer = leaf(A)
    cache.put(newer)
    assert cache.get(A, NOW) is newer
    assert len(cache) == 1


def test_no_room_is_a_mistake() -> None:
    """A capacity below one is refused."""
    with pytest.raises(ValueError):
        LeafCache(0)


def test_a_leaf_of_a_clock_that_was_ahead_is_made_anew() -> None:
    """After the clock was put right it would not be valid yet."""
    cache = LeafCache(2)
    kept = leaf(A)
    cache.put(kept)
    assert cache.get(A, kept.not_before) is kept
    assert cache.get(A, kept.not_before - timedelta(seconds=1)) is None
