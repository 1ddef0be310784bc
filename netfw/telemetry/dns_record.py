"""The record of one answer of the DNS, as a line of JSON. PURE.

Its members are those of other records where they mean the same (docs/records.md). Not here: asking (`transport`), and
where it goes (`record_outputs`).
"""

from __future__ import annotations

import json
from typing import Any

from netfw.telemetry.record_values import LIST_LIMIT, cut, peer_text
from netfw.transport.dns_heard import DnsHeard


def dns_record(heard: DnsHeard, *, proxy_name: str, now: float) -> bytes:
    """The line, its end included; `now` is when it was heard, in seconds since the epoch."""
    about: dict[str, Any] = {"type": heard.record_type, "source": "cache" if heard.cached else "dns"}
    about["resolver"] = heard.server
    if heard.code is not None:
        about["code"] = heard.code
    if heard.ttl is not None:
        about["ttl"] = heard.ttl
    about["chain"] = [peer_text(name) for name in heard.chain[:LIST_LIMIT]]
    about["addresses"] = [str(address) for address in heard.addresses[:LIST_LIMIT]]
    record: dict[str, Any] = {
        "event_timestamp": int(now),
        "proxy_name": proxy_name,
        "dest_domain": f"{heard.name}.",
        "kind": "dns",
        "started": round(now - heard.seconds, 3),
        "duration_ms": int(heard.seconds * 1000),
        "durations": {"dns": round(heard.seconds, 6)},
        "dns": about,
    }
    if heard.error is not None:
        token = "dns_timeout" if heard.timed_out else "dns_error"
        record["error"] = {"token": token, "message": cut(heard.error)}
    return json.dumps(record, separators=(",", ":")).encode("ascii") + b"\n"
