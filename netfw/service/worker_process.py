"""What a worker process runs: `python -m netfw.service.worker_process NUMBER`, started by the supervisor only.

In this room: the reactor, the log, the signals and the channel of the process. Not here: what the worker does
(`workers.worker`) and what serves (`worker_assembly`).

Its log goes to standard error, which the supervisor reads. A supervisor that is stopped must not stop the worker too,
so a line that the pipe does not take is dropped.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor
from twisted.logger import ILogObserver, LogEvent, eventAsText, globalLogBeginner
from zope.interface import provider

from netfw.service.steady_clock import make_steady
from netfw.workers.channel import Channel, adopt_channel
from netfw.workers.child import CHANNEL_DESCRIPTOR
from netfw.workers.messages import LIMIT_TO_WORKER, TO_WORKER
from netfw.workers.worker import Worker

_STDERR = 2


@provider(ILogObserver)
def _print_event(event: LogEvent) -> None:
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    if text:
        try:
            os.write(_STDERR, text.encode("utf-8", "replace") + b"\n")
        except OSError:
            pass


def run() -> int:
    """Serve until the supervisor says otherwise; the exit status."""
    # The terminal's signals come to the whole group: it is the supervisor that answers them.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    os.set_blocking(_STDERR, False)
    globalLogBeginner.beginLoggingTo([_print_event], redirectStandardIO=False, discardBuffer=True)
    reactor: Any = EPollReactor()
    make_steady(reactor)
    installReactor(reactor)
    # Only now: parts of Twisted that this imports would choose a reactor of their own.
    from netfw.service.worker_assembly import build_worker

    status = [0]

    def stop(code: int) -> None:
        if reactor.running:
            status[0] = code
            reactor.stop()

    worker = Worker(
        build=lambda start: build_worker(start, reactor, lambda message: channel.send(message)),
        send=lambda message: channel.send(message),
        close=lambda: channel.close(),
        stop=stop,
        take_files=lambda count: channel.take_files(count),
    )
    channel = Channel(TO_WORKER, LIMIT_TO_WORKER, received=worker.received, lost=worker.lost)
    sock = socket.socket(fileno=CHANNEL_DESCRIPTOR)
    sock.set_inheritable(False)
    signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(worker.asked_to_end))
    reactor.callWhenRunning(adopt_channel, reactor, sock, channel)
    reactor.run(installSignalHandlers=False)
    return status[0]


if __name__ == "__main__":
    sys.exit(run())
