"""What `netfw check` says of the way out: parent proxies, pools, and rules that cannot be decided on it. PURE."""

from __future__ import annotations

from collections.abc import Iterator

from netfw.config.model import Configuration
from netfw.config.way_model import AskedBy
from netfw.policy.model import Phase, PolicyConfiguration

_ADDRESS = "request:DestinationIp"
_MOST_NAMED = 5


def way_facts(configuration: Configuration, policy: PolicyConfiguration) -> Iterator[tuple[str, str]]:
    """Rows of name and text; none where every exchange goes straight, from the system's own choice."""
    upstream, egress = configuration.upstream, configuration.egress
    for parent in upstream.proxies:
        scheme = "https" if parent.tls else "http"
        known = ", with credentials" if parent.credentials is not None else ""
        used = "" if any(parent.name in route.proxies for route in upstream.routes) else ", used by no route"
        yield f"parent proxy {parent.name}", f"{scheme}://{parent.host}:{parent.port}{known}{used}"
    for pool in egress.pools:
        yield f"egress pool {pool.name}", f"{', '.join(map(str, pool.addresses))} ({pool.choice.value})"
    undecided = _undecided(policy)
    if undecided and any(route.proxies and route.by is AskedBy.NAME for route in upstream.routes):
        shown = ", ".join(undecided[:_MOST_NAMED]) + (" ..." if len(undecided) > _MOST_NAMED else "")
        what = "ask for an address that only the parent proxy knows; where one could turn the outcome, it is a denial"
        yield "by name", f"{len(undecided)} rules {what}: {shown}"


def _undecided(policy: PolicyConfiguration) -> list[str]:
    return [
        f"{group.name}/{rule.name}"
        for phase in (Phase.PRE_REQUEST, Phase.POST_RESPONSE)
        for group, rule in policy.rules(phase)
        if any(condition.key == _ADDRESS for condition in rule.conditions)
    ]
