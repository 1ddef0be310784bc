"""Who refused our leaf, for which host: clients that pin, and clients that lack the CA. PURE.

In this room: the counts by host and client, bounded, and adding up those of several processes. Not here: noticing a
refusal (`proxy`), and what to do about it (`cli.pins`).

A refusal is an alert of the client's about our certificate, our own for a client that offers HTTP/2 only, or, as the
weakest sign, a connection that is closed right after the leaf was shown and before anything was asked.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

REFUSALS = frozenset({
    "unknown_ca", "certificate_unknown", "bad_certificate", "unsupported_certificate", "certificate_expired",
    "certificate_revoked",
})  # fmt: skip
"""Alerts by which a client says that it does not take our certificate (RFC 8446, section 6.2)."""
NO_APPLICATION_PROTOCOL = "no_application_protocol"
CLOSED = "closed"
SIGNS = REFUSALS | {NO_APPLICATION_PROTOCOL, CLOSED}

CLIENT_TLS_ALERT = "client_tls_alert"
CLOSED_AFTER_LEAF = "closed_after_leaf"
_SIGN_OF = {NO_APPLICATION_PROTOCOL: NO_APPLICATION_PROTOCOL, CLOSED_AFTER_LEAF: CLOSED}
"""`close_reason` of records."""

HOSTS = 200
CLIENTS_A_HOST = 20
Row = dict[str, Any]


class Pins:
    """At most `HOSTS` hosts, those that were seen last, and of each at most `CLIENTS_A_HOST` clients."""

    def __init__(self) -> None:
        self._hosts: OrderedDict[str, OrderedDict[str, Row]] = OrderedDict()

    def note(self, host: str, client: str, sign: str, now: float) -> None:
        """Count one refusal. `sign` is one of `SIGNS`; anything else is no refusal of a certificate."""
        if sign in SIGNS:
            self._add(host, client, {sign: 1}, now, now)

    def _add(self, host: str, client: str, signs: dict[str, int], first: float, last: float) -> None:
        clients = self._hosts.get(host)
        if clients is None:
            while len(self._hosts) >= HOSTS:
                self._hosts.popitem(last=False)
            clients = self._hosts[host] = OrderedDict()
        self._hosts.move_to_end(host)
        row = clients.get(client)
        if row is None:
            while len(clients) >= CLIENTS_A_HOST:
                clients.popitem(last=False)
            row = clients[client] = {"host": host, "client": client, "signs": {}, "first": first, "last": last}
        clients.move_to_end(client)
        for sign, count in signs.items():
            row["signs"][sign] = row["signs"].get(sign, 0) + count
        row["first"] = min(row["first"], first)
        row["last"] = max(row["last"], last)

    def rows(self) -> list[Row]:
        """One for each host and client, as JSON can say it; those seen last come last."""
        return [{**row, "signs": dict(row["signs"])} for clients in self._hosts.values() for row in clients.values()]

    def add_rows(self, rows: Any) -> None:
        """Add what another process has counted. Raises ValueError: nothing of it is believed unread."""
        for row in _read(rows):
            self._add(row["host"], row["client"], row["signs"], row["first"], row["last"])


def _read(rows: Any) -> Iterable[Row]:
    try:
        for row in rows:
            if row.keys() != {"host", "client", "signs", "first", "last"}:
                raise ValueError("a row of refusals has other members")
            if not all(type(row[name]) is str for name in ("host", "client")):
                raise ValueError("hosts and clients are text")
            if not all(type(row[name]) in (int, float) for name in ("first", "last")):
                raise ValueError("times are numbers")
            if not all(sign in SIGNS and type(count) is int and count > 0 for sign, count in row["signs"].items()):
                raise ValueError("refusals are counted by known signs")
            yield row
    except (AttributeError, TypeError) as error:
        raise ValueError("these are no rows of refusals") from error


def noted_in_record(record: Any) -> tuple[str, str, str, float] | None:
    """The refusal that a record tells of, as `note` takes it; None where it tells of none."""
    if not isinstance(record, dict):
        return None
    host, client, when = record.get("dest_domain"), record.get("client_src_ip"), record.get("event_timestamp")
    reason = record.get("close_reason")
    error = record.get("error")
    sign = _SIGN_OF.get(reason) if isinstance(reason, str) else None
    if reason == CLIENT_TLS_ALERT and isinstance(error, dict):
        sign = error.get("detail")
    if sign not in SIGNS or not isinstance(host, str) or not isinstance(client, str) or type(when) not in (int, float):
        return None
    return host.rstrip("."), client, str(sign), float(when)  # type: ignore[arg-type]  # a number, as was just seen
