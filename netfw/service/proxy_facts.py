"""What a node's proxy.yaml says, as its report to the fleet carries it, so that the API of any node knows it. PURE.

Reports are written by other nodes, perhaps of another version: what is not of this form counts as not told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netfw.config.listener_ports import PermittedListeners
from netfw.control.operations.call import ProxyFacts
from netfw.store.resources import StoredListener


def plain_facts(facts: ProxyFacts) -> dict[str, Any]:
    """For JSON."""
    return {
        "hostname": facts.hostname,
        "listeners": [[one.port, one.type] for one in facts.listeners],
        "fixed": [list(one) for one in facts.permitted.fixed],
        "from_store": [[kind, [list(ports) for ports in ranges]] for kind, ranges in facts.permitted.choices],
        "tls_intercept": facts.tls_mode,
        "ca": facts.ca_arn,
    }


def facts_from_plain(plain: Mapping[str, Any]) -> ProxyFacts | None:
    """What `plain_facts` printed; None for what it cannot have."""
    try:
        return ProxyFacts(
            hostname=plain["hostname"],
            listeners=tuple(StoredListener(port, kind) for port, kind in plain["listeners"]),
            permitted=PermittedListeners(
                tuple((port, kind) for port, kind in plain["fixed"]),
                tuple((kind, tuple((first, last) for first, last in ranges)) for kind, ranges in plain["from_store"]),
            ),
            tls_mode=plain["tls_intercept"],
            ca_arn=plain["ca"],
        )
    except (KeyError, TypeError, ValueError):
        return None
