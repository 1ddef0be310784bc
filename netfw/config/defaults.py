"""What holds when the file does not say: every number with its precedent.

PURE. No default here opens anything: listeners let in loopback and private addresses only, the guard keeps private
destinations closed, interception is off until a CA is named.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from netfw.config.model import LimitsSection, Quotas, TimeoutsSection

# Loopback, RFC 1918 and RFC 4193: a proxy that answers the world is an open proxy.
CLIENTS = (
    IPv4Network("127.0.0.0/8"),
    IPv6Network("::1/128"),
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv6Network("fc00::/7"),
)

# Squid's http_port; 8443 is what AWS gives its HTTPS listener.
HTTP_PORT = 3128
HTTPS_PORT = 8443

# Envoy's admin port.
ADMIN_PORT = 9901

HOSTS_FILE = Path("/etc/hosts")

# c-ares asks the next server after 2 s (since 1.20; 5 s before, as glibc still does).
DNS_TIMEOUT = 2.0

# All in one process; Squid too starts one (workers 1).
WORKERS = 0

LIMITS = LimitsSection(
    head_size=64 * 1024,  # Squid: request_header_max_size 64 KB
    head_fields=100,  # Apache: LimitRequestFields 100; Envoy: max_headers_count 100
    chunk_line=1024,  # Twisted: maxChunkSizeLineLength 1024
    trailer_size=16 * 1024,  # hyper: TRAILER_LIMIT 16 KiB
    client_hello=16 * 1024,  # nginx: preread_buffer_size 16k
    connections=10_000,  # what 20,000 descriptors carry, a tunnel needing two; Squid refuses above its descriptors too
    connections_per_client=1_000,  # a tenth of all, so that ten clients are needed to fill the proxy
    requests_per_connection=10_000,  # nginx: keepalive_requests 1000 for one site; a proxy connection serves many
    idle_upstream_connections=512,  # Go's Transport: MaxIdleConns 100 for one program; a proxy serves several
    leaf_cache=1_000,  # Squid: dynamic_cert_mem_cache_size 4 MB, about a thousand certificates
    dns_cache=4_096,  # systemd-resolved: CACHE_MAX 4096; Squid: ipcache_size 1024
    request_body=0,  # none; Squid: request_body_max_size 0
    response_body=0,  # none; Squid: reply_body_max_size none
    tunnels=10_000,  # as many as connections: whoever opens one has one; HAProxy, Squid: the same count for both
    connections_per_destination=5_000,  # half of all: a site that hangs leaves the other half; Envoy: 1024 a cluster
    request_rate=0,  # none; nginx: limit_req none
    connection_rate=0,  # none; HAProxy: rate-limit sessions none
    minimum_rate=240,  # Kestrel: MinRequestBodyDataRate and MinResponseDataRate 240 B/s; IIS: MinBytesPerSecond 240
)

TIMEOUTS = TimeoutsSection(
    head=30.0,  # Squid 5: request_start_timeout 5 min; Apache mod_reqtimeout: header=20-40; nginx: 60 s
    body=60.0,  # nginx: client_body_timeout 60 s between two reads
    idle=15 * 60.0,  # Squid: read_timeout 15 min; a tunnel in which nothing moves
    resolve=10.0,  # nginx: resolver_timeout 30 s; shorter, so that the client still waits when the answer comes
    connect=10.0,  # Smokescreen: 10 s; Squid: connect_timeout 1 min outlasts most clients
    handshake=10.0,  # Go: TLSHandshakeTimeout 10 s
    response=5 * 60.0,  # Apache: ProxyTimeout 60 s; language models and reports take minutes to their first byte
    lifetime=0.0,  # none, as everywhere: web sockets and clones live for hours
    drain=30.0,  # Squid: shutdown_lifetime 30 s
    abort=5.0,  # nginx: lingering_timeout 5 s
)

# The vendor's numbers, but as many proxies as there are.
QUOTAS = Quotas(
    proxies=None,
    configurations=50,
    rule_groups=500,
    proxies_per_configuration=None,
    groups_per_configuration=10,
    rules_per_group=1000,
    value_size=1024,
    rule_size=30 * 1024,
    group_size=30 * 1024 * 1024,
    tags_per_resource=50,
)
VENDOR_QUOTAS = replace(QUOTAS, proxies=1, proxies_per_configuration=5)

# The region in which the preview was, and an account that is nobody's.
REGION = "us-east-2"
ACCOUNT = "000000000000"

# Of one caller. The vendor's numbers are not published; its clients wait and try again when they meet them.
CONTROL_RATE = 50.0
CONTROL_BURST = 200
