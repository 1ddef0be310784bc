"""The order in which DNS servers are asked."""

from __future__ import annotations

from ipaddress import ip_address

from netfw.transport.dns_servers import SET_BACK, Server, ServerOrder

ONE, TWO, THREE = (Server(ip_address(f"192.0.2.{number}")) for number in (1, 2, 3))


def test_text():
    """A server is printed as an authority, brackets round IPv6."""
    assert str(ONE) == "192.0.2.1:53"
    assert str(Server(ip_address("fe80::1%eth0"), 5353)) == "[fe80::1%eth0]:5353"


def test_configured_order():
    """Without silence the order is the configured one."""
    assert ServerOrder([TWO, ONE]).current(0.0) == (TWO, ONE)


def test_silent_server_comes_last():
    """A silent server comes after the others for a while, and then has its place again."""
    order = ServerOrder([ONE, TWO, THREE])
    order.was_silent(ONE, 100.0)
    assert order.current(100.0) == (TWO, THREE, ONE)
    assert order.current(100.0 + SET_BACK - 0.1) == (TWO, THREE, ONE)
    assert order.current(100.0 + SET_BACK) == (ONE, TWO, THREE)


def test_nobody_is_left_out():
    """When all were silent the order is the configured one, and all are asked."""
    order = ServerOrder([ONE, TWO])
    order.was_silent(TWO, 1.0)
    order.was_silent(ONE, 2.0)
    assert order.current(3.0) == (ONE, TWO)


def test_clock_that_went_back():
    """A silence from the future does not count."""
    order = ServerOrder([ONE, TWO])
    order.was_silent(ONE, 100.0)
    assert order.current(50.0) == (ONE, TWO)
