"""From the file's data to the model, a function a section.

PURE but for looking up symbolic links in paths and counting cores. In this room: which settings there are, their types,
and what must hold between settings of one section. Not here: defaults (`config.defaults`), whether the files that are
named exist (`config.files`), and what holds between sections (`config.load`).
"""

from __future__ import annotations

import os
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from netfw.config import defaults, values
from netfw.config.client_proof import read_client_proof
from netfw.config.listener_ports import parse_ports, shown_ports
from netfw.config.model import (
    AdminSection,
    DenyOpaque,
    DenySection,
    DenyStyle,
    DestinationEntry,
    DnsSection,
    GuardSection,
    LimitsSection,
    ListenerSection,
    ListenerType,
    Network,
    ProxySection,
    TimeoutsSection,
    TlsInterceptSection,
    TunnelsSection,
)
from netfw.config.table import Table
from netfw.config.units import parse_duration, parse_size
from netfw.names.domain_form import parse_domain_form
from netfw.names.host import host_from_text

# The kernel's sun_path is 108 bytes with its final NUL.
SOCKET_PATH_LIMIT = 107
# More than any machine has cores for; each holds a listening socket, kept by the supervisor.
MOST_WORKERS = 256
LONGEST_ORGANIZATION = 64


def read_proxy(table: Table) -> ProxySection:
    """`proxy`: what this proxy is called."""
    section = ProxySection(
        name=table.take("name", values.name, "netfw"),
        hostname=table.take("hostname", _hostname, None),
        pac_direct=table.take("pac_direct", values.boolean, False),
    )
    table.close()
    return section


def read_listener(table: Table, directory: Path) -> ListenerSection:
    """One entry of `listeners`."""
    kind = table.take("type", values.one_of(ListenerType), ListenerType.HTTP)
    default_port = defaults.HTTPS_PORT if kind is ListenerType.HTTPS else defaults.HTTP_PORT
    section = ListenerSection(
        name=table.take("name", values.name),
        type=kind,
        address=table.take("address", values.address),
        port=table.take("port", values.port, default_port),
        certificate=table.take("certificate", values.path(directory), None),
        private_key=table.take("private_key", values.path(directory), None),
        clients=table.take_list("clients", values.network, defaults.CLIENTS),
        proxy_protocol_from=_proxy_protocol_from(table),
        from_store=table.take_list("from_store", parse_ports, single=True),
        **read_client_proof(table, directory, kind),
    )
    for key in ("certificate", "private_key"):
        if kind is ListenerType.HTTPS and key not in table:
            table.complain(key, "is missing; an HTTPS listener needs certificate and private_key (PEM files)")
        elif kind is ListenerType.HTTP and key in table:
            table.complain(key, "belongs to an HTTPS listener; write type: HTTPS or leave it out")
    if table.is_empty_list("from_store"):
        table.complain("from_store", "names no ports; write those that a store may open, or leave it out")
    elif section.from_store and not any(first <= section.port <= last for first, last in section.from_store):
        table.complain(
            "from_store",
            f"{shown_ports(section.from_store)} leaves out port {section.port}, which is open until a store says "
            f"otherwise; name it too, or another port",
        )
    if table.is_empty_list("clients"):
        table.complain("clients", "lets nobody in; name networks, or leave it out for loopback and private addresses")
    table.close()
    return section


def _proxy_protocol_from(table: Table) -> tuple[Network, ...]:
    """`proxy_protocol: {from: [...]}`: whose word on a client's address is taken."""
    senders = table.table("proxy_protocol", wanted="from: and networks")
    networks: tuple[Network, ...] = senders.take_list("from", values.network)
    if "proxy_protocol" in table and not networks and not senders.has_problem("from"):
        senders.complain("from", "names nobody; name the load balancers' addresses, or leave proxy_protocol out")
    for position, network in enumerate(networks):
        if network.prefixlen == 0:
            senders.complain(f"from[{position}]", f"{network} lets everybody say who they are; name the load balancers")
    senders.close()
    return networks


