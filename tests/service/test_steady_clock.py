"""A reactor that counts by the monotonic clock."""

import time

from twisted.internet.epollreactor import EPollReactor

from netfw.service.steady_clock import make_steady


def test_it_counts_steadily():
    """Delayed calls too; doing it twice changes nothing."""
    reactor = EPollReactor()
    make_steady(reactor)
    make_steady(reactor)
    assert abs(reactor.seconds() - time.monotonic()) < 1
    call = reactor.callLater(5, lambda: None)
    assert abs(call.getTime() - time.monotonic() - 5) < 1
    call.cancel()


def test_what_waits_already_is_not_confused():
    """Then all stays as it is."""
    reactor = EPollReactor()
    call = reactor.callLater(5, lambda: None)
    make_steady(reactor)
    assert abs(reactor.seconds() - time.time()) < 1
    call.cancel()
