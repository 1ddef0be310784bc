"""The only wiring: from a checked configuration to a service. Everything is passed by name; nothing looks others up."""

from __future__ import annotations

import time
from typing import Any

from twisted.application.service import IService

from netfw.admin.server import AdminSite, admin_services
from netfw.admin.status import ProcessStatus
from netfw.config.model import Configuration
from netfw.config.policy_files import read_policy
from netfw.config.preflight import read_authority
from netfw.http1.limits import HeadLimits
from netfw.proxy.admission import Admission
from netfw.proxy.data_plane import DataPlane
from netfw.proxy.guard import DestinationGuard
from netfw.proxy.interception_scope import InterceptionScope
from netfw.proxy.listener import ProxyFactory
from netfw.proxy.live import LiveConnections
from netfw.proxy.own_pages import OwnPages
from netfw.proxy.recording import Recording
from netfw.proxy.responses import Explainer
from netfw.proxy.upstream_pool import UpstreamPool
from netfw.service.policy_source import FilePolicySource
from netfw.service.proxy_service import ProxyService
from netfw.telemetry.metrics import Metrics
from netfw.telemetry.record_log import RecordLog
from netfw.tls.contexts import listener_context, upstream_context
from netfw.tls.interception import InterceptionContexts
from netfw.tls.issuer import LocalIssuer
from netfw.tls.upstream import UpstreamTls
from netfw.transport.deadlines import Deadlines
from netfw.transport.dialer import Dialer
from netfw.transport.dns_cache import DnsCache
from netfw.transport.hosts_file import HostsFile
from netfw.transport.resolv_conf import read_resolv_conf
from netfw.transport.resolver import DnsResolver
from netfw.x509.reading import not_after

_UPSTREAM_IDLE = 60.0
"""Idle origin connections are kept as long as most origins keep theirs (nginx: 75 s, Apache: 5 s)."""


def assemble(configuration: Configuration, reactor: Any) -> IService:
    """The whole proxy, not yet started. Raises what the configuration's files are refused with."""
    limits, timeouts = configuration.limits, configuration.timeouts
    deadlines = Deadlines(reactor)
    metrics = Metrics()
    records = RecordLog(configuration.log.path)
    metrics.watch_record_log("file" if configuration.log.path else "stdout", records)
    policies = FilePolicySource(configuration.policy, read_policy(configuration.policy), reactor, time.time)
    status = ProcessStatus(name=configuration.proxy.name, now=time.time)

    interception = None
    ca_pem: bytes | None = None
    ca_not_after: float | None = None
    if configuration.tls_intercept.enabled:
        authority = read_authority(configuration, time.time())
        issuer = LocalIssuer(authority, capacity=limits.leaf_cache)
        interception = InterceptionContexts(issuer, limits.leaf_cache)
        assert configuration.tls_intercept.ca_certificate is not None
        ca_pem = configuration.tls_intercept.ca_certificate.read_bytes()
        ca_not_after = not_after(authority.certificate).timestamp()

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
        admission=Admission(limits),
        scope=InterceptionScope(configuration.tls_intercept),
        interception=interception,
        upstream_tls=UpstreamTls(upstream_context(configuration.upstream.trust)),
        pool=UpstreamPool(capacity=limits.idle_upstream_connections, idle_seconds=min(_UPSTREAM_IDLE, timeouts.idle)),
        recording=Recording(records, metrics, time.time),
        live=LiveConnections(),
        own_pages=OwnPages(
            proxy_name=configuration.proxy.name,
            hostname=configuration.proxy.hostname,
            ca_certificate=lambda: ca_pem,
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
    )
    listeners = []
    for section in configuration.listeners:
        context = None
        if section.certificate is not None and section.private_key is not None:
            context = listener_context(section.certificate, section.private_key)
        listeners.append((section, ProxyFactory(plane, section, context)))
    service = ProxyService(plane=plane, listeners=listeners, policies=policies, records=records, status=status)
    _describe(status, service, policies, records, ca_not_after)
    metrics.watch("netfw_open_connections", "Client connections that are open.", lambda: plane.admission.open)
    metrics.watch("netfw_upstream_idle_connections", "Idle connections to origins.", lambda: len(plane.pool))
    metrics.watch("netfw_policy_generation", "The policy generation in force.", lambda: policies.current.generation)
    metrics.watch("netfw_ca_not_after_timestamp_seconds", "When the interception CA ends.", lambda: ca_not_after)
    admin = configuration.admin
    if admin.address is not None and admin.port is not None:
        plane.guard.add_own(admin.address, admin.port)
    site = AdminSite(status, service.reload, metrics, reactor=reactor)
    for child in admin_services(admin, site, reactor):
        child.setServiceParent(service)
    return service


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


def _describe(
    status: ProcessStatus,
    service: ProxyService,
    policies: FilePolicySource,
    records: RecordLog,
    ca_not_after: float | None,
) -> None:
    """What `/status` shows, each asked when somebody looks."""
    plane = service.plane
    status.part("generation", lambda: policies.current.generation)
    status.part("policy", lambda: policies.current.configuration.name)
    status.part("policy_loaded_at", lambda: int(policies.loaded_at))
    status.part(
        "listeners",
        lambda: [
            {
                "name": bound.section.name,
                "type": bound.section.type.value,
                "address": str(bound.section.address),
                "port": bound.socket.port if bound.socket is not None else None,
            }
            for bound in service.listeners
        ],
    )
    status.part("tls_intercept", lambda: "ENABLED" if plane.scope.enabled else "DISABLED")
    status.part("connections", lambda: plane.admission.open)
    status.part("tunnels", lambda: len(plane.live.relays))
    status.part("refused", lambda: dict(plane.admission.refused))
    status.part("upstream_idle", lambda: len(plane.pool))
    status.part(
        "records",
        lambda: {"written": records.written, "dropped": records.dropped, "errors": records.errors},
    )
    if ca_not_after is not None:
        status.part("ca_not_after", lambda: int(ca_not_after))
