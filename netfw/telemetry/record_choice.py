"""Which records are asked for: by what came of them, by client, destination, rule and time. PURE.

What is not said is not asked about; all that is said must hold. Not here: reading them (`record_reading`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from netfw.telemetry.record_shape import types_of

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Choice:
    """`types`: at least one of them (`record_shape.TYPES`), empty for all. `networks` and `identities`: one of them is
    the client's.

    `host`: the destination's name, or with a leading dot that and all below it. `rule`: `GROUP/RULE`, a rule or a group
    alone, or the word of an error, as in `dns_error`. `since` and `until`: seconds since the epoch.
    """

    types: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()
    identities: frozenset[str] = frozenset()
    host: str | None = None
    rule: str | None = None
    since: float | None = None
    until: float | None = None

    def takes(self, record: Mapping[str, Any]) -> bool:
        """Whether this record is asked for."""
        return (
            (not self.types or not self.types.isdisjoint(types_of(record)))
            and self._is_in_time(record)
            and ((not self.networks and not self.identities) or self._is_client(record))
            and (self.host is None or self._is_host(record))
            and (self.rule is None or self._is_rule(record))
        )

    def _is_in_time(self, record: Mapping[str, Any]) -> bool:
        if self.since is None and self.until is None:
            return True
        ended = record.get("event_timestamp")
        if not isinstance(ended, int | float):
            return False
        return (self.since is None or ended >= self.since) and (self.until is None or ended <= self.until)

    def _is_client(self, record: Mapping[str, Any]) -> bool:
        if record.get("client_identity") in self.identities:
            return True
        try:
            address = ip_address(str(record.get("client_src_ip")))
        except ValueError:
            return False
        return any(address in network for network in self.networks)

    def _is_host(self, record: Mapping[str, Any]) -> bool:
        assert self.host is not None
        found = str(record.get("dest_domain") or record.get("dest_ip") or "").rstrip(".").lower()
        wanted = self.host.rstrip(".").lower()
        if wanted.startswith("."):
            return found == wanted[1:] or found.endswith(wanted)
        return found == wanted

    def _is_rule(self, record: Mapping[str, Any]) -> bool:
        rule, group = record.get("final_rule_name"), record.get("final_rule_group_name")
        error = record.get("error")
        token = error.get("token") if isinstance(error, Mapping) else None
        return self.rule in (rule, group, f"{group}/{rule}", token)
