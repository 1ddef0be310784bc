"""Connections that came to no request: each has a record, or is counted in one.

A connection that is refused costs its sender next to nothing, and must not cost a line each: whoever may not come in
would fill the disk. The first one of a client, for a reason, is written at once. More of the same within `WINDOW`
seconds are counted, and told at its end by one record with their `count`; so are, without an address, those of clients
beyond `CLIENTS`. So a flood writes `2 * CLIENTS` lines a window and one for each listener and reason, and the counts (1
where a record has none) add up to all that came.

Not here: why a connection is refused (`admission`, `listener`, `sender`), and what was read as HTTP and is none: that
is answered, and has a record of its own each time (`client_connection`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from netfw.errors import NetfwError
from netfw.proxy.exchange import Caller, Exchange
from netfw.telemetry.exchange_record import build_record

if TYPE_CHECKING:
    from netfw.interfaces import IPolicySource, IRecordSink
    from netfw.transport.deadlines import Deadline, Deadlines

_log = Logger()

WINDOW = 60.0
CLIENTS = 64
_OF_A_CLIENT = ("client_src_ip", "client_src_port", "src_vpc", "src_vpce", "vpce_account_id", "client_identity")

# Why (the error's kind and words), and who: the client's address, or None for all beyond `CLIENTS`.
_Key = tuple[str, str, str, object]


@dataclass(slots=True)
class _More:
    """Those of one kind since the one that was written."""

    caller: Caller
    error: NetfwError
    status: int | None
    since: float
    until: float
    count: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


class Refusals:
    """`record` takes one connection; `close` tells what is still counted."""

    def __init__(
        self,
        sink: IRecordSink,
        *,
        policies: IPolicySource,
        proxy_name: str,
        deadlines: Deadlines,
        now: Callable[[], float],
        window: float = WINDOW,
        clients: int = CLIENTS,
    ) -> None:
        self._sink = sink
        self._policies = policies
        self._proxy_name = proxy_name
        self._deadlines = deadlines
        self._now = now
        self._window = window
        self._clients = clients
        self._counted: dict[_Key, _More] = {}
        self._known = 0
        self._deadline: Deadline | None = None

    def record(
        self,
        caller: Caller,
        error: NetfwError,
        *,
        answered: bool = False,
        bytes_in: int = 0,
        bytes_out: int = 0,
    ) -> None:
        """This connection is over before a request. `answered`: the error's status was sent."""
        now = self._now()
        status = error.status if answered else None
        why = (caller.listener_name, type(error).__name__, error.message)
        key: _Key = (*why, caller.address)
        more = self._counted.get(key)
        if more is None:
            is_new = self._known < self._clients
            if is_new:
                self._known += 1
            else:
                key = (*why, None)
            more = self._counted.get(key)
            if more is None:
                more = self._counted[key] = _More(caller, error, status, now, now)
            if self._deadline is None:
                self._deadline = self._deadlines.start(self._window, self._tell)
            if is_new:
                self._write(self._exchange(caller, error, status, now, now, bytes_in, bytes_out), {})
                return
        if not more.count:
            more.since = now
        more.until = now
        more.count += 1
        more.bytes_in += bytes_in
        more.bytes_out += bytes_out

    def close(self) -> None:
        """Nothing more comes."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._tell()

    def _tell(self) -> None:
        """The window is over."""
        self._deadline = None
        self._known = 0
        counted, self._counted = self._counted, {}
        for (*_, address), more in counted.items():
            if more.count:
                exchange = self._exchange(
                    more.caller, more.error, more.status, more.since, more.until, more.bytes_in, more.bytes_out
                )
                self._write(exchange, {"count": more.count}, of_one_client=address is not None)

    def _exchange(
        self,
        caller: Caller,
        error: NetfwError,
        status: int | None,
        started: float,
        finished: float,
        bytes_in: int,
        bytes_out: int,
    ) -> Exchange:
        exchange = Exchange(
            kind="connection",
            caller=caller,
            policy=self._policies.current,
            proxy_name=self._proxy_name,
            started=started,
        )
        exchange.finished = finished
        exchange.error = error
        exchange.status = status
        exchange.bytes_in = bytes_in
        exchange.bytes_out = bytes_out
        exchange.close_reason = error.token
        return exchange

    def _write(self, exchange: Exchange, count: dict[str, Any], *, of_one_client: bool = True) -> None:
        try:
            members = build_record(exchange) | count
            if count:
                members.pop("client_src_port", None)
            if not of_one_client:
                for name in _OF_A_CLIENT:
                    members.pop(name, None)
            self._sink.write(json.dumps(members, separators=(",", ":")).encode("ascii") + b"\n")
        except Exception:
            _log.failure("the record of refused connections could not be made")
