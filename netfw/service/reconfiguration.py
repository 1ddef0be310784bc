"""Other settings for a data path that serves: what differs is built first, and then put in its place at once.

Connections and exchanges that are under way keep the deadlines and readers that they began with; what they ask for
next is decided by the new settings. A client that may not come in any more stays until it leaves.

Not here: which settings can be taken over at all (`config.changes`), and when that happens (`reloading`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netfw.config.model import Configuration
from netfw.proxy.credentials import Credentials
from netfw.proxy.destination_list import DestinationList
from netfw.proxy.guard import DestinationGuard
from netfw.service import replaceable
from netfw.service.data_path import DataPath
from netfw.service.descriptors import fitted
from netfw.service.output_changes import prepare_outputs
from netfw.telemetry.record_values import mask_also


def prepare(path: DataPath, wanted: Configuration, credentials: Credentials) -> Callable[[], None]:
    """Build what these settings need. The function that is returned puts them in force, and cannot fail.

    Raises what a file is refused with.
    """
    plane = path.plane
    old, new = plane.configuration, fitted(wanted)
    parts = _parts(path, old, new)
    change_outputs = prepare_outputs(path.records, old.log, new.log, plane.reactor)
    if _leaves_otherwise(path, old, new, credentials):
        parts["ways"] = replaceable.ways(new, credentials, plane.recording.metrics, plane.ways)

    def commit() -> None:
        former = plane.ways
        for name, part in parts.items():
            setattr(plane, name, part)
        if "ways" in parts:
            path.go_other_ways(former)
        admission, limits = plane.admission, new.limits
        if limits.connection_rate != old.limits.connection_rate:
            admission.rates = replaceable.rates(limits.connection_rate)
        admission.limits = limits
        admission.forget_clients()
        mask_also(new.log.mask)
        plane.destinations.limit = limits.connections_per_destination
        plane.pool.resize(
            capacity=limits.idle_upstream_connections, idle_seconds=replaceable.upstream_idle_seconds(new)
        )
        for position, factory in path.every_factory():
            factory.reconfigure(new.listeners[position], factory.context)
        path.renew(credentials)
        change_outputs(credentials.records)

    return commit


def _leaves_otherwise(path: DataPath, old: Configuration, new: Configuration, credentials: Credentials) -> bool:
    """Whether parent proxies, routes, pools or what parents are asked with differ."""

    def ways(configuration: Configuration) -> tuple[Any, ...]:
        upstream = configuration.upstream
        return upstream.proxies, upstream.routes, upstream.health, configuration.egress.pools

    return ways(old) != ways(new) or path.credentials.marks.get("parents") != credentials.marks.get("parents")


def _parts(path: DataPath, old: Configuration, new: Configuration) -> dict[str, Any]:
    """The members of the data plane that differ."""
    plane = path.plane
    parts: dict[str, Any] = {"configuration": new}
    slower = new.timeouts != old.timeouts
    if new.dns != old.dns or slower or new.limits.dns_cache != old.limits.dns_cache:
        parts["resolver"] = replaceable.resolver(new, plane.reactor, plane.deadlines, path.records)
    if new.egress != old.egress or slower:
        parts["dialer"] = replaceable.dialer(new, plane.descriptors, plane.deadlines)
    if new.guard != old.guard:
        parts["guard"] = DestinationGuard(new.guard, plane.guard.own)
    if new.tls_intercept != old.tls_intercept:
        parts["scope"] = plane.scope.under(new.tls_intercept)
    if new.tunnels != old.tunnels:
        parts["opaque"] = DestinationList(new.tunnels.hosts, everything=new.tunnels.opaque)
    if new.consistency != old.consistency:
        parts["consistency"] = plane.consistency.under(new.consistency)
    if new.deny != old.deny:
        parts["explainer"] = replaceable.explainer(new)
    if new.limits != old.limits:
        parts["head_limits"] = replaceable.head_limits(new)
        if new.limits.request_rate != old.limits.request_rate:
            parts["request_rates"] = replaceable.rates(new.limits.request_rate)
    return parts
