"""Which ports are opened and closed, in which order, and what is told when one cannot be had."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from twisted.internet.defer import Deferred, succeed

from netfw.config.listener_ports import Listener
from netfw.config.model import ListenerSection, ListenerType
from netfw.service.store_listeners import StoreListeners

FIXED = ListenerSection("fixed", ListenerType.HTTP, ip_address("127.0.0.1"), 3128, None, None, ())
CHOSEN = replace(FIXED, name="chosen", port=8080, from_store=((8080, 8089),))
SIXTH = replace(CHOSEN, name="sixth", address=ip_address("::1"))
SECURE = replace(CHOSEN, name="secure", type=ListenerType.HTTPS, port=8443, from_store=((8443, 8443),))
SECTIONS = (FIXED, CHOSEN, SIXTH, SECURE)


class Doors:
    """Sockets of a test's own: ports in `taken` cannot be had."""

    def __init__(self) -> None:
        self.taken: set[int] = set()
        self.now = {(position, section.port) for position, section in enumerate(SECTIONS)}
        self.done: list[str] = []

    def opened(self) -> set[tuple[int, int]]:
        return set(self.now)

    def open_port(self, position: int, port: int) -> None:
        if port in self.taken:
            raise OSError(98, "Address already in use")
        self.now.add((position, port))
        self.done.append(f"+{position}:{port}")

    def close_port(self, position: int, port: int) -> None:
        self.now.remove((position, port))
        self.done.append(f"-{position}:{port}")

    def settled(self) -> Deferred[None]:
        return succeed(None)

    def asked(self, *listeners: Listener, nothing: bool = False) -> tuple[str, ...]:
        """Carry it out; what could not be."""
        found: list[tuple[str, ...]] = []
        self.listeners.carry_out(None if nothing else listeners).addCallback(found.append)
        return found[0]

    @property
    def listeners(self) -> StoreListeners:
        return StoreListeners(SECTIONS, self)


@pytest.fixture
def doors() -> Doors:
    return Doors()


def test_ports_move_and_the_new_ones_come_first(doors: Doors) -> None:
    """On every listener of the type that may have them; what is fixed stays; asking again does nothing."""
    assert doors.asked((3128, "HTTP"), (8081, "HTTP"), (8443, "HTTPS")) == ()
    assert doors.done == ["+1:8081", "+2:8081", "-1:8080", "-2:8080"]
    doors.done.clear()
    assert doors.asked((8443, "HTTPS"), (3128, "HTTP"), (8081, "HTTP")) == ()
    assert doors.done == []


def test_several_ports_of_one_listener_or_none(doors: Doors) -> None:
    """The store decides how many; asking for nothing is what proxy.yaml has."""
    assert doors.asked((3128, "HTTP"), (8081, "HTTP"), (8082, "HTTP")) == ()
    assert doors.opened() == {(0, 3128), (1, 8081), (1, 8082), (2, 8081), (2, 8082)}
    assert doors.asked() == ()
    assert doors.opened() == {(0, 3128)}
    assert doors.asked(nothing=True) == ()
    assert doors.opened() == Doors().opened()


def test_while_a_port_is_taken_no_other_is_closed(doors: Doors) -> None:
    """And it is said; once it is free the change is made whole."""
    doors.taken = {8081}
    wanted: list[Listener] = [(3128, "HTTP"), (8081, "HTTP"), (8443, "HTTPS")]
    assert doors.asked(*wanted) == (
        "8081 HTTP cannot be opened: Address already in use",
        "8080 HTTP stays open until then",
    )
    assert doors.opened() == Doors().opened()
    doors.taken = set()
    assert doors.asked(*wanted) == ()
    assert doors.opened() == {(0, 3128), (1, 8081), (2, 8081), (3, 8443)}


def test_what_this_nodes_file_does_not_permit_is_told(doors: Doors) -> None:
    """Another node's may; what is permitted is opened all the same."""
    problems = doors.asked((3128, "HTTP"), (9000, "HTTP"), (8082, "HTTP"), (8444, "HTTPS"))
    assert [problem.split(" is not permitted")[0] for problem in problems[:2]] == ["9000 HTTP", "8444 HTTPS"]
    assert (1, 8082) in doors.opened() and (1, 8080) in doors.opened()
