"""The cache: TTLs, negative answers, the bound."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.names.host import Host
from netfw.transport.dns_cache import DEFAULT_NEGATIVE_TTL, MAX_NEGATIVE_TTL, MAX_TTL, Absence, DnsCache
from netfw.transport.resolution import Resolution

ABSENCE = Absence(False, "192.0.2.53:53")


def resolution(name="www.example.test", ttl=60):
    return Resolution(Host(name), (ip_address("192.0.2.1"),), ("edge.test",), ttl, "192.0.2.53:53", "dns")


def test_kept_until_its_ttl():
    """An answer is there until its TTL is over, says how much is left, and says that it comes from the cache."""
    cache = DnsCache(10)
    cache.put("www.example.test", resolution(), 60, 100.0)
    assert cache.get("www.example.test", 100.0) == replace(resolution(), ttl=60, source="cache")
    assert cache.get("www.example.test", 130.5) == replace(resolution(), ttl=29, source="cache")
    assert cache.get("www.example.test", 160.0) is None
    assert len(cache) == 0


@pytest.mark.parametrize(
    ("value", "ttl", "kept"),
    [
        (resolution(), 0, 0),
        (resolution(), None, 0),
        (resolution(), -5, 0),
        (resolution(), 1, 1),
        (resolution(), MAX_TTL + 1, MAX_TTL),
        (ABSENCE, 0, 0),
        (ABSENCE, 1, 1),
        (ABSENCE, None, DEFAULT_NEGATIVE_TTL),
        (ABSENCE, MAX_NEGATIVE_TTL + 1, MAX_NEGATIVE_TTL),
    ],
)
def test_limits_of_ttl(value, ttl, kept):
    """TTLs are held within 0 and a day, those of negative answers within five minutes; 0 is not kept."""
    cache = DnsCache(10)
    cache.put("www.example.test", value, ttl, 0.0)
    assert len(cache) == (kept > 0)
    if kept:
        assert cache.get("www.example.test", kept - 0.001) is not None
    assert cache.get("www.example.test", float(kept)) is None


def test_how_long_an_object_stays_true():
    """Until the TTL that it shows is one less, and never beyond what was asked about."""
    cache = DnsCache(10)
    assert cache.true_until("www.example.test", 100.0, 107.0) == 107.0  # nothing is kept
    cache.put("www.example.test", resolution(), 60, 100.0)
    assert cache.true_until("www.example.test", 100.0, 101.0) == 101.0  # nothing is shown yet
    for now, until in ((100.0, 100.0), (100.25, 101.0), (130.5, 131.0), (159.5, 160.0)):
        shown = cache.get("www.example.test", now)
        assert cache.true_until("www.example.test", now, now + 7.0) == until
        if until > now:
            assert cache.get("www.example.test", until - 0.001) is shown
        assert cache.true_until("www.example.test", now, now + 0.1) == min(until, now + 0.1)
    assert cache.get("www.example.test", 160.0) is None


def test_absence_is_kept_as_it_is():
    """A negative answer comes back as it was put in."""
    cache = DnsCache(10)
    cache.put("gone.test", ABSENCE, 30, 0.0)
    assert cache.get("gone.test", 1.0) == ABSENCE


def test_clock_that_went_back():
    """When the clock went back an entry's age is unknown, so the entry is dropped."""
    cache = DnsCache(10)
    cache.put("www.example.test", resolution(), 60, 100.0)
    assert cache.get("www.example.test", 99.0) is None


def test_newer_answer_replaces():
    """A newer answer takes the old one's place, and with a TTL of 0 takes it away."""
    cache = DnsCache(10)
    cache.put("www.example.test", resolution(), 60, 0.0)
    cache.put("www.example.test", ABSENCE, 30, 1.0)
    assert cache.get("www.example.test", 2.0) == ABSENCE
    cache.put("www.example.test", resolution(), 0, 3.0)
    assert cache.get("www.example.test", 3.0) is None


def test_least_recently_used_goes_first():
    """At the capacity the name that was not asked for longest goes."""
    cache = DnsCache(2)
    cache.put("a.test", resolution("a.test"), 60, 0.0)
    cache.put("b.test", resolution("b.test"), 60, 0.0)
    cache.get("a.test", 1.0)
    cache.put("c.test", resolution("c.test"), 60, 1.0)
    assert [cache.get(name, 2.0) is not None for name in ("a.test", "b.test", "c.test")] == [True, False, True]


def test_capacities():
    """A capacity of 0 keeps nothing, a negative one is refused, clear() forgets everything."""
    cache = DnsCache(0)
    cache.put("a.test", resolution("a.test"), 60, 0.0)
    assert len(cache) == 0
    with pytest.raises(ValueError, match="-1"):
        DnsCache(-1)
    cache = DnsCache(1)
    cache.put("a.test", resolution("a.test"), 60, 0.0)
    cache.clear()
    assert cache.get("a.test", 0.0) is None


NAMES = st.sampled_from(["a.test", "b.test", "c.test", "d.test"])
STEPS = st.lists(st.tuples(st.booleans(), NAMES, st.integers(0, 20), st.integers(0, 8)), max_size=60)


@given(STEPS, st.integers(0, 3))
def test_never_beyond_ttl_or_capacity(steps, capacity):
    """Whatever happens: never more entries than the capacity, never an answer that is too old or another name's."""
    cache, now, until = DnsCache(capacity), 0.0, {}
    for is_put, name, ttl, passed in steps:
        now += passed
        if is_put:
            cache.put(name, resolution(name, ttl), ttl, now)
            until[name] = now + ttl
        else:
            got = cache.get(name, now)
            if got is not None:
                assert got.host.text == name
                assert now < until[name]
                assert got.ttl == until[name] - now
        assert len(cache) <= capacity
