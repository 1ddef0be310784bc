"""The wiring of what serves: the same in one process and in a worker. Everything is passed by name.

Not here: where policies and leaves come from (`assembly`, `worker_assembly`), which is all that differs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from netfw.config.model import Configuration
from netfw.proxy.admission import Admission
from netfw.proxy.consistency import Consistency
from netfw.proxy.credentials import Credentials
from netfw.proxy.data_plane import DataPlane
from netfw.proxy.destination_list import DestinationList
from netfw.proxy.destinations import Destinations
from netfw.proxy.guard import DestinationGuard
from netfw.proxy.leaf_refusals import LeafRefusals
from netfw.proxy.listener import ProxyFactory
from netfw.proxy.live import LiveConnections
from netfw.proxy.own_pages import OwnPages
from netfw.proxy.recording import Recording
from netfw.proxy.refusals import Refusals
from netfw.proxy.upstream_pool import UpstreamPool
from netfw.service import replaceable
from netfw.service.data_path import DataPath
from netfw.service.descriptors import fitted
from netfw.service.record_assembly import build_outputs
from netfw.telemetry.metrics import Metrics
from netfw.telemetry.pins import Pins
from netfw.telemetry.record_values import mask_also
from netfw.tls.interception import HostIdentities
from netfw.tls.upstream import UpstreamTls
from netfw.transport.deadlines import Deadlines
from netfw.transport.descriptor_set import descriptor_set
from netfw.transport.turns import Turns


def build_data_path(
    configuration: Configuration,
    reactor: Any,
    *,
    deadlines: Deadlines,
    policies: Any,
    issuer: Any,
    credentials: Credentials,
    ports: Sequence[Sequence[int]],
) -> DataPath:
    """What serves, not yet bound. `ports`: of each listener, those to begin with. `policies` is an `IPolicySource`;
    `issuer` an `ICertificateIssuer`, None where nothing is intercepted. Raises what the configuration's files are
    refused with.
    """
    configuration = fitted(configuration)
    limits = configuration.limits
    mask_also(configuration.log.mask)
    metrics = Metrics()
    records = build_outputs(
        configuration.log, metrics, credentials.records, reactor=reactor, workers=configuration.workers
    )
    descriptors = descriptor_set(reactor)
    plane = DataPlane(
        configuration=configuration,
        reactor=reactor,
        descriptors=descriptors,
        deadlines=deadlines,
        now=time.time,
        monotonic=time.monotonic,
        policies=policies,
        resolver=replaceable.resolver(configuration, reactor, deadlines, records),
        dialer=replaceable.dialer(configuration, descriptors, deadlines),
        guard=DestinationGuard(configuration.guard),
        admission=Admission(limits, replaceable.rates(limits.connection_rate)),
        scope=replaceable.scope(configuration),
        consistency=Consistency(
            configuration.consistency,
            metrics.tally("netfw_name_disagreements_total"),
        ),
        opaque=DestinationList(configuration.tunnels.hosts, everything=configuration.tunnels.opaque),
        leaf_refusals=LeafRefusals(Pins(), metrics.tally("netfw_leaf_refusals_total"), time.time),
        interception=(
            HostIdentities(issuer, limits.leaf_cache, turns=Turns(reactor)) if issuer is not None else None
        ),
        upstream_tls=UpstreamTls(credentials.profiles),
        pool=UpstreamPool(
            capacity=limits.idle_upstream_connections, idle_seconds=replaceable.upstream_idle_seconds(configuration)
        ),
        recording=Recording(records, metrics, time.time),
        refusals=Refusals(
            records, policies=policies, proxy_name=configuration.proxy.name, deadlines=deadlines, now=time.time
        ),
        live=LiveConnections(),
        own_pages=OwnPages(
            proxy_name=configuration.proxy.name,
            hostname=configuration.proxy.hostname,
            ca_certificate=lambda: path.credentials.ca_certificate,
            ca_crl=lambda: path.credentials.ca_crl,
            pac_direct=configuration.proxy.pac_direct,
        ),
        explainer=replaceable.explainer(configuration),
        head_limits=replaceable.head_limits(configuration),
        via=configuration.proxy.name.encode("ascii"),
        destinations=Destinations(limits.connections_per_destination),
        request_rates=replaceable.rates(limits.request_rate),
        ways=replaceable.ways(configuration, credentials, metrics),
    )
    factories = [
        ProxyFactory(plane, section, context)
        for section, context in zip(configuration.listeners, credentials.listeners, strict=True)
    ]
    for factory, users in zip(factories, credentials.users, strict=True):
        factory.gate = replaceable.gate(factory.listener, users, reactor)
    metrics.watch_each("netfw_client_connections_opened_total", lambda: plane.admission.opened)
    metrics.watch_each("netfw_client_connections", plane.admission.open_by_listener)
    if plane.interception is not None:
        contexts = plane.interception
        metrics.watch("netfw_leaf_cache_hits_total", lambda: contexts.found)
        metrics.watch("netfw_leaf_cache_misses_total", lambda: contexts.made)
    metrics.watch("netfw_open_connections", lambda: plane.admission.open)
    metrics.watch("netfw_connections_limit", lambda: plane.admission.limits.connections)
    metrics.watch("netfw_upstream_idle_connections", lambda: len(plane.pool))
    metrics.watch_each("netfw_parent_up", lambda: plane.ways.up() if plane.ways is not None else {})
    admin = configuration.admin
    if admin.address is not None and admin.port is not None:
        plane.guard.add_own(admin.address, admin.port)
    manhole = configuration.manhole
    if manhole is not None and manhole.address is not None and manhole.port is not None:
        plane.guard.add_own(manhole.address, manhole.port)
    path = DataPath(plane=plane, factories=factories, ports=ports, records=records, credentials=credentials)
    return path
