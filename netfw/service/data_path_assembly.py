"""The wiring of what serves: the same in one process and in a worker. Everything is passed by name.

Not here: where policies and leaves come from (`assembly`, `worker_assembly`), which is all that differs.
"""

from __future__ import annotations

import time
from typing import Any

from netfw.config.model import Configuration
from netfw.http1.limits import HeadLimits
from netfw.proxy.admission import Admission
from netfw.proxy.consistency import Consistency
from netfw.proxy.data_plane import DataPlane
from netfw.proxy.destination_list import DestinationList
from netfw.proxy.destinations import Destinations
from netfw.proxy.guard import DestinationGuard
from netfw.proxy.interception_scope import InterceptionScope
from netfw.proxy.listener import ProxyFactory
from netfw.proxy.live import LiveConnections
from netfw.proxy.own_pages import OwnPages
from netfw.proxy.rates import Rates
from netfw.proxy.recording import Recording
from netfw.proxy.refusals import Refusals
from netfw.proxy.responses import Explainer
from netfw.proxy.upstream_pool import UpstreamPool
from netfw.service.data_path import DataPath
from netfw.telemetry.metrics import Metrics
from netfw.telemetry.record_log import RecordLog
from netfw.tls.contexts import listener_context
from netfw.tls.interception import InterceptionContexts
from netfw.tls.origin_profiles import OriginProfiles
from netfw.tls.upstream import UpstreamTls
from netfw.transport.deadlines import Deadlines
from netfw.transport.dialer import Dialer
from netfw.transport.dns_cache import DnsCache
from netfw.transport.hosts_file import HostsFile
from netfw.transport.resolv_conf import read_resolv_conf
from netfw.transport.resolver import DnsResolver

_UPSTREAM_IDLE = 60.0
"""Idle origin connections are kept as long as most origins keep theirs (nginx: 75 s, Apache: 5 s)."""


def build_data_path(
    configuration: Configuration,
    reactor: Any,
    *,
    deadlines: Deadlines,
    policies: Any,
    issuer: Any,
    ca_certificate: bytes | None,
) -> DataPath:
    """What serves, not yet bound. `policies` is an `IPolicySource`; `issuer` an `ICertificateIssuer`, None where
    nothing is intercepted. Raises what the configuration's files are refused with.
    """
    limits, timeouts = configuration.limits, configuration.timeouts
    metrics = Metrics()
    records = RecordLog(configuration.log.path)
    metrics.watch_record_log("file" if configuration.log.path else "stdout", records)
    plane = DataPlane(
        configuration=configuration,
        reactor=reactor,
        deadlines=deadlines,
        now=time.time,
        monotonic=time.monotonic,
        policies=policies,
        resolver=_resolver(configuration, reactor, deadlines),
        dialer=Dialer(
            reactor,
            deadlines,
            connect_timeout=timeouts.connect,
            source_addresses=configuration.egress.source_addresses,
        ),
        guard=DestinationGuard(configuration.guard),
        admission=Admission(limits, Rates(limits.connection_rate, time.monotonic) if limits.connection_rate else None),
        scope=InterceptionScope(configuration.tls_intercept),
        consistency=Consistency(
            configuration.consistency,
            metrics.tally("netfw_name_disagreements", "Names that disagree.", ("check", "verdict")),
        ),
        opaque=DestinationList(configuration.tunnels.hosts, everything=configuration.tunnels.opaque),
        interception=InterceptionContexts(issuer, limits.leaf_cache) if issuer is not None else None,
        upstream_tls=UpstreamTls(OriginProfiles(configuration.upstream)),
        pool=UpstreamPool(capacity=limits.idle_upstream_connections, idle_seconds=min(_UPSTREAM_IDLE, timeouts.idle)),
        recording=Recording(records, metrics, time.time),
        refusals=Refusals(
            records, policies=policies, proxy_name=configuration.proxy.name, deadlines=deadlines, now=time.time
        ),
        live=LiveConnections(),
        own_pages=OwnPages(
            proxy_name=configuration.proxy.name,
            hostname=configuration.proxy.hostname,
            ca_certificate=lambda: ca_certificate,
        ),
        explainer=Explainer(
            style=configuration.deny.style,
            help_url=configuration.deny.help_url,
            pseudonym=configuration.proxy.name,
            now=time.time,
        ),
        head_limits=HeadLimits(
            head_size=limits.head_size,
            head_fields=limits.head_fields,
            chunk_line=limits.chunk_line,
            trailer_size=limits.trailer_size,
        ),
        via=configuration.proxy.name.encode("ascii"),
        destinations=Destinations(limits.connections_per_destination),
        request_rates=Rates(limits.request_rate, time.monotonic) if limits.request_rate else None,
    )
    listeners = []
    for section in configuration.listeners:
        context = None
        if section.certificate is not None and section.private_key is not None:
            context = listener_context(section.certificate, section.private_key)
        listeners.append((section, ProxyFactory(plane, section, context)))
    metrics.watch("netfw_open_connections", "Client connections that are open.", lambda: plane.admission.open)
    metrics.watch("netfw_upstream_idle_connections", "Idle connections to origins.", lambda: len(plane.pool))
    admin = configuration.admin
    if admin.address is not None and admin.port is not None:
        plane.guard.add_own(admin.address, admin.port)
    return DataPath(plane=plane, listeners=listeners, records=records)


def _resolver(configuration: Configuration, reactor: Any, deadlines: Deadlines) -> DnsResolver:
    dns = configuration.dns
    return DnsResolver(
        reactor,
        deadlines,
        servers=dns.resolvers or read_resolv_conf().servers,
        hosts=HostsFile(dns.hosts_file) if dns.hosts_file is not None else None,
        timeout=dns.timeout,
        resolve_timeout=configuration.timeouts.resolve,
        cache=DnsCache(configuration.limits.dns_cache),
    )
