"""The process's configuration as data: what `etc/proxy.yaml` says, after it was checked.

PURE: no files, no Twisted. `config.load` reads, checks and builds these. Times are seconds, sizes bytes, paths
absolute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Union

from netfw.config.log_model import IndexSection as IndexSection
from netfw.config.log_model import LogSection as LogSection
from netfw.config.way_model import EgressPool, HealthSection, ParentEntry, RouteEntry

Network = Union[IPv4Network, IPv6Network]
Address = Union[IPv4Address, IPv6Address]


class ListenerType(Enum):
    """What clients speak to a listener. The first byte is looked at in any case."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"


class DenyStyle(Enum):
    """How a denied CONNECT is answered.

    AUTO: 200 and then 403 inside the tunnel for a host that would be intercepted, else 403 on the CONNECT.
    CONNECT: always 403 on the CONNECT. AWS: the preview's exact bytes on the CONNECT.
    """

    AUTO = "auto"
    CONNECT = "connect"
    AWS = "aws"


class DenyOpaque(Enum):
    """How a PreREQUEST denial of a passed-through tunnel shows: 403 on the CONNECT, or closed after its 200."""

    CONNECT = "connect"
    AFTER_200 = "after_200"


class NameCheck(Enum):
    """Two names of one exchange that have to agree.

    CONNECT_SNI: the server name in a tunnel, and the CONNECT's host. SNI_HOST: a Host field inside, and the tunnel's
    name. MISSING_SNI: a tunnel to a name that is passed through and shows no server name.
    """

    CONNECT_SNI = "connect_sni"
    SNI_HOST = "sni_host"
    MISSING_SNI = "missing_sni"


class NameVerdict(Enum):
    """What becomes of names that disagree: refused, the other name judged by itself, or let through."""

    DENY = "deny"
    EVALUATE = "evaluate"
    ALLOW = "allow"


@dataclass(frozen=True, slots=True)
class ProxySection:
    """`hostname` is how clients call this proxy; None: not known. `pac_direct`: browsers may go round it when it is
    down.
    """

    name: str
    hostname: str | None
    pac_direct: bool = False


@dataclass(frozen=True, slots=True)
class ListenerSection:
    """One listening address. `clients`: who may connect; everybody else is closed and counted.

    `client_ca`: whose certificates give clients an identity, and whether one is `client_required`. `users`: a file of
    names and hashed passwords, asked for where no certificate came; `realm` is what people are told it is for.
    `proxy_protocol_from`: senders whose connections begin with a PROXY header; `clients` is then asked for the address
    in the header. `from_store`: the ports, as first and last ones, that a store may have opened instead of `port`.
    """

    name: str
    type: ListenerType
    address: Address
    port: int
    certificate: Path | None
    private_key: Path | None
    clients: tuple[Network, ...]
    proxy_protocol_from: tuple[Network, ...] = ()
    client_ca: Path | None = None
    client_crl_files: tuple[Path, ...] = ()
    client_required: bool = True
    users: Path | None = None
    realm: str = "netfw"
    from_store: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """What is known of clients besides their addresses: those in `cidr`, of `listener`, of the endpoint `vpce`.

    Everything that is named must hold. `vpce` with another selector is also given: it is compared where the connection
    has an endpoint's id, and stands in where it has none.
    """

    cidr: Network | None
    listener: str | None
    vpce: str | None
    account: str | None
    vpc: str | None
    identity: str | None


@dataclass(frozen=True, slots=True)
class DestinationEntry:
    """Destinations: a domain form (`x`, `.x`, `*.x`), at `port` or at any, for clients in `source` or for all."""

    domain: str
    source: Network | None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class TlsInterceptSection:
    """`ca_certificate` and `ca_private_key` are set whenever `enabled` is. `ca_password_file`: for an encrypted key.

    `only`: nothing else is intercepted, None for everything. `bypass` is never intercepted, whatever `only` says.
    `organization` is what the subject of leaves says beside the host; empty: nothing.
    """

    enabled: bool
    ca_certificate: Path | None
    ca_private_key: Path | None
    bypass: tuple[DestinationEntry, ...]
    ca_password_file: Path | None = None
    only: tuple[DestinationEntry, ...] | None = None
    organization: str = "netfw"


