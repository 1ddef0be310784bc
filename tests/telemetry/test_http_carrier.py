"""Batches by HTTP to a real server on loopback: what it is sent, what each answer means, and TLS both ways."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from time import time
from typing import Any

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.logger import formatEvent, globalLogPublisher

from netfw.config.delivery_model import HttpSection
from netfw.telemetry.carrier import Carried, NotCarried, Stopping, TooLarge
from netfw.telemetry.delivery_secrets import HttpCredentials, ServerVerification
from netfw.telemetry.http_carrier import HttpCarrier
from netfw.telemetry.retry_after import retry_after
from netfw.telemetry.spool import BatchLimits, Spool
from netfw.telemetry.spooled_destination import SpooledDestination, SpooledLog
from netfw.testing.collector import Answer, Collector, server_tls
from netfw.testing.pki import TestAuthority
from netfw.testing.stores import wait_until

RECORDS = [b'{"n":1}\n', b'{"n":2}\n']


@pytest.fixture(scope="module")
def reactor() -> Iterator[Any]:
    """One that turns in a thread of its own, as carriers know it: from elsewhere."""
    turning: Any = EPollReactor()
    thread = threading.Thread(target=turning.run, kwargs={"installSignalHandlers": False}, daemon=True)
    thread.start()
    yield turning
    turning.callFromThread(turning.stop)
    thread.join(10)
    assert not thread.is_alive()


Make = Callable[..., HttpCarrier]


@pytest.fixture
def carrier_to(reactor: Any) -> Iterator[Make]:
    """Makes carriers; the last thing that each does is to stop."""
    made: list[HttpCarrier] = []

    def make(url: str, credentials: HttpCredentials = HttpCredentials(), **settings: Any) -> HttpCarrier:
        made.append(HttpCarrier(url, lambda: credentials, reactor=reactor, **settings))
        return made[-1]

    yield make
    for carrier in made:
        carrier.stop()


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A server that takes everything."""
    with Collector() as found:
        yield found


@pytest.mark.parametrize("compress", [True, False])
def test_a_batch_is_one_request_of_json_lines(collector: Collector, carrier_to: Make, compress: bool) -> None:
    """With its name, so that a receiver may tell a batch that comes twice; credentials are fields."""
    carrier = carrier_to(collector.url(), HttpCredentials({"Authorization": "Bearer s3cret"}), compress=compress)
    assert carrier.carry(RECORDS, "batch-7") == Carried()
    (posted,) = collector.posted
    assert posted.lines == RECORDS
    assert posted.headers["content-type"] == "application/x-ndjson"
    assert posted.headers["x-batch-id"] == "batch-7"
    assert posted.headers["authorization"] == "Bearer s3cret"
    assert posted.headers.get("content-encoding") == ("gzip" if compress else None)
    assert "s3cret" not in repr(HttpCredentials({"Authorization": "Bearer s3cret"}, certificate=b"s3cret"))


def test_one_connection_serves_many_batches_and_a_stale_one_is_replaced(collector: Collector, carrier_to: Make) -> None:
    """A server that has closed meanwhile costs no attempt."""
    carrier = carrier_to(collector.url())
    for number in range(3):
        carrier.carry(RECORDS, str(number))
    assert len(collector.clients) == 1
    collector.kill()
    collector.start()
    carrier.carry(RECORDS, "3")
    assert [posted.headers["x-batch-id"] for posted in collector.taken] == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (408, "busy"),
        (429, "busy"),
        (500, "failed"),
        (502, "busy"),
        (503, "busy"),
        (401, "credentials"),
        (403, "credentials"),
        (404, "not_found"),
        (302, "failed"),
    ],
)
def test_answers_that_are_tried_again(collector: Collector, carrier_to: Make, status: int, reason: str) -> None:
    """Also where the settings are at fault: somebody will mend them. A redirect is followed nowhere."""
    extra = (("Retry-After", "7"), ("Location", collector.url("/elsewhere")))
    collector.respond = lambda _: Answer(status, b"no\xff", extra)
    with pytest.raises(NotCarried) as raised:
        carrier_to(collector.url(), HttpCredentials({"Authorization": "s3cret"})).carry(RECORDS, "1")
    assert (raised.value.reason, raised.value.retry_after) == (reason, 7.0)
    assert str(status) in raised.value.detail and "s3cret" not in raised.value.detail
    assert len(collector.posted) == 1


def test_answers_that_end_it(collector: Collector, carrier_to: Make) -> None:
    """The batch is refused for good, or too large."""
    carrier = carrier_to(collector.url())
    collector.respond = lambda _: Answer(400, b"not JSON")
    carried = carrier.carry(RECORDS, "1")
    assert carried.refused == 2 and "not JSON" in carried.detail
    collector.respond = lambda _: Answer(413)
    with pytest.raises(TooLarge, match="413"):
        carrier.carry(RECORDS, "1")


