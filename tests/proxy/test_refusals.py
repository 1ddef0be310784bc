"""Records of connections without a request: one at once, the rest counted, none lost, and never many lines."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from netfw.errors import NetfwError, NotAClient, Overloaded
from netfw.proxy.exchange import Caller
from netfw.proxy.refusals import Refusals
from netfw.testing.proxy_process import policy
from netfw.testing.scripted import PolicyInForce, RecordList
from netfw.transport.deadlines import Deadlines

STRANGER = NotAClient("not one of the clients")
FULL = Overloaded("full")


class Book:
    """Refusals with a clock of their own."""

    def __init__(self, clients: int = 2, sink: Any = None) -> None:
        self.clock = Clock()
        self.sink = sink or RecordList()
        self.deadlines = Deadlines(self.clock)
        self.refusals = Refusals(
            self.sink,
            policies=PolicyInForce(policy()),
            proxy_name="netfw",
            deadlines=self.deadlines,
            now=lambda: 1000.0 + self.clock.seconds(),
            window=60.0,
            clients=clients,
        )

    def refuse(self, address: str, error: NetfwError = STRANGER, listener: str = "main", **more) -> None:
        self.refusals.record(Caller(address=ip_address(address), port=7, listener_name=listener), error, **more)

    @property
    def counts(self) -> list[tuple[str | None, int | None]]:
        return [(record.get("client_src_ip"), record.get("count")) for record in self.sink.records]


def test_the_first_is_written_at_once():
    """Whole, with the client's port, and nothing follows it."""
    book = Book()
    book.refuse("8.8.8.8", FULL, answered=True, bytes_out=9)
    (record,) = book.sink.records
    assert record["kind"] == "connection"
    assert record["error"] == {"token": "connection_limit_reached", "fault": "ours", "message": "full"}
    assert (record["client_src_ip"], record["client_src_port"]) == ("8.8.8.8", 7)
    assert (record["http_status_code"], record["bytes_out"], record["final_action"]) == (503, 9, "deny")
    assert "count" not in record
    book.clock.pump([1.0] * 61)
    assert len(book.sink.records) == 1
    assert len(book.deadlines) == 0


def test_more_of_the_same_are_counted():
    """One record at the end of the window, from the first to the last of them; then the next is written again."""
    book = Book()
    book.refuse("8.8.8.8", bytes_in=1)
    book.clock.advance(10)
    for _ in range(1000):
        book.refuse("8.8.8.8", bytes_in=2)
    book.clock.advance(5)
    book.refuse("8.8.8.8", bytes_in=2)
    assert len(book.sink.records) == 1
    book.clock.pump([1.0] * 46)
    record = book.sink.records[-1]
    assert (record["count"], record["started"], record["event_timestamp"]) == (1001, 1010.0, 1015)
    assert record["bytes_in"] == 2002
    assert "client_src_port" not in record
    book.refuse("8.8.8.8")
    assert book.counts == [("8.8.8.8", None), ("8.8.8.8", 1001), ("8.8.8.8", None)]


def test_reasons_and_listeners_are_told_apart():
    """Each has its own first one."""
    book = Book(clients=10)
    book.refuse("8.8.8.8")
    book.refuse("8.8.8.8", FULL)
    book.refuse("8.8.8.8", listener="second")
    assert len(book.sink.records) == 3


def test_many_clients_share_a_line():
    """Beyond the number that is kept apart, one record without an address for each reason."""
    book = Book(clients=2)
    for number in range(1, 201):
        book.refuse(f"8.8.8.{number}")
    book.refuse("9.9.9.9", FULL)
    book.refusals.close()
    assert book.counts == [("8.8.8.1", None), ("8.8.8.2", None), (None, 198), (None, 1)]
    assert book.sink.records[-1]["error"]["message"] == "full"
    assert len(book.deadlines) == 0


def test_closing_with_nothing_to_tell():
    """Nothing is written."""
    book = Book()
    book.refusals.close()
    assert book.sink.records == []


def test_a_sink_that_breaks_stops_nothing():
    """The connection is refused all the same."""

    class Broken:
        def write(self, record: bytes) -> None:
            raise OSError("full")

    events: list[dict] = []
    globalLogPublisher.addObserver(events.append)
    try:
        Book(sink=Broken()).refuse("8.8.8.8")
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert len([event for event in events if "log_failure" in event]) == 1


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.sampled_from([STRANGER, FULL]), st.sampled_from([0.0, 1.0, 70.0])), max_size=40
    ),
    st.integers(0, 4),
)
def test_none_is_lost_and_lines_are_few(comers, clients):
    """The counts add up to all that came, and a window has at most two lines a client and one a reason."""
    book = Book(clients=clients)
    windows = 1
    for number, error, wait in comers:
        book.refuse(f"8.8.8.{number}", error)
        book.clock.advance(wait)
        windows += wait > 0
    book.refusals.close()
    told = [record.get("count", 1) for record in book.sink.records]
    assert sum(told) == len(comers)
    assert len(told) <= windows * (2 * clients + 2)


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:db8::1"])
def test_the_line_is_json(address):
    """As every record is."""
    book = Book()
    book.refuse(address)
    assert book.sink.records[0]["client_src_ip"] == address
