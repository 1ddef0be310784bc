"""The play itself: its fakes are what they say, and its end notices what is left or wrong."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from zope.interface.verify import verifyObject

from netfw.interfaces import IDialer, IPolicySource, IRecordSink, IResolver
from netfw.names.host import Host
from netfw.testing.conversation import Conversation
from netfw.testing.deferreds import failure_of, result_of

GET = b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n"


def test_fakes():
    """They have the interfaces of what they stand for."""
    with Conversation() as play:
        verifyObject(IResolver, play.resolver)
        verifyObject(IDialer, play.dialer)
        verifyObject(IRecordSink, play.sink)
        verifyObject(IPolicySource, play.policies)
        play.policies.taken = 0


def test_the_resolver():
    """At once or when it is told to; cancelling withdraws."""
    from netfw.errors import NameNotFound

    with Conversation() as play:
        origin, missing = Host("origin.test", None), Host("missing.test", None)
        assert str(result_of(play.resolver.resolve(origin)).addresses[0]) == "203.0.113.1"
        failure_of(play.resolver.resolve(missing), NameNotFound)
        play.resolver.held.add("origin.test")
        kept, withdrawn = play.resolver.resolve(origin), play.resolver.resolve(origin)
        withdrawn.addErrback(lambda _: None)
        withdrawn.cancel()
        play.resolver.answer("origin.test")
        assert result_of(kept).source == "dns"
        assert play.resolver.cancelled == ["origin.test"]


def test_an_open_transport_is_noticed():
    """One that nobody would ever close."""
    play = Conversation()
    play.client()
    play.plane.deadlines.stop()
    play.streams[0].pauseProducing()
    with pytest.raises(AssertionError, match="left behind"):
        play.finish()


def test_an_error_in_the_log_is_noticed():
    """Also one that is told when a Deferred is collected."""
    with pytest.raises(AssertionError, match="ouch"), Conversation():
        Logger().error("ouch")
    with pytest.raises(AssertionError, match="unheard"), Conversation():
        lost: list[Deferred[None]] = [fail(KeyError("unheard"))]
        lost.clear()


def test_a_missing_record_is_noticed(monkeypatch):
    """One exchange, no record."""
    with pytest.raises(AssertionError), Conversation() as play:
        monkeypatch.setattr(play.sink, "write", lambda record: None)
        client = play.client()
        client.says(GET)
        play.origin().hears_head()


def test_a_second_record_is_noticed(monkeypatch):
    """One exchange, two records."""
    with pytest.raises(AssertionError, match="two records"), Conversation() as play:
        write = play.sink.write
        monkeypatch.setattr(play.sink, "write", lambda record: (write(record), write(record)))
        client = play.client()
        client.says(GET)
        play.origin().hears_head()


def test_time():
    """It passes only when it is told to."""
    with Conversation() as play:
        client = play.client()
        before = play.now()
        client.hears_nothing()
        assert play.now() == before
        play.later(3)
        assert play.now() == before + 3
