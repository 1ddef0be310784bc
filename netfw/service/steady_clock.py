"""A reactor whose time goes on steadily, whatever happens to the clock on the wall.

Twisted's reactors count by the wall clock: set forward by an hour (NTP, a virtual machine that is resumed), every
deadline would be over and every connection cut; set back, no deadline would end for an hour. `IReactorTime.seconds` is
anybody's to give, so it is given the monotonic clock. Dates (records, certificates, rules that end) stay the wall's.
"""

from __future__ import annotations

import time
from typing import Any

from twisted.logger import Logger

_log = Logger()


def make_steady(reactor: Any) -> None:
    """Let this reactor count by the monotonic clock. Before anything waits for it: what waits counts by the wall."""
    if reactor.seconds is time.monotonic:
        return
    if reactor.getDelayedCalls():
        _log.warn("something waits for the reactor already: deadlines follow the wall clock")
        return
    reactor.seconds = time.monotonic
