"""The parts of a data path that are made from settings alone, for its start and for every reload.

Not here: which of them a reload replaces (`reconfiguration`), and what lives as long as the process does
(`data_path_assembly`).
"""

from __future__ import annotations

import time
from typing import Any

from netfw.config.model import Configuration, ListenerSection
from netfw.config.users_file import Users
from netfw.http1.limits import HeadLimits
from netfw.proxy.authentication import Gate
from netfw.proxy.credentials import Credentials
from netfw.proxy.interception_scope import InterceptionScope
from netfw.proxy.passwords import Passwords
from netfw.proxy.rates import Rates
from netfw.proxy.responses import Explainer
from netfw.proxy.ways import Ways
from netfw.telemetry.dns_record import dns_record
from netfw.telemetry.metrics import Metrics
from netfw.telemetry.record_outputs import RecordOutputs
from netfw.transport.deadlines import Deadlines
from netfw.transport.dialer import Dialer
from netfw.transport.dns_cache import DnsCache
from netfw.transport.dns_heard import Heard
from netfw.transport.hosts_file import HostsFile
from netfw.transport.resolv_conf import read_resolv_conf
from netfw.transport.resolver import DnsResolver

_UPSTREAM_IDLE = 60.0


def resolver(
    configuration: Configuration, reactor: Any, deadlines: Deadlines, records: RecordOutputs | None = None
) -> DnsResolver:
    """Who is asked for addresses; with an empty cache. `records` take answers where `log.dns` says so."""
    dns = configuration.dns
    return DnsResolver(
        reactor,
        deadlines,
        servers=dns.resolvers or read_resolv_conf().servers,
        hosts=HostsFile(dns.hosts_file) if dns.hosts_file is not None else None,
        timeout=dns.timeout,
        resolve_timeout=configuration.timeouts.resolve,
        cache=DnsCache(configuration.limits.dns_cache),
        heard=_noting(configuration, records) if records is not None and configuration.log.dns else None,
    )


def gate(section: ListenerSection, users: Users | None, reactor: Any) -> Gate | None:
    """Who asks a listener's clients for passwords; None where nobody has one."""
    return Gate(section.realm, Passwords(users, reactor, time.monotonic)) if users is not None else None


def _noting(configuration: Configuration, records: RecordOutputs) -> Heard:
    name = configuration.proxy.name
    return lambda heard: records.write_dns(dns_record(heard, proxy_name=name, now=time.time()))


def dialer(configuration: Configuration, descriptors: Any, deadlines: Deadlines) -> Dialer:
    """What connects to origins. `descriptors` is who watches its connections."""
    return Dialer(
        descriptors,
        deadlines,
        connect_timeout=configuration.timeouts.connect,
        source_addresses=configuration.egress.source_addresses,
    )


def ways(
    configuration: Configuration, credentials: Credentials, metrics: Metrics, former: Ways | None = None
) -> Ways | None:
    """How exchanges leave; None where none is configured and none was."""
    upstream, egress = configuration.upstream, configuration.egress
    if former is None and not upstream.proxies and not egress.pools:
        return None
    return Ways(
        upstream,
        egress,
        credentials.parents,
        seconds=time.monotonic,
        results=metrics.tally("netfw_parent_connections_total"),
        departures=metrics.tally("netfw_egress_connections_total"),
        former=former,
    )


def scope(configuration: Configuration) -> InterceptionScope:
    """Which tunnels are intercepted."""
    return InterceptionScope(configuration.tls_intercept)


def explainer(configuration: Configuration) -> Explainer:
    """How denials are shown."""
    return Explainer(
        style=configuration.deny.style,
        help_url=configuration.deny.help_url,
        pseudonym=configuration.proxy.name,
        now=time.time,
    )


def head_limits(configuration: Configuration) -> HeadLimits:
    """The readers' limits."""
    limits = configuration.limits
    return HeadLimits(
        head_size=limits.head_size,
        head_fields=limits.head_fields,
        chunk_line=limits.chunk_line,
        trailer_size=limits.trailer_size,
    )


def rates(each_second: int) -> Rates | None:
    """The rates of all client addresses; None where there is no limit."""
    return Rates(each_second, time.monotonic) if each_second else None


def upstream_idle_seconds(configuration: Configuration) -> float:
    """Idle origin connections are kept as long as most origins keep theirs (nginx: 75 s, Apache: 5 s)."""
    return min(_UPSTREAM_IDLE, configuration.timeouts.idle)