def test_a_long_answer_is_not_read_to_its_end(collector: Collector, carrier_to: Make) -> None:
    """Nobody fills our memory."""
    collector.respond = lambda _: Answer(500, b"x" * 10_000_000)
    with pytest.raises(NotCarried) as raised:
        carrier_to(collector.url()).carry(RECORDS, "1")
    assert len(raised.value.detail) < 400


def test_a_server_that_is_away_cannot_be_reached(collector: Collector, carrier_to: Make) -> None:
    """Nobody listens there."""
    collector.kill()
    with pytest.raises(NotCarried) as raised:
        carrier_to(collector.url()).carry(RECORDS, "1")
    assert raised.value.reason == "unreachable" and collector.url() in raised.value.detail


def test_a_server_that_hangs_up_has_taken_nothing_for_certain(collector: Collector, carrier_to: Make) -> None:
    """Neither the first time nor over a new connection."""
    collector.respond = lambda _: None
    with pytest.raises(NotCarried) as raised:
        carrier_to(collector.url()).carry(RECORDS, "1")
    assert raised.value.reason == "unreachable"


def test_a_server_that_says_nothing_is_given_up(collector: Collector, carrier_to: Make) -> None:
    """After `whole` seconds."""
    said = threading.Event()
    collector.respond = lambda _: Answer() if said.wait(30) else None
    try:
        with pytest.raises(NotCarried) as raised:
            carrier_to(collector.url(), whole=0.2).carry(RECORDS, "1")
    finally:
        said.set()
    assert raised.value.reason == "timeout"


def test_a_server_that_repeats_what_it_was_sent_is_not_quoted(collector: Collector, carrier_to: Make) -> None:
    """Debugging servers answer with the request; its fields are the way into the collector."""
    secret = "c0llectors-t0ken"
    credentials = HttpCredentials({"Authorization": f"Bearer {secret}", "X-Team": "ops"})
    collector.respond = lambda posted: Answer(403, f"{'x' * 150}no ops for {posted.headers['authorization']}".encode())
    with pytest.raises(NotCarried) as raised:
        carrier_to(collector.url(), credentials).carry(RECORDS, "b")
    assert raised.value.detail.endswith("no ops for ***")
    collector.respond = lambda _: Answer(400, f"unknown token {secret}".encode())
    carried = carrier_to(collector.url(), credentials).carry(RECORDS, "b")
    assert carried.detail.endswith("unknown token ***")
    accepted = carrier_to(
        collector.url(), credentials, accepted=lambda body, _: Carried(refused=1, detail=body.decode())
    )
    collector.respond = lambda _: Answer(200, f"token {secret} may send less".encode())
    assert accepted.carry(RECORDS, "b").detail == "token *** may send less"


def test_a_secret_in_the_address_is_sent_and_not_shown(collector: Collector, carrier_to: Make) -> None:
    section = HttpSection(collector.url() + "?api_key=t0psecret&team=ops")
    carrier = carrier_to(section.url, shown=section.shown)
    carrier.carry(RECORDS, "b")
    assert collector.posted[-1].path.endswith("?api_key=t0psecret&team=ops")
    collector.kill()
    with pytest.raises(NotCarried) as raised:
        carrier.carry(RECORDS, "b")
    assert carrier.shown.endswith("?api_key=***&team=ops") and carrier.shown in raised.value.detail
    assert "t0psecret" not in raised.value.detail


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "])
def test_a_server_that_answers_a_byte_at_a_time_is_hung_up_on(carrier_to: Make, head: bytes) -> None:
    """In the head or in the body: what it took is unknown, and its connection is closed."""
    closed = threading.Event()

    def serve(listener: socket.socket) -> None:
        served, _ = listener.accept()
        with served:
            served.recv(65536)
            try:
                served.sendall(head)
                while True:
                    served.sendall(b"x")
                    if closed.wait(0.05):
                        return
            except OSError:
                closed.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        with pytest.raises(NotCarried) as raised:
            carrier_to(f"http://127.0.0.1:{listener.getsockname()[1]}/", whole=0.5).carry(RECORDS, "b")
        assert raised.value.reason == "timeout"
        wait_until(closed.is_set)
        thread.join(5)


def test_the_programs_log_hears_nothing_of_connections(collector: Collector, carrier_to: Make) -> None:
    """Each attempt at a server that is away would leave two lines."""
    heard: list[str] = []
    observe = lambda event: heard.append(formatEvent(event))  # noqa: E731  # added and removed by identity
    globalLogPublisher.addObserver(observe)
    try:
        carrier = carrier_to(collector.url())
        carrier.carry(RECORDS, "b")
        carrier.renew()
        collector.kill()
        with pytest.raises(NotCarried):
            carrier.carry(RECORDS, "b")
    finally:
        globalLogPublisher.removeObserver(observe)
    assert [line for line in heard if "factory" in line] == []


