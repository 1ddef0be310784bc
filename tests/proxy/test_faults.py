"""Conversations that are cut at every byte, by either side, in every way, and that fall silent at every byte.

Whatever happens: everything is closed by deadlines alone, each exchange has one record, nothing is logged as an error,
and a client never takes a cut answer for a whole one. All positions with NETFW_EXHAUSTIVE=1, else a sample of them.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from twisted.logger import LogLevel, globalLogPublisher

from netfw.http1.errors import FramingError
from netfw.http1.events import MessageComplete
from netfw.http1.limits import HeadLimits
from netfw.http1.reader import ResponseReader
from netfw.testing.conversation import Conversation
from netfw.testing.proxy_process import condition, policy, rule
from netfw.testing.side import Side

EXHAUSTIVE = os.environ.get("NETFW_EXHAUSTIVE", "") not in ("", "0")
POSITIONS = 12
GET = b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n"
INNER = b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
CONNECT = b"CONNECT origin.test:%d HTTP/1.1\r\nHost: origin.test:%d\r\n\r\n"


class Script:
    """A conversation that goes on as far as it can. `hear` gives up where nothing comes: soon, when nothing may."""

    def __init__(self, play: Conversation, client: Side, patience: int = 4) -> None:
        self.play = play
        self.client = client
        self.patience = patience

    def hear(self, side: Side, marker: bytes, count: int = 1) -> bool:
        for attempt in range(8 + self.patience):
            if side.unheard.count(marker) >= count:
                return True
            if side.ended or side.left:
                break
            self.play.turn(0.0 if attempt < 8 else 0.001)
        return False

    def origin(self) -> Side:
        for attempt in range(8 + self.patience):
            if self.play.dialer.accepted:
                return self.play.dialer.accepted[0]
            self.play.turn(0.0 if attempt < 8 else 0.001)
        raise LookupError

    def shake(self, *sides: Side) -> None:
        for attempt in range(16 + self.patience):
            if all(side.is_secure for side in sides):
                return
            self.play.turn(0.0 if attempt < 12 else 0.001)
        raise LookupError


def two_requests(on: Script) -> None:
    on.client.says(GET + GET)
    origin = on.origin()
    for number in (1, 2):
        on.hear(origin, b"\r\n\r\n", number)
        origin.says(OK)
    on.hear(on.client, b"hi", 2)


def chunked_upload(on: Script) -> None:
    on.client.says(b"PUT http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nTransfer-Encoding: chunked\r\n\r\n")
    on.client.says(b"3\r\nabc\r\n")
    origin = on.origin()
    on.hear(origin, b"abc")
    on.client.says(b"0\r\nX: y\r\n\r\n")
    on.hear(origin, b"X: y")
    origin.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\n")
    on.hear(on.client, b"X: y")


def expectation(on: Script) -> None:
    on.client.says(b"POST http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 3\r\n")
    on.client.says(b"Expect: 100-continue\r\n\r\n")
    origin = on.origin()
    on.hear(origin, b"\r\n\r\n")
    origin.says(b"HTTP/1.1 100 Continue\r\n\r\n")
    on.hear(on.client, b"100")
    on.client.says(b"abc")
    on.hear(origin, b"abc")
    origin.says(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
    on.hear(on.client, b"hi")


def until_close(on: Script) -> None:
    on.client.says(GET)
    origin = on.origin()
    on.hear(origin, b"\r\n\r\n")
    origin.says(b"HTTP/1.0 200 OK\r\n\r\nsome text")
    on.hear(on.client, b"text")
    origin.leaves()
    on.hear(on.client, b"0\r\n\r\n")


def denied(on: Script) -> None:
    on.client.says(b"DELETE http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 3\r\n\r\nabc")
    on.hear(on.client, b"403")


def denied_answer(on: Script) -> None:
    on.client.says(GET)
    origin = on.origin()
    on.hear(origin, b"\r\n\r\n")
    origin.says(b"HTTP/1.1 418 Teapot\r\nContent-Length: 2\r\n\r\nhi")
    on.hear(on.client, b"403")


def upgrade(on: Script) -> None:
    on.client.says(GET[:-2] + b"Connection: Upgrade\r\nUpgrade: x\r\n\r\n")
    origin = on.origin()
    on.hear(origin, b"\r\n\r\n")
    origin.says(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello")
    on.hear(on.client, b"hello")
    on.client.says(b"ping")
    on.hear(origin, b"ping")
    origin.says(b"pong")
    on.hear(on.client, b"pong")


def plain_inside(on: Script) -> None:
    on.client.says(CONNECT % (80, 80))
    on.hear(on.client, b"\r\n\r\n")
    on.client.says(INNER)
    origin = on.origin()
    on.hear(origin, b"\r\n\r\n")
    origin.says(OK)
    on.hear(on.client, b"hi")


def opaque(on: Script) -> None:
    on.client.says(CONNECT % (443, 443))
    on.hear(on.client, b"\r\n\r\n")
    on.client.take()
    on.client.starts_tls()
    origin = on.origin()
    origin.serves_tls()
    on.shake(on.client, origin)
    on.client.says(b"ping")
    on.hear(origin, b"ping")
    origin.says(b"pong")
    on.hear(on.client, b"pong")


def intercepted(on: Script) -> None:
    on.client.says(CONNECT % (443, 443))
    on.hear(on.client, b"\r\n\r\n")
    on.client.take()
    on.client.starts_tls()
    origin = on.origin()
    origin.serves_tls()
    on.shake(on.client, origin)
    on.client.says(INNER)
    on.hear(origin, b"\r\n\r\n")
    origin.says(OK)
    on.hear(on.client, b"hi")


def denied_inside(on: Script) -> None:
    on.client.says(CONNECT.replace(b"origin", b"denied") % (443, 443))
    on.hear(on.client, b"\r\n\r\n")
    on.client.take()
    on.client.starts_tls("denied.test")
    on.shake(on.client)
    on.client.says(INNER.replace(b"origin", b"denied"))
    on.hear(on.client, b"403")


def tls_listener(on: Script) -> None:
    on.client.starts_tls("proxy.test")
    on.shake(on.client)
    two_requests(on)


RULES = policy(
    groups={
        "g": {
            "PreDNS": [rule("d", "DENY", condition("request:DestinationDomain", "StringEquals", "denied.test"))],
            "PreREQUEST": [rule("r", "DENY", condition("request:Http:Method", "StringEquals", "DELETE"))],
            "PostRESPONSE": [rule("p", "DENY", condition("response:Http:StatusCode", "NumericEquals", "418"))],
        }
    }
)
PLAIN = [two_requests, chunked_upload, expectation, until_close, denied, denied_answer, upgrade, plain_inside]
TLS = [opaque, intercepted, denied_inside, tls_listener]
INTERCEPTING = {intercepted, denied_inside}
ANSWERS = {two_requests, chunked_upload, until_close, denied, denied_answer}
"""Those in which the client hears nothing but whole final responses."""


def conversation(script: Callable[[Script], None]) -> Conversation:
    # A policy with PostRESPONSE rules drops interim responses, and one of the scripts is about these.
    rules = policy() if script is expectation else RULES
    return Conversation(rules, intercept=script in INTERCEPTING, own_tls=script is tls_listener)


def run(script: Callable[[Script], None], who: str, position: int | None, how: str) -> tuple[int, int]:
    """Play it with this cut; returns how much either side said."""
    play = conversation(script)
    try:
        client = play.client()

        def cut(side: Side) -> None:
            if position is not None:
                side.cuts_after(position, lambda: getattr(side, how)() if how != "silence" else None)

        if who == "client":
            cut(client)
        else:
            play.dialer.when_accepted = lambda side: cut(side) if len(play.dialer.accepted) == 1 else None
        try:
            script(Script(play, client))
        except LookupError:
            pass
        play.settle(2)
        play.ends_by_itself()
        origin = play.dialer.accepted[0] if play.dialer.accepted else None
        if script in ANSWERS:
            check_answers(client)
        play.finish(collect=False)
        return client.sent, origin.sent if origin is not None else 0
    finally:
        play.dispose()


def check_answers(client: Side) -> None:
    """What ended orderly is whole."""
    client.pump()
    if client.left or client.was_reset:
        return
    rest = client.unheard
    try:
        while rest:
            reader = ResponseReader(HeadLimits())
            reader.expect(b"GET")
            reader.feed(rest)
            reader.feed_eof()
            while not isinstance(reader.next_event(), MessageComplete):
                pass
            rest = reader.remaining()
    except FramingError as error:
        raise AssertionError(f"taken for whole: {client.unheard!r}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing is logged as an error, nor told by a Deferred when it is collected."""
    errors: list[str] = []

    def note(event: dict) -> None:
        if event.get("log_level", LogLevel.info) >= LogLevel.error:
            failure = event.get("log_failure")
            errors.append(failure.getTraceback() if failure is not None else str(event.get("log_format")))

    globalLogPublisher.addObserver(note)
    try:
        yield
        gc.collect()
    finally:
        globalLogPublisher.removeObserver(note)
    assert errors == []


