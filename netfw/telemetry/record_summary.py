"""Records counted: what came of them, why, who asked, where to, and how much went through. PURE."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from netfw.telemetry.record_shape import TYPES, types_of

ROWS = 10


class Summary:
    """Counts what is added. A record that stands for several connections (`count`) counts so many times."""

    def __init__(self) -> None:
        self.records = 0
        self.first: float | None = None
        self.last: float | None = None
        self.bytes_in = 0
        self.bytes_out = 0
        self._types: Counter[str] = Counter()
        self._clients: Counter[str] = Counter()
        self._hosts: Counter[str] = Counter()
        self._denied_hosts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()

    def add(self, records: Iterable[Mapping[str, Any]]) -> Summary:
        """Count these; returns itself."""
        for record in records:
            self._add(record)
        return self

    def _add(self, record: Mapping[str, Any]) -> None:
        times = _number(record.get("count")) or 1
        self.records += times
        ended = record.get("event_timestamp")
        if isinstance(ended, int | float):
            self.first = ended if self.first is None else min(self.first, ended)
            self.last = ended if self.last is None else max(self.last, ended)
        self.bytes_in += _number(record.get("bytes_in"))
        self.bytes_out += _number(record.get("bytes_out"))
        types = types_of(record)
        self._types.update(dict.fromkeys(types, times))
        if "dns" in types:
            return  # no exchange of anybody's
        client = record.get("client_identity") or record.get("client_src_ip")
        if client:
            self._clients[str(client)] += times
        host = str(record.get("dest_domain") or record.get("dest_ip") or "").rstrip(".")
        if host:
            self._hosts[host] += times
        error = record.get("error")
        token = error.get("token") if isinstance(error, Mapping) else None
        if "deny" in types:
            self._denied_hosts[host or "-"] += times
            rule, group = record.get("final_rule_name"), record.get("final_rule_group_name")
            self._reasons[(f"{group}/{rule}" if group else str(rule)) if rule else str(token or "-")] += times
        elif token is not None:
            self._failures[str(token)] += times

    def as_data(self) -> dict[str, Any]:
        """For programs; the longest of each list first."""
        return {
            "records": self.records,
            "first": self.first,
            "last": self.last,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "types": {name: self._types[name] for name in TYPES if self._types[name]},
            "clients": _rows(self._clients, "client"),
            "destinations": _rows(self._hosts, "destination"),
            "denied_destinations": _rows(self._denied_hosts, "destination"),
            "denied_by": _rows(self._reasons, "rule"),
            "failures": _rows(self._failures, "error"),
        }


def _rows(counted: Counter[str], name: str) -> list[dict[str, Any]]:
    ordered = sorted(counted.items(), key=lambda entry: (-entry[1], entry[0]))
    return [{name: key, "exchanges": number} for key, number in ordered[:ROWS]]


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