def read_tls_intercept(table: Table, directory: Path) -> TlsInterceptSection:
    """`tls_intercept`: whether TLS is opened, with which CA, and for whom not."""
    enabled = table.take("mode", values.word("ENABLED", "DISABLED"), "DISABLED") == "ENABLED"
    ca = table.table("ca", wanted="certificate and private_key")
    certificate = ca.take("certificate", values.path(directory), None)
    private_key = ca.take("private_key", values.path(directory), None)
    password_file = ca.take("password_file", values.path(directory), None)
    ca.close()
    for key, value in (("certificate", certificate), ("private_key", private_key)):
        if enabled and value is None and key not in ca:
            ca.complain(key, "is missing; mode ENABLED needs a CA: name its files and make them with `netfw ca init`")
    bypass = table.take_list("bypass", destination)
    only = table.take_list("only", destination, None)  # type: ignore[arg-type]  # nothing is said: everything
    if table.is_empty_list("only"):
        table.complain("only", "names nothing, so nothing would be intercepted; write mode: DISABLED or leave it out")
    organization = table.take("organization", _organization, "netfw")
    table.close()
    return TlsInterceptSection(
        enabled=enabled,
        ca_certificate=certificate,
        ca_private_key=private_key,
        bypass=bypass,
        ca_password_file=password_file,
        only=only,
        organization=organization,
    )


def read_tunnels(table: Table) -> TunnelsSection:
    """`tunnels`: where a CONNECT may carry what is neither TLS nor HTTP."""
    section = TunnelsSection(
        opaque=table.take("opaque", values.word("deny", "allow"), "deny") == "allow",
        hosts=table.take_list("hosts", destination),
    )
    if section.opaque and section.hosts:
        table.complain("hosts", "opaque: allow lets every host have them; take hosts out, or write opaque: deny")
    table.close()
    return section


def read_dns(table: Table, directory: Path) -> DnsSection:
    """`dns`: who is asked for addresses."""
    section = DnsSection(
        resolvers=table.take_list("resolvers", values.address_and_port(53)),
        hosts_file=table.take("hosts_file", values.path(directory), defaults.HOSTS_FILE),
        timeout=table.take("timeout", _positive_duration, defaults.DNS_TIMEOUT),
    )
    table.close()
    return section


def read_guard(table: Table) -> GuardSection:
    """`guard`: destination addresses and ports that are opened although they would be kept closed."""
    section = GuardSection(
        allow=table.take_list("allow", values.network),
        allow_private=table.take("private", values.word("deny", "allow"), "deny") == "allow",
        allow_ports=frozenset(table.take_list("allow_ports", values.count(1, 65535))),
    )
    table.close()
    return section


def read_limits(table: Table) -> LimitsSection:
    """`limits`: caps, enforced while reading."""

    def size(key: str, minimum: int, maximum: int) -> int:
        return int(table.take(key, _within(parse_size, minimum, maximum, "bytes"), getattr(defaults.LIMITS, key)))

    def count(key: str, minimum: int, maximum: int) -> int:
        return int(table.take(key, values.count(minimum, maximum), getattr(defaults.LIMITS, key)))

    section = LimitsSection(
        head_size=size("head_size", 1024, 1 << 20),
        head_fields=count("head_fields", 8, 10_000),
        chunk_line=size("chunk_line", 20, 1 << 16),
        trailer_size=size("trailer_size", 0, 1 << 20),
        client_hello=size("client_hello", 512, 1 << 17),
        connections=count("connections", 1, 1_000_000),
        connections_per_client=count("connections_per_client", 1, 1_000_000),
        requests_per_connection=count("requests_per_connection", 1, 1_000_000_000),
        idle_upstream_connections=count("idle_upstream_connections", 0, 1_000_000),
        leaf_cache=count("leaf_cache", 1, 1_000_000),
        dns_cache=count("dns_cache", 0, 1_000_000),
        request_body=size("request_body", 0, 1 << 50),
        response_body=size("response_body", 0, 1 << 50),
        tunnels=count("tunnels", 1, 1_000_000),
        connections_per_destination=count("connections_per_destination", 0, 1_000_000),
        request_rate=count("request_rate", 0, 1_000_000),
        connection_rate=count("connection_rate", 0, 1_000_000),
        minimum_rate=size("minimum_rate", 0, 1 << 30),
    )
    table.close()
    return section