@dataclass(frozen=True, slots=True)
class TunnelsSection:
    """Where a CONNECT may carry what is neither TLS nor HTTP: everywhere, or to these destinations."""

    opaque: bool = False
    hosts: tuple[DestinationEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class ConsistencyException:
    """Other verdicts for tunnels whose CONNECT names `host` (a domain form), for clients in `source` or for all."""

    host: str
    source: Network | None
    verdicts: Mapping[NameCheck, NameVerdict]


@dataclass(frozen=True, slots=True)
class ConsistencySection:
    """What becomes of names that disagree. The first exception that fits and speaks of the check counts."""

    connect_sni: NameVerdict = NameVerdict.DENY
    sni_host: NameVerdict = NameVerdict.DENY
    missing_sni: NameVerdict = NameVerdict.DENY
    exceptions: tuple[ConsistencyException, ...] = ()


@dataclass(frozen=True, slots=True)
class HistorySection:
    """How much of a store's history is kept: so many generations, those of so many seconds; None: no bound of the
    kind. What is beyond either goes.
    """

    generations: int | None = None
    age: float | None = None

    @property
    def is_bounded(self) -> bool:
        """Whether anything ever goes."""
        return self.generations is not None or self.age is not None


@dataclass(frozen=True, slots=True)
class PolicySection:
    """Exactly one of `file`, `directory` and `store` is set.

    `store` is the database's address, without the password, which is in `password_file`. `last_good`, set with it: the
    file in which this node keeps the policy that it last had.
    """

    file: Path | None
    directory: Path | None
    store: str | None = None
    password_file: Path | None = None
    last_good: Path | None = None
    history: HistorySection = HistorySection()


@dataclass(frozen=True, slots=True)
class DnsSection:
    """`resolvers`: (address, port), empty: those of /etc/resolv.conf. `timeout`: one query's, in seconds."""

    resolvers: tuple[tuple[Address, int], ...]
    hosts_file: Path | None
    timeout: float


@dataclass(frozen=True, slots=True)
class EgressSection:
    """The addresses that origins see; empty: the system's choice. The first of `pools` that fits an exchange counts."""

    source_addresses: tuple[Address, ...]
    pools: tuple[EgressPool, ...] = ()


@dataclass(frozen=True, slots=True)
class GuardSection:
    """Destination addresses and ports that are opened although the guard would keep them closed."""

    allow: tuple[Network, ...]
    allow_private: bool
    allow_ports: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class OriginEntry:
    """What else is trusted for a domain form (`x`, `.x`, `*.x`): more roots, or the keys themselves.

    `pins`: SHA-256 of SubjectPublicKeyInfo in hexadecimal; where there are any, the key must be one of these.
    """

    domain: str
    roots: tuple[Path, ...]
    pins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClientCertificateEntry:
    """A certificate (with its chain) and its key, shown to the origins of a domain form that ask for one."""

    domain: str
    certificate: Path
    private_key: Path


@dataclass(frozen=True, slots=True)
class UpstreamSection:
    """Certificates that origins are verified with: the system's (None) or these files' (PEM).

    `minimum_tls`: "1.2" or "1.3". `crl_files`: an origin whose issuer has a list in one must not be on it. The first of
    `routes` that fits an exchange says whether it goes through `proxies`; without routes it does not.
    """

    trust: tuple[Path, ...] | None
    minimum_tls: str = "1.2"
    strict: bool = False
    crl_files: tuple[Path, ...] = ()
    hosts: tuple[OriginEntry, ...] = ()
    client_certificates: tuple[ClientCertificateEntry, ...] = ()
    proxies: tuple[ParentEntry, ...] = ()
    routes: tuple[RouteEntry, ...] = ()
    health: HealthSection = HealthSection()


@dataclass(frozen=True, slots=True)
class LimitsSection:
    """Caps, enforced while reading. Sizes in bytes. 0 is none, where there is a default here.

    Rates are a client address's, a second; `minimum_rate` is in bytes a second, averaged over `timeouts.body`.
    """

    head_size: int
    head_fields: int
    chunk_line: int
    trailer_size: int
    client_hello: int
    connections: int
    connections_per_client: int
    requests_per_connection: int
    idle_upstream_connections: int
    leaf_cache: int
    dns_cache: int
    request_body: int = 0
    response_body: int = 0
    tunnels: int = 10_000
    connections_per_destination: int = 0
    request_rate: int = 0
    connection_rate: int = 0
    minimum_rate: int = 0


@dataclass(frozen=True, slots=True)
class TimeoutsSection:
    """Deadlines in seconds. `lifetime` 0: none."""

    head: float
    body: float
    idle: float
    resolve: float
    connect: float
    handshake: float
    response: float
    lifetime: float
    drain: float
    abort: float


@dataclass(frozen=True, slots=True)
class DenySection:
    """How denials are shown; `help_url` may hold `{id}`."""

    style: DenyStyle
    opaque: DenyOpaque
    help_url: str | None


@dataclass(frozen=True, slots=True)
class AdminSection:
    """The admin surface: a Unix socket, an address and port, either or both.

    `certificate` and `private_key` are set together, and always where the address is not loopback.
    """

    socket: Path | None
    address: Address | None
    port: int | None
    certificate: Path | None = None
    private_key: Path | None = None


@dataclass(frozen=True, slots=True)
class Quotas:
    """How many resources there may be and how large; None: no limit.

    Sizes in bytes of UTF-8, a rule's and a group's being those of keys and values.
    """

    proxies: int | None
    configurations: int | None
    rule_groups: int | None
    proxies_per_configuration: int | None
    groups_per_configuration: int | None
    rules_per_group: int | None
    value_size: int | None
    rule_size: int | None
    group_size: int | None
    tags_per_resource: int | None


@dataclass(frozen=True, slots=True)
class LocalUser:
    """What users of this machine may: one by `user`, or those of a `group`; by name, or number as text.

    `roles` are words of `control.roles`, `rule_groups` names and patterns of the rule groups that an editor changes.
    `decrypted`: may see what only decryption shows.
    """

    user: str | None = None
    group: str | None = None
    roles: tuple[str, ...] = ()
    rule_groups: tuple[str, ...] = ()
    decrypted: bool = False


@dataclass(frozen=True, slots=True)
class ControlSection:
    """The control API. `keys`: the file of access keys, None: nobody signs, only the Unix socket is open.

    `rate`: requests a second of one caller, 0: any; `burst` at once. `audit`: the file of audit records, None: the
    program's own log. `local`: who may what without a key.
    """

    keys: Path | None
    region: str
    account: str
    quotas: Quotas
    rate: float
    burst: int
    audit: Path | None
    local: tuple[LocalUser, ...] = ()


@dataclass(frozen=True, slots=True)
class ManholeSection:
    """Where operators look inside by SSH: a Unix socket, or a loopback address and port.

    `authorized_keys`: who may do everything there, `read_only_keys`: who may only look; `decrypted_keys`: those of them
    who may also see what only decryption shows. `host_keys`: the directory of the proxy's own keys. `audit`: the file
    of logins and commands, None: the program's own log alone.
    """

    socket: Path | None
    address: Address | None
    port: int | None
    authorized_keys: Path | None
    read_only_keys: Path | None
    decrypted_keys: Path | None
    host_keys: Path
    audit: Path | None


@dataclass(frozen=True, slots=True)
class Configuration:
    """All of it. `path` is the file it came from. `workers`: processes that serve, 0: the one that was started."""

    path: Path
    proxy: ProxySection
    listeners: tuple[ListenerSection, ...]
    tls_intercept: TlsInterceptSection
    policy: PolicySection
    dns: DnsSection
    egress: EgressSection
    guard: GuardSection
    upstream: UpstreamSection
    limits: LimitsSection
    timeouts: TimeoutsSection
    deny: DenySection
    log: LogSection
    admin: AdminSection
    workers: int
    sources: tuple[SourceEntry, ...] = ()
    consistency: ConsistencySection = ConsistencySection()
    tunnels: TunnelsSection = TunnelsSection()
    control: ControlSection | None = None
    manhole: ManholeSection | None = None