def test_stopping_ends_the_wait(collector: Collector, carrier_to: Make) -> None:
    """Whatever becomes of the request."""
    said = threading.Event()
    collector.respond = lambda _: Answer() if said.wait(30) else None
    carrier = carrier_to(collector.url())
    ended: list[BaseException] = []

    def carry() -> None:
        try:
            carrier.carry(RECORDS, "1")
        except Stopping as error:
            ended.append(error)

    thread = threading.Thread(target=carry)
    thread.start()
    wait_until(lambda: collector.posted)
    carrier.stop()
    thread.join(10)
    said.set()
    assert len(ended) == 1


class Pki:
    """A server's certificate and a client's, of two authorities."""

    def __init__(self, root: Path) -> None:
        server, client = TestAuthority("Servers"), TestAuthority("Clients")
        certificate, key = server.issue("localhost")
        self.ca = server.certificate_pem
        shown, own = client.subordinate("Between").issue("proxy.test", purpose=None)
        self.client = shown + own
        self.files = [root / name for name in ("server.crt", "server.key", "clients.crt")]
        for path, content in zip(self.files, (certificate, key, client.certificate_pem), strict=True):
            path.write_bytes(content)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: Any) -> Pki:
    """See `Pki`."""
    return Pki(tmp_path_factory.mktemp("pki"))


def test_a_server_that_asks_for_a_certificate_gets_none_of_the_records_without_one(pki: Pki, carrier_to: Make) -> None:
    """With one is in tests/integration/test_sinks.py: Twisted's TLS writes by the process's own reactor."""
    with Collector(tls=server_tls(*pki.files)) as collector:
        with pytest.raises(NotCarried) as raised:
            carrier_to(collector.url(host="localhost"), HttpCredentials(ca=pki.ca), whole=0.5).carry(RECORDS, "1")
        assert raised.value.reason in ("tls", "timeout")
        assert collector.posted == []


def test_nothing_is_sent_to_a_server_that_is_not_who_it_should_be(pki: Pki, carrier_to: Make) -> None:
    """Another authority, or another name."""
    with Collector(tls=server_tls(*pki.files[:2])) as collector:
        for url, credentials in (
            (collector.url(host="localhost"), HttpCredentials()),
            (collector.url(host="127.0.0.1"), HttpCredentials(ca=pki.ca)),
        ):
            with pytest.raises(NotCarried) as raised:
                carrier_to(url, credentials).carry(RECORDS, "1")
            assert raised.value.reason == "tls"
        assert collector.posted == []


def test_unusable_files_are_named_before(pki: Pki) -> None:
    """When they are read, not when records wait."""
    ServerVerification(HttpCredentials(ca=pki.ca, certificate=pki.client))
    for credentials in (
        HttpCredentials(ca=b"nothing"),
        HttpCredentials(certificate=b"nothing"),
        HttpCredentials(certificate=pki.ca),
    ):
        with pytest.raises(ValueError, match="cannot be used for TLS"):
            ServerVerification(credentials)


def test_retry_after_has_two_forms() -> None:
    """Seconds, or a date; what is neither asks for nothing."""
    now = time()
    assert retry_after(b"120", now) == 120.0
    assert 50 < (retry_after(formatdate(now + 60, usegmt=True).encode(), now) or 0) <= 60
    assert retry_after(formatdate(now - 60, usegmt=True).encode(), now) == 0.0
    assert [retry_after(value, now) for value in (b"", b"soon", b"-5", b"\xb2", b"1.5")] == [None] * 5


@pytest.mark.parametrize("drop", ["oldest", "newest"])
def test_killed_and_restored_during_load(tmp_path: Path, carrier_to: Make, drop: str) -> None:
    """Once below the spool's limit: nothing is lost. Then above it: what is lost is what is counted."""
    with Collector() as collector:
        spool = Spool(tmp_path / "spool", size=40_000, limits=BatchLimits(50, 100_000, 0.02), drop=drop)
        destination = SpooledDestination(spool, carrier_to(collector.url()), first_pause=0.05, longest_pause=0.1)
        output = SpooledLog(destination, gather=0.005)
        output.start()
        sent: list[bytes] = []

        def load(count: int, size: int = 20) -> None:
            for _ in range(count):
                sent.append(b'{"n":"%s"}\n' % str(len(sent)).rjust(size, "0").encode())
                output.write(sent[-1])

        load(300)
        wait_until(lambda: collector.taken)
        collector.kill()
        load(300)
        wait_until(lambda: output.failing)
        load(300)
        collector.start()
        wait_until(lambda: output.written == len(sent))
        assert (output.dropped, set(collector.records)) == (0, set(sent))
        collector.kill()
        load(3000)
        wait_until(lambda: not output.queue_length and spool.records + output.written + output.dropped == len(sent))
        collector.start()
        wait_until(lambda: not spool.records)
        arrived = set(collector.records)
        assert output.dropped > 1000
        assert output.written + output.dropped == len(sent)
        assert len(arrived) == output.written
        # And in the order in which they came.
        last = set(sent[900:])
        assert sorted(arrived & last) == [record for record in dict.fromkeys(collector.records) if record in last]
        output.close(5.0)
