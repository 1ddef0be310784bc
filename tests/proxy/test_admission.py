"""Who may come in, and how many."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from zope.interface.verify import verifyObject

from netfw.config.defaults import LIMITS
from netfw.interfaces import IAdmission
from netfw.proxy.admission import DRAINING, NOT_A_CLIENT, TOO_MANY, TOO_MANY_FROM_CLIENT, Admission
from netfw.testing.conversation import settings

LISTENER = settings().listeners[0]


def admission(**limits: int) -> Admission:
    return Admission(replace(LIMITS, **limits))


def test_interface():
    """It is what it says."""
    verifyObject(IAdmission, admission())


@pytest.mark.parametrize(
    ("address", "welcome"),
    [
        ("127.0.0.1", True), ("10.9.8.7", True), ("192.168.1.1", True), ("::1", True), ("fd00::1", True),
        ("::ffff:10.0.0.1", True), ("8.8.8.8", False), ("::ffff:8.8.8.8", False), ("2001:4860::1", False),
        ("64:ff9b::a00:1", False), ("2002:a00:1::1", False), ("::10.0.0.1", False),
    ],
)  # fmt: skip
def test_clients(address, welcome):
    """By default loopback and private addresses; a translated address is not the one it wraps."""
    door = admission()
    for _ in range(2):
        reason = door.admit_connection(LISTENER, ip_address(address))
        assert reason == (None if welcome else NOT_A_CLIENT)
    assert door.open == (2 if welcome else 0)
    assert door.refused[NOT_A_CLIENT] == (0 if welcome else 2)


def test_listeners_have_their_own_clients():
    """What one listener lets in another may not."""
    door = admission()
    other = replace(LISTENER, name="other", clients=(ip_network("8.8.8.0/24"),))
    address = ip_address("8.8.8.8")
    assert door.admit_connection(LISTENER, address) == NOT_A_CLIENT
    assert door.admit_connection(other, address) is None
    assert door.admit_connection(LISTENER, address) == NOT_A_CLIENT


def test_nobody():
    """Without a network nobody is let in."""
    assert admission().admit_connection(replace(LISTENER, clients=()), ip_address("127.0.0.1")) == NOT_A_CLIENT


def test_the_cap_on_all():
    """Counted up and down."""
    door = admission(connections=2)
    first, second, third = (ip_address(f"10.0.0.{number}") for number in range(3))
    assert door.admit_connection(LISTENER, first) is None
    assert door.admit_connection(LISTENER, second) is None
    assert door.admit_connection(LISTENER, third) == TOO_MANY
    door.connection_closed(LISTENER.name, first)
    assert door.admit_connection(LISTENER, third) is None
    assert door.open == 2


def test_the_cap_on_one_client():
    """One does not take the others' room."""
    door = admission(connections_per_client=2)
    one, other = ip_address("10.0.0.1"), ip_address("10.0.0.2")
    assert [door.admit_connection(LISTENER, one) for _ in range(3)] == [None, None, TOO_MANY_FROM_CLIENT]
    assert door.admit_connection(LISTENER, other) is None
    door.connection_closed(LISTENER.name, one)
    assert door.admit_connection(LISTENER, one) is None


def test_draining():
    """Nobody new; strangers are still strangers."""
    door = admission()
    door.draining = True
    assert door.admit_connection(LISTENER, ip_address("127.0.0.1")) == DRAINING
    assert door.admit_connection(LISTENER, ip_address("8.8.8.8")) == NOT_A_CLIENT


def test_memory_is_bounded():
    """However many strangers knock."""
    door = admission()
    for number in range(10_000):
        door.admit_connection(LISTENER, ip_address(0x08000000 + number))
    assert door.open == 0
    assert door.refused[NOT_A_CLIENT] == 10_000
