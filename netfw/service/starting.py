"""The whole proxy as one service, whose start fails in a line where the machine does not let it have what it needs.

In this room: what is said then. The configuration itself has been checked before (`options`): what is left are
addresses that somebody else has, and files that this user may not open.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from twisted.application.service import IService, MultiService
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

_log = Logger()
_WHAT_TO_DO = {
    errno.EADDRINUSE: "another process has it: ss -ltnp or ss -lxp shows which",
    errno.EADDRNOTAVAIL: "this machine has no such address: ip address lists those it has",
    errno.EACCES: "this user may not: the directory's owner and mode, or CAP_NET_BIND_SERVICE for a port below 1024",
    errno.ENOENT: "its directory does not exist",
}


class Starting(MultiService):
    """`proxy` is everything. A start that the machine refuses is one line in the log and exit status 1."""

    def __init__(self, proxy: IService) -> None:
        super().__init__()
        proxy.setServiceParent(self)

    def privilegedStartService(self) -> None:
        """Bind while privileges are there."""
        with _in_a_line():
            super().privilegedStartService()

    def startService(self) -> None:
        """Begin to serve."""
        with _in_a_line():
            super().startService()


@contextmanager
def _in_a_line() -> Iterator[None]:
    try:
        yield
    except (OSError, CannotListenError) as error:
        _log.critical("cannot start: {reason}", reason=reason(error))
        raise SystemExit(1) from None


def reason(error: OSError | CannotListenError) -> str:
    """What was refused, why, and what to do about it."""
    place = ""
    problem: BaseException = error
    if isinstance(error, CannotListenError):
        place = f"{error.interface} port {error.port}" if error.interface else str(error.port)
        problem = error.socketError
    if not isinstance(problem, OSError):
        return f"{place}: {problem}"
    said = (problem.strerror or str(problem)).lower()
    place = place or str(problem.filename or "")
    hint = _WHAT_TO_DO.get(problem.errno or 0)
    return (f"{place}: " if place else "") + said + (f"; {hint}" if hint else "")