def read_timeouts(table: Table) -> TimeoutsSection:
    """`timeouts`: deadlines. Only `lifetime` may be 0, meaning none: a wait without an end is a leak."""

    def seconds(key: str) -> float:
        return float(table.take(key, _positive_duration, getattr(defaults.TIMEOUTS, key)))

    section = TimeoutsSection(
        head=seconds("head"),
        body=seconds("body"),
        idle=seconds("idle"),
        resolve=seconds("resolve"),
        connect=seconds("connect"),
        handshake=seconds("handshake"),
        response=seconds("response"),
        lifetime=float(table.take("lifetime", parse_duration, defaults.TIMEOUTS.lifetime)),
        drain=seconds("drain"),
        abort=seconds("abort"),
    )
    table.close()
    return section


def read_deny(table: Table) -> DenySection:
    """`deny`: how denials are shown."""
    section = DenySection(
        style=table.take("style", values.one_of(DenyStyle), DenyStyle.AUTO),
        opaque=table.take("opaque", values.one_of(DenyOpaque), DenyOpaque.CONNECT),
        help_url=table.take("help_url", values.help_url, None),
    )
    table.close()
    return section


def read_admin(table: Table, directory: Path) -> AdminSection:
    """`admin`: a Unix socket, an address and port, or both; neither: no admin surface."""
    section = AdminSection(
        socket=table.take("socket", values.path(directory), None),
        address=table.take("address", values.address, None),
        port=table.take("port", values.port, None),
        certificate=table.take("certificate", values.path(directory), None),
        private_key=table.take("private_key", values.path(directory), None),
    )
    if section.socket is not None and len(str(section.socket).encode()) > SOCKET_PATH_LIMIT:
        table.complain("socket", f"{section.socket} is longer than {SOCKET_PATH_LIMIT} bytes, the kernel's limit")
    for key, other in (("certificate", "private_key"), ("private_key", "certificate")):
        if key in table and other not in table:
            table.complain(other, f"is missing; {key} alone cannot serve TLS")
    address, port = section.address, section.port
    if address is not None and not address.is_loopback and section.certificate is None:
        table.complain(
            "address", f"{address} is not a loopback address; write 127.0.0.1, or name certificate and private_key"
        )
    if address is None and port is not None and "address" not in table:
        address = ip_address("127.0.0.1")
    if address is None and "certificate" in table:
        table.complain("certificate", "is for an address and port; write them, or leave it out")
    if address is not None and port is None:
        port = defaults.ADMIN_PORT
    table.close()
    return replace(section, address=address, port=port)


def read_workers(table: Table) -> int:
    """`workers`: processes that serve beside the one that watches them; `auto` is one for each usable core."""

    def parse(value: object) -> int:
        if value == "auto":
            return len(os.sched_getaffinity(0))
        if isinstance(value, str):
            raise ValueError(f"{value!r} is not a number of processes; write auto, or a number, 0 for all in one")
        return values.count(0, MOST_WORKERS)(value)

    return int(table.take("workers", parse, defaults.WORKERS))


def _hostname(value: object) -> str:
    return str(host_from_text(values.text(value)))


def destination(value: object) -> DestinationEntry:
    """`example.com`, or `{domain: example.com, port: 443, source: 10.0.0.0/8}`."""
    if isinstance(value, dict):
        if "domain" not in value or set(value) - {"domain", "port", "source"}:
            raise ValueError(f"{value!r}: write a domain, or {{domain: ..., port: ..., source: ...}}")
        source = values.network(value["source"]) if value.get("source") is not None else None
        port = values.count(1, 65535)(value["port"]) if value.get("port") is not None else None
        return DestinationEntry(domain=_domain(value["domain"]), source=source, port=port)
    return DestinationEntry(domain=_domain(value), source=None)


def _organization(value: object) -> str:
    if value == "":
        return ""
    written = values.text(value)
    if len(written) > LONGEST_ORGANIZATION:
        raise ValueError(f"{written!r} is longer than {LONGEST_ORGANIZATION} characters, X.520's limit")
    return written


def _domain(value: object) -> str:
    written = values.text(value)
    parse_domain_form(written)
    return written


def _positive_duration(value: object) -> float:
    seconds = parse_duration(value)
    if seconds <= 0:
        raise ValueError(f"{value!r}: a wait needs an end; write a duration above 0, as in 30s")
    return seconds


def _within(parse: Any, minimum: int, maximum: int, unit: str) -> Any:
    def bounded(value: object) -> int:
        number = int(parse(value))
        if not minimum <= number <= maximum:
            raise ValueError(f"{value!r} is out of bounds; write {minimum} to {maximum} {unit}")
        return number

    return bounded
