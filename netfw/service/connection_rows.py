"""Who is connected right now, as rows for people: tunnels, requests under way, and connections that wait for one.

Not here: where they are kept (`proxy.live`), and who asks (`manhole_operations`).
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from netfw.proxy.exchange import Exchange
from netfw.proxy.live import LiveConnections


def connection_rows(live: LiveConnections, now: float, most: int) -> list[dict[str, Any]]:
    """Tunnels first; no more than `most` rows."""
    rows = [_row("tunnel", joined.exchange, now) for joined in islice(live.relays, most)]
    for connection in islice(live.connections, max(most - len(rows), 0)):
        if connection.exchange is not None:
            rows.append(_row("request", connection.exchange, now))
        else:
            caller = connection.caller
            rows.append(_cells("idle", f"{caller.address_text}:{caller.port}", caller.listener_name))
    return rows


def _row(kind: str, exchange: Exchange, now: float) -> dict[str, Any]:
    caller = exchange.caller
    return _cells(
        kind,
        f"{caller.address_text}:{caller.port}",
        caller.listener_name,
        to=str(exchange.authority) if exchange.authority is not None else None,
        seconds=int(now - exchange.started),
        exchange=exchange.id,
    )


def _cells(
    kind: str,
    client: str,
    listener: str,
    *,
    to: str | None = None,
    seconds: int | None = None,
    exchange: str | None = None,
) -> dict[str, Any]:
    return {"kind": kind, "client": client, "listener": listener, "to": to, "seconds": seconds, "id": exchange}
