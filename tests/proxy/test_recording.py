"""The end of every exchange: one record, the counters."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from twisted.logger import globalLogPublisher

from netfw.policy.compile import compile_policy
from netfw.policy.load import load_policy
from netfw.proxy.exchange import Caller, Exchange, new_exchange_id
from netfw.proxy.recording import Recording
from netfw.telemetry.metrics import Metrics
from netfw.testing.conversation import Conversation
from netfw.testing.proxy_process import policy
from netfw.testing.scripted import RecordList


def exchange() -> Exchange:
    caller = Caller(address=ip_address("127.0.0.1"), port=1, listener_name="main")
    compiled = compile_policy(load_policy(policy(), "test"), 1, 0.0)
    return Exchange(kind="exchange", caller=caller, policy=compiled, proxy_name="netfw", started=1.0)


def test_one_line():
    """The record says when it ended."""
    sink = RecordList()
    recording = Recording(sink, Metrics(), lambda: 3.5)
    recording.finished(exchange())
    assert [record["duration_ms"] for record in sink.records] == [2500]
    assert recording.failed == 0


class Broken:
    def write(self, record: bytes) -> None:
        raise OSError("full")


def test_a_record_that_cannot_be_made():
    """It is counted and logged, the metrics count it all the same, and traffic goes on."""
    events: list[dict] = []
    globalLogPublisher.addObserver(events.append)
    try:
        recording = Recording(Broken(), Metrics(), lambda: 2.0)
        recording.finished(exchange())
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert recording.failed == 1
    assert len([event for event in events if "log_failure" in event]) == 1


def test_hostile_text_stays_in_its_line():
    """Whatever a client writes, the record is one line of ASCII JSON."""
    with Conversation() as play:
        client = play.client()
        client.says(b"GET http://origin.test/\xe2\x80\xae%0a HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        client.take()
        play.record(of=1)
        client = play.client()
        client.says(b"GET http://origin.test/%0d%0a?%1b HTTP/1.1\r\nHost: origin.test\r\n")
        client.says(b"User-Agent: a\x80\xffb\r\n\r\n")
        play.origin()
        client.leaves()
        play.record(of=2)


def test_secrets_are_not_recorded():
    """Credentials of fields never, the values of a query as the record's rules say."""
    with Conversation() as play:
        client = play.client()
        client.says(
            b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nAuthorization: Basic c2VjcmV0\r\n"
            b"Cookie: c2VjcmV0\r\nProxy-Authorization: c2VjcmV0\r\n\r\n"
        )
        head = play.origin().hears_head()
        assert b"Proxy-Authorization" not in head
        assert b"Authorization: Basic c2VjcmV0" in head
        client.leaves()
        assert "c2VjcmV0" not in repr(play.record(of=1))


@pytest.mark.parametrize("_", range(3))
def test_ids(_):
    """Ten easy characters in two groups, each different."""
    ids = {new_exchange_id() for _ in range(2000)}
    assert len(ids) == 2000
    for one in ids:
        assert len(one) == 11
        assert one[5] == "-"
        assert set(one) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ-")
