"""The exchange: one request and its fate, from the first byte of its head to its record.

Everything that is known about it stands here, and nowhere else: who asked, what for, what was decided in each phase,
which address was dialled, what came back, how long each step took, why it ended. Steps (`phases`, `forward`,
`connect`) write to it; `responses` and `telemetry.exchange_record` read it. There is no ambient context.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from os import urandom
from typing import TYPE_CHECKING, Any, Final

from netfw.http1.heads import HTTP_1_1
from netfw.http1.traits import request_traits

if TYPE_CHECKING:
    from netfw.errors import NetfwError
    from netfw.http1.heads import RequestHead
    from netfw.names.authority import Authority
    from netfw.policy.compile import CompiledPolicy
    from netfw.policy.decision import Decision
    from netfw.policy.facts import Facts
    from netfw.proxy.admission import Admission
    from netfw.proxy.authentication import Gate
    from netfw.proxy.rates import SourceRate
    from netfw.transport.resolution import Resolution

_ALPHABET = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O or U to misread over the phone
_LETTER_OF_OCTET = _ALPHABET * 8
_MADE_AT_ONCE = 256
_ids: Final[list[str]] = []
_text_of: Final = lru_cache(maxsize=4096)(str)


def new_exchange_id() -> str:
    """Ten characters of Crockford's base 32 in two groups (`7F3KQ-92XAB`): 50 random bits, easy to read out."""
    if not _ids:
        # One system call for many: asking for each costs more than the whole rest of this.
        letters = urandom(10 * _MADE_AT_ONCE).translate(_LETTER_OF_OCTET).decode("ascii")
        _ids.extend(f"{letters[at : at + 5]}-{letters[at + 5 : at + 10]}" for at in range(0, len(letters), 10))
    return _ids.pop()


class Caller:
    """Who is at the other end of a client connection; shared by all its exchanges.

    `is_proven`: a certificate says who it is; `gate`: who asks for a password otherwise. `admission` counts it, and its
    tunnel, until `leave` is called, by whichever protocol holds the connection then.
    """

    __slots__ = (
        "address",
        "address_text",
        "admission",
        "came_by",
        "gate",
        "identity",
        "is_proven",
        "listener_name",
        "port",
        "request_rate",
        "printed",
        "source_account",
        "source_vpc",
        "source_vpce",
        "_has_tunnel",
    )

    def __init__(
        self,
        *,
        address: IPv4Address | IPv6Address,
        port: int,
        listener_name: str,
    ) -> None:
        self.admission: Admission | None = None
        self._has_tunnel = False
        self.address = address
        self.address_text = _text_of(address)
        self.port = port
        self.listener_name = listener_name
        self.came_by: object = None
        """The door: what one listening socket builds connections with (`proxy.listener`)."""
        self.source_account: str | None = None
        self.source_vpc: str | None = None
        self.source_vpce: str | None = None
        self.identity: str | None = None
        self.is_proven = False
        self.gate: Gate | None = None
        self.request_rate: SourceRate | None = None
        """How often this address may ask; None: as often as it likes."""
        self.printed: str | None = None
        """What the records of this connection have in common; `telemetry.record_line` prints and reads it."""

    def admit_tunnel(self) -> str | None:
        """Count its tunnel, the only one it can have; or the reason why there are too many."""
        assert self.admission is not None
        reason = self.admission.admit_tunnel()
        self._has_tunnel = reason is None
        return reason

    def leave(self) -> None:
        """The connection is over; calling it again changes nothing."""
        admission, self.admission = self.admission, None
        if admission is None:
            return
        if self._has_tunnel:
            admission.tunnel_closed()
        admission.connection_closed(self.listener_name, self.address)


class Exchange:
    """One request and its fate. `kind`: what its record is about: `exchange`, `connect` (a CONNECT without an inner
    request), `tunnel` (passed through) or `connection` (no request could be read).

    Times are seconds: `started` and `finished` since the epoch, those of steps by their names, -1 for one that was not
    taken. `facts` is there from the moment that the destination is known until nothing is left to decide.
    """

    __deletable__ = ("facts",)

    id: str
    kind: str
    caller: Caller
    policy: CompiledPolicy
    proxy_name: str
    started: float
    finished: float
    decisions: list[Decision]
    facts: Facts
    resolution: Resolution | None = None
    # What most exchanges never have is set on the class: an exchange costs what it uses.
    head: RequestHead | None = None
    scheme: str | None = None
    authority: Authority | None = None
    named: Authority | None = None
    """What the Host field says where that is not the authority and was let through."""
    names: dict[str, str | None] | None = None
    """The names of an exchange that disagreed, and what came of it; see `consistency`."""
    method: bytes | None = None
    path: bytes | None = None
    query: bytes | None = None
    http_version: str | None = None
    user_agent: bytes | None = None
    traceparent: bytes | None = None
    parent_id: str | None = None
    dest_ip: str | None = None
    dest_port: int | None = None
    status: int | None = None
    origin_status: int | None = None
    dns_seconds = -1.0
    connect_seconds = -1.0
    tls_seconds = -1.0
    first_byte_seconds = -1.0
    response_started = False
    request_size = 0
    response_size = 0
    bytes_in = 0
    bytes_out = 0
    sni: str | None = None
    client_tls_version: str | None = None
    client_alpn: str | None = None
    origin_tls_version: str | None = None
    origin_certificate: dict[str, str] | None = None
    intercepted = False
    error: NetfwError | None = None
    close_reason: str | None = None
    route: dict[str, Any] | None = None
    """The parent proxy, those tried before it, and the source address; None where it went straight as everything."""

    def __init__(self, *, kind: str, caller: Caller, policy: CompiledPolicy, proxy_name: str, started: float) -> None:
        self.id = new_exchange_id()
        self.kind = kind
        self.caller = caller
        self.policy = policy
        self.proxy_name = proxy_name
        self.started = started
        self.finished = started
        self.decisions = []

    @property
    def generation(self) -> int:
        """The policy generation that decides this exchange."""
        return self.policy.generation

    @property
    def durations(self) -> dict[str, float]:
        """How long each step took that was taken, in their order."""
        taken = {}
        if self.dns_seconds >= 0.0:
            taken["dns"] = self.dns_seconds
        if self.connect_seconds >= 0.0:
            taken["connect"] = self.connect_seconds
        if self.tls_seconds >= 0.0:
            taken["tls"] = self.tls_seconds
        if self.first_byte_seconds >= 0.0:
            taken["first_byte"] = self.first_byte_seconds
        return taken

    def keep_for_record(self) -> None:
        """All is decided, and all that may be for a long time: let go of what only decisions and answers ask for."""
        self.head = None
        del self.facts

    def describe_request(self, head: RequestHead) -> None:
        """Take from the head what facts, answers and the record need."""
        traits = request_traits(head)
        self.head = head
        self.method = head.method
        self.http_version = "1.1" if head.version == HTTP_1_1 else "1.0"
        if traits.user_agent is not None:
            self.user_agent = traits.user_agent
        if traits.traceparent is not None:
            self.traceparent = traits.traceparent

    @property
    def last_decision(self) -> Decision | None:
        """The decision of the last phase taken."""
        return self.decisions[-1] if self.decisions else None

    def __repr__(self) -> str:
        return f"<Exchange {self.id} {self.kind} {self.method!r} {self.authority} status={self.status}>"
