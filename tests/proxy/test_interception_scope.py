"""Whose TLS is opened."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from netfw.config.model import DestinationEntry, TlsInterceptSection
from netfw.names.authority import Authority
from netfw.names.host import host_from_text
from netfw.proxy.interception_scope import InterceptionScope


def at(name: str, port: int = 443) -> Authority:
    return Authority(host_from_text(name), port)


def scope(*bypass: tuple[str, str | None], enabled: bool = True) -> InterceptionScope:
    entries = tuple(DestinationEntry(domain, ip_network(source) if source else None) for domain, source in bypass)
    return InterceptionScope(TlsInterceptSection(enabled, None, None, entries))


@pytest.mark.parametrize(
    ("form", "host", "intercepted"),
    [
        ("a.test", "a.test", False), ("a.test", "b.a.test", True), ("a.test", "xa.test", True),
        (".a.test", "a.test", False), (".a.test", "b.a.test", False), (".a.test", "xa.test", True),
        ("*.a.test", "a.test", True), ("*.a.test", "b.a.test", False), ("*.a.test", "c.b.a.test", False),
    ],
)  # fmt: skip
def test_forms(form, host, intercepted):
    """The three forms of a domain."""
    assert scope((form, None)).intercepts(at(host), ip_address("10.0.0.1")) is intercepted


def test_sources():
    """An entry with a network is for its clients only."""
    some = scope(("a.test", "10.0.0.0/8"), ("b.test", "fd00::/8"))
    assert some.intercepts(at("a.test"), ip_address("10.1.1.1")) is False
    assert some.intercepts(at("a.test"), ip_address("192.168.1.1")) is True
    assert some.intercepts(at("a.test"), ip_address("fd00::1")) is True
    assert some.intercepts(at("b.test"), ip_address("fd00::1")) is False


def test_disabled():
    """Nothing is opened, whatever the list says."""
    assert scope(enabled=False).intercepts(at("a.test"), ip_address("10.0.0.1")) is False
    assert scope(enabled=False).enabled is False


def test_addresses():
    """A literal is opened like any other host."""
    assert scope((".a.test", None)).intercepts(at("192.0.2.1"), ip_address("10.0.0.1")) is True


def test_off_and_on():
    """While it is off nothing is opened, under other settings neither."""
    some = scope()
    near = ip_address("10.0.0.1")
    some.in_force.on = False
    other = some.under(TlsInterceptSection(True, None, None, ()))
    assert [one.intercepts(at("a.test"), near) for one in (some, other)] == [False, False]
    some.in_force.on = True
    assert [one.intercepts(at("a.test"), near) for one in (some, other)] == [True, True]


def only(*entries: DestinationEntry, bypass: tuple[DestinationEntry, ...] = ()) -> InterceptionScope:
    return InterceptionScope(TlsInterceptSection(True, None, None, bypass, only=entries))


def test_only():
    """Nothing else is opened, and what is passed through stays so."""
    some = only(
        DestinationEntry(".a.test", None),
        DestinationEntry("b.test", ip_network("10.0.0.0/8"), 8443),
        bypass=(DestinationEntry("pinned.a.test", None),),
    )
    near, far = ip_address("10.1.1.1"), ip_address("192.168.1.1")
    assert [some.intercepts(at(name), far) for name in ("a.test", "x.a.test", "pinned.a.test", "b.test", "c.test")] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert some.intercepts(at("b.test", 8443), near) is True
    assert some.intercepts(at("b.test"), near) is False
    assert some.intercepts(at("b.test", 8443), far) is False