def sampled(count: int, shift: int) -> list[int]:
    """Positions from 0 to `count`: all, or some with a fixed stride."""
    stride = 1 if EXHAUSTIVE else max(1, count // POSITIONS)
    return sorted({0, count, *range(shift % stride, count, stride)})


CASES = [
    pytest.param(script, who, how, id=f"{script.__name__}-{who}-{how}")
    for script in [*PLAIN, *TLS]
    for who in ("client", "origin")
    for how in ("leaves", "resets", "silence")
    if who == "client" or script not in (denied, denied_inside)
]


@pytest.mark.parametrize("script", [*PLAIN, *TLS], ids=lambda script: script.__name__)
def test_uncut(script):
    """The scripts themselves go to their end."""
    with conversation(script) as play:
        client = play.client()
        script(Script(play, client, patience=2000))
        assert client.unheard
    assert play.records


@pytest.mark.parametrize(("script", "who", "how"), CASES)
def test_cut(script, who, how):
    """See the module."""
    sizes = run(script, who, None, how)
    count = sizes[0 if who == "client" else 1]
    assert count
    with quiet():
        for position in sampled(count, 3 * len(how)):
            try:
                run(script, who, position, how)
            except AssertionError as error:
                raise AssertionError(f"{who} {how} after {position} of {count} bytes: {error}") from error
