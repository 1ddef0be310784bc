"""netfw.proxy.passwords"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from netfw.errors import Overloaded, TooManyRequests
from netfw.proxy.passwords import MOST_WAITING, REMEMBERED, WRONG_AT_ONCE, WRONG_EVERY, Passwords

HERE = ip_address("192.0.2.7")


class Hash:
    """A hash that knows its password at once, and counts how often it was asked."""

    def __init__(self, password: bytes) -> None:
        self._password = password
        self.asked = 0

    def matches(self, password: bytes) -> bool:
        """As a real one, sooner."""
        self.asked += 1
        return password == self._password


class Threads:
    """A reactor with threads that run when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[Any] = []

    def getThreadPool(self) -> Any:
        return self

    def callFromThread(self, call: Any, *arguments: Any) -> None:
        call(*arguments)

    def callInThreadWithCallback(self, done: Any, call: Any, *arguments: Any) -> None:
        self.waiting.append((done, call, arguments))

    def run(self) -> None:
        """All of them."""
        while self.waiting:
            done, call, arguments = self.waiting.pop(0)
            done(True, call(*arguments))


class Bench:
    """Passwords of alice, and a clock."""

    def __init__(self) -> None:
        self.threads = Threads()
        self.time = 1000.0
        self.alice = Hash(b"right")
        users: Any = {"alice": self.alice}
        self.passwords = Passwords(users, self.threads, lambda: self.time)

    def check(self, name: str = "alice", password: bytes = b"right", address: Any = HERE) -> Any:
        """What comes out, once threads have run."""
        found = self.passwords.check(address, name, password)
        if not isinstance(found, Deferred):
            return found
        results: list[Any] = []
        found.addBoth(results.append)
        self.threads.run()
        return results[0]


def test_a_hash_is_asked_once_in_a_while() -> None:
    """Right and wrong are both remembered, for so long."""
    bench = Bench()
    assert bench.check() is True and bench.check() is True
    assert bench.check(password=b"wrong") is False and bench.check(password=b"wrong") is False
    assert bench.alice.asked == 2
    bench.time += REMEMBERED + 1
    assert bench.check() is True
    assert bench.alice.asked == 3


def test_somebody_unknown_costs_as_much() -> None:
    """A hash is made for them too, and is never right."""
    bench = Bench()
    assert bench.check(name="mallory", password=b"right") is False
    assert bench.alice.asked == 1


def test_name_and_password_are_not_mixed_up() -> None:
    """Where one ends is part of what is remembered."""
    bench = Bench()
    assert bench.check() is True
    assert bench.check(name="alicer", password=b"ight") is False


def test_many_at_once_share_one_hash() -> None:
    """All hear of it."""
    bench = Bench()
    found = [bench.passwords.check(HERE, "alice", b"right") for _ in range(20)]
    results: list[bool] = []
    for one in found:
        assert isinstance(one, Deferred)
        one.addCallback(results.append)
    bench.threads.run()
    assert results == [True] * 20 and bench.alice.asked == 1


def test_guessing_is_bounded_by_address() -> None:
    """So many at once, then one now and then; another address is not concerned, and who is remembered gets in."""
    bench = Bench()
    assert bench.check() is True
    for number in range(WRONG_AT_ONCE):
        assert bench.check(password=b"%d" % number) is False
    with pytest.raises(TooManyRequests) as caught:
        bench.check(password=b"one more")
    assert 1 <= caught.value.retry_after <= WRONG_EVERY + 1
    assert bench.check() is True
    assert bench.check(password=b"0") is False
    assert bench.check(password=b"elsewhere", address=ip_address("192.0.2.8")) is False
    bench.time += WRONG_EVERY
    assert bench.check(password=b"one more") is False
    with pytest.raises(TooManyRequests):
        bench.check(password=b"and more")


def test_a_network_of_ipv6_is_one_guesser() -> None:
    """Each of its addresses would be another."""
    bench = Bench()
    for number in range(WRONG_AT_ONCE):
        assert bench.check(password=b"%d" % number, address=ip_address(f"2001:db8::{number:x}")) is False
    with pytest.raises(TooManyRequests):
        bench.check(password=b"x", address=ip_address("2001:db8::ffff"))


def test_what_waits_is_bounded() -> None:
    """However many addresses ask."""
    bench = Bench()
    for number in range(MOST_WAITING):
        assert isinstance(bench.passwords.check(ip_address(number + 1), "alice", b"%d" % number), Deferred)
    with pytest.raises(Overloaded):
        bench.passwords.check(ip_address("198.51.100.1"), "alice", b"one more")
    assert len(bench.threads.waiting) == 2, "threads are for others too"
    bench.threads.run()


def test_other_users_count_at_once() -> None:
    """What was remembered is forgotten, and what is being hashed lets nobody in."""
    bench = Bench()
    assert bench.check() is True
    under_way: list[bool] = []
    found = bench.passwords.check(HERE, "alice", b"wrong")
    assert isinstance(found, Deferred)
    found.addCallback(under_way.append)
    users: Any = {"alice": Hash(b"wrong")}
    bench.passwords.renew(users)
    bench.threads.run()
    assert under_way == [False]
    assert bench.check() is False
    assert bench.check(password=b"wrong") is True
