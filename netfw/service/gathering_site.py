"""The admin surface of a proxy with workers: the workers are asked before the answer is made.

In this room: when to ask. Not here: the answers (`admin.resource`), and who is asked (`workers.gathering`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger, LogLevel
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request

from netfw.telemetry.log import tell

_ASKED_FOR = (b"/metrics", b"/status", b"/pins")
_log = Logger()


class GatheringResource(Resource):
    """In front of the admin resource. `gather` fires when the workers have answered, or when that takes too long."""

    isLeaf = True

    def __init__(self, behind: IResource, gather: Callable[[], Deferred[Any]]) -> None:
        super().__init__()
        self._behind = behind
        self._gather = gather

    def render(self, request: Request) -> Any:
        """At once, or when the workers have answered."""
        if request.path not in _ASKED_FOR:
            return self._behind.render(request)
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)

        def answer(_: Any) -> None:
            if gone:
                return
            body = self._behind.render(request)
            if body is not NOT_DONE_YET:
                request.write(body)
                request.finish()

        self._gather().addCallback(answer).addErrback(
            lambda failure: tell(_log, "admin.failed", level=LogLevel.error, error=failure.getErrorMessage())
        )
        return NOT_DONE_YET
