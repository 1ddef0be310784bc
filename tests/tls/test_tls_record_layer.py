"""netfw.tls.record_layer"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from OpenSSL import SSL

from netfw.names.host import host_from_text
from netfw.tls.contexts import leaf_context, upstream_context
from netfw.tls.failures import TlsRecordsBroken
from netfw.tls.record_layer import FEED, RECORD, RecordLayer

Pair = tuple[RecordLayer, RecordLayer]


@pytest.fixture
def pair(bed: Any, leaf_for: Callable[..., Any]) -> Pair:
    """Client and server after their handshake, over memory alone."""
    client = SSL.Connection(upstream_context([bed.root_file]), None)
    client.set_tlsext_host_name(host_from_text("a.example").text.encode())
    client.set_connect_state()
    server = SSL.Connection(leaf_context(leaf_for(bed, "a.example")), None)
    server.set_accept_state()
    ends = RecordLayer(client), RecordLayer(server)
    for _ in range(4):
        for here, there in (ends, ends[::-1]):
            try:
                here.connection.do_handshake()
            except SSL.WantReadError:
                pass
            if data := here.waiting():
                there.feed(data)
    assert ends[0].open_records(b"") == b""
    return ends


@pytest.mark.parametrize("size", [1, RECORD - 1, RECORD, RECORD + 1, FEED, FEED + 1, 10 * FEED + 7])
def test_what_is_sealed_can_be_opened(pair: Pair, size: int) -> None:
    """In whatever pieces it was sealed; nothing stays behind."""
    client, server = pair
    data = bytes(number % 251 for number in range(size))
    sealed = b"".join(client.seal(data))
    assert client.waiting() == b""
    assert server.is_whole(sealed) is (size <= RECORD)
    assert server.open_records(sealed) == data
    assert not server.ended


def test_one_record_is_opened_by_asking_once(pair: Pair) -> None:
    """And a second call has nothing."""
    client, server = pair
    (sealed,) = client.seal(b"hello")
    assert server.open_record(sealed) == b"hello"
    assert server.open_records(b"") == b""


def test_a_goodbye_is_a_clean_end(pair: Pair) -> None:
    """What came before it is still returned."""
    client, server = pair
    sealed = b"".join(client.seal(b"last"))
    client.say_goodbye()
    assert server.open_records(sealed + client.waiting()) == b"last"
    assert server.ended and server.clean_end and server.fault is None


def test_a_damaged_record_is_a_fault_with_an_alert_to_send(pair: Pair) -> None:
    """Not a clean end."""
    client, server = pair
    (sealed,) = client.seal(b"hello")
    assert server.open_record(sealed[:-1] + bytes([sealed[-1] ^ 1])) == b""
    assert server.ended and not server.clean_end and isinstance(server.fault, TlsRecordsBroken)
    assert server.waiting() != b""
