"""Conversations: a client, the proxy's data path and its origins, played line by line. For tests.

In this room: `Conversation`, and the data path wired for it. Names, dialling, records and the policy source are
`scripted`; everything else is real: sockets, streams, TLS, deadlines, policy. Not here: the ends that the test plays
(`side`); accepting, DNS, threads (`proxy_process` has the whole server).

It reads like a playbook:

    with Conversation() as play:
        client = play.client()
        client.says(b"GET http://origin.test/ HTTP/1.1\\r\\nHost: origin.test\\r\\n\\r\\n")
        origin = play.origin()
        origin.hears_head()
        origin.says(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
        client.hears_head()

At its end everybody leaves, and it is asserted that no transport is open, no deadline is left, there is one record for
each exchange, and nothing was logged as an error.
"""

from __future__ import annotations

import gc
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from twisted.logger import LogLevel, globalLogPublisher

from netfw.config.defaults import CLIENTS, LIMITS, TIMEOUTS
from netfw.config.model import (
    AdminSection,
    Configuration,
    DenyOpaque,
    DenySection,
    DenyStyle,
    DnsSection,
    EgressSection,
    GuardSection,
    ListenerSection,
    ListenerType,
    LogSection,
    PolicySection,
    ProxySection,
    TlsInterceptSection,
    UpstreamSection,
)
from netfw.http1.limits import HeadLimits
from netfw.proxy.admission import Admission
from netfw.proxy.consistency import Consistency
from netfw.proxy.data_plane import DataPlane
from netfw.proxy.destination_list import DestinationList
from netfw.proxy.destinations import Destinations
from netfw.proxy.guard import DestinationGuard
from netfw.proxy.interception_scope import InterceptionScope
from netfw.proxy.leaf_refusals import LeafRefusals
from netfw.proxy.listener import ProxyFactory
from netfw.proxy.live import LiveConnections
from netfw.proxy.own_pages import OwnPages
from netfw.proxy.parents import read_secrets
from netfw.proxy.rates import Rates
from netfw.proxy.recording import Recording
from netfw.proxy.refusals import Refusals
from netfw.proxy.responses import Explainer
from netfw.proxy.upstream_pool import UpstreamPool
from netfw.proxy.ways import Ways
from netfw.telemetry.metrics import Metrics
from netfw.telemetry.pins import Pins
from netfw.testing.fd_reactor import FdReactor
from netfw.testing.proxy_process import Document, policy
from netfw.testing.scripted import EPOCH, PolicyInForce, RecordList, ScriptedDialer, ScriptedResolver
from netfw.testing.side import PATIENCE, Side, world
from netfw.testing.streams import Peer, tcp_pair
from netfw.tls.contexts import listener_context
from netfw.tls.interception import HostIdentities
from netfw.tls.issuer import LocalIssuer
from netfw.tls.origin_profiles import OriginProfiles
from netfw.tls.upstream import UpstreamTls
from netfw.transport.deadlines import Deadlines
from netfw.transport.stream import Stream
from netfw.x509.authority import load_authority

HOSTS = {"origin.test": ("203.0.113.1",), "other.test": ("203.0.113.2",)}
SHORT = {"head": 5.0, "body": 6.0, "idle": 20.0, "handshake": 3.0, "response": 10.0, "lifetime": 0.0, "abort": 2.0}
"""The time-outs of conversations, all different, so that it shows which one fired."""


def settings(**changes: Any) -> Configuration:
    """A configuration with these members of its sections changed: `settings(limits={"connections": 1})`."""
    files = world().directory
    listener = ListenerSection("main", ListenerType.HTTP, IPv4Address("127.0.0.1"), 3128, None, None, CLIENTS)
    intercept = TlsInterceptSection(False, files / "interception.pem", files / "interception.key", ())
    made = Configuration(
        path=files / "proxy.yaml",
        proxy=ProxySection("netfw", None),
        listeners=(listener,),
        tls_intercept=intercept,
        policy=PolicySection(files / "policy.yaml", None),
        dns=DnsSection((), None, 2.0),
        egress=EgressSection(()),
        guard=GuardSection((IPv4Network("203.0.113.0/24"),), False),
        upstream=UpstreamSection((files / "roots.pem",)),
        limits=LIMITS,
        timeouts=replace(TIMEOUTS, **SHORT),
        deny=DenySection(DenyStyle.AUTO, DenyOpaque.CONNECT, None),
        log=LogSection(),
        admin=AdminSection(None, None, None),
        workers=0,
    )
    listener = replace(listener, **changes.pop("listener", {}))
    sources = tuple(changes.pop("sources", ()))
    sections: dict[str, Any] = {name: replace(getattr(made, name), **members) for name, members in changes.items()}
    return replace(made, listeners=(listener,), sources=sources, **sections)


def data_plane(play: Conversation, configuration: Configuration) -> DataPlane:
    """The data path's collaborators, wired as `service.assembly` does, with the fakes in their places."""
    limits, reactor = configuration.limits, play.reactor
    deadlines = Deadlines(reactor)
    interception = None
    if configuration.tls_intercept.enabled:
        interception = _interception()
    return DataPlane(
        configuration=configuration,
        reactor=reactor,
        descriptors=reactor,
        deadlines=deadlines,
        now=play.now,
        monotonic=reactor.seconds,
        policies=play.policies,
        resolver=play.resolver,
        dialer=play.dialer,
        guard=DestinationGuard(configuration.guard),
        admission=Admission(limits, Rates(limits.connection_rate, reactor.seconds) if limits.connection_rate else None),
        scope=InterceptionScope(configuration.tls_intercept),
        consistency=Consistency(configuration.consistency, {}),
        opaque=DestinationList(configuration.tunnels.hosts, everything=configuration.tunnels.opaque),
        leaf_refusals=LeafRefusals(Pins(), {}, play.now),
        interception=interception,
        upstream_tls=UpstreamTls(OriginProfiles(configuration.upstream)),
        pool=UpstreamPool(
            capacity=limits.idle_upstream_connections, idle_seconds=min(60.0, configuration.timeouts.idle)
        ),
        recording=Recording(play.sink, Metrics(), play.now),
        refusals=Refusals(
            play.sink,
            policies=play.policies,
            proxy_name=configuration.proxy.name,
            deadlines=deadlines,
            now=play.now,
        ),
        live=LiveConnections(),
        own_pages=OwnPages(
            proxy_name=configuration.proxy.name,
            hostname=configuration.proxy.hostname,
            ca_certificate=lambda: world().interception.certificate_pem if interception is not None else None,
        ),
        explainer=Explainer(
            style=configuration.deny.style,
            help_url=configuration.deny.help_url,
            pseudonym=configuration.proxy.name,
            now=play.now,
        ),
        head_limits=HeadLimits(
            head_size=limits.head_size,
            head_fields=limits.head_fields,
            chunk_line=limits.chunk_line,
            trailer_size=limits.trailer_size,
        ),
        via=configuration.proxy.name.encode("ascii"),
        destinations=Destinations(limits.connections_per_destination),
        request_rates=Rates(limits.request_rate, reactor.seconds) if limits.request_rate else None,
        ways=_ways(play, configuration),
    )


def _ways(play: Conversation, configuration: Configuration) -> Ways | None:
    upstream, egress = configuration.upstream, configuration.egress
    if not upstream.proxies and not egress.pools:
        return None
    secrets = {entry.name: read_secrets(entry, lambda path: path) for entry in upstream.proxies}
    return Ways(upstream, egress, secrets, seconds=play.reactor.seconds, results={}, departures={})


@cache
def _interception() -> HostIdentities:
    # One for all: its contexts are frozen once made, and making them is the slow part.
    authority = world().interception
    loaded = load_authority(authority.certificate_pem, authority.key_pem, datetime.now(UTC))
    return HostIdentities(LocalIssuer(loaded), 100)


class Conversation:
    """See the module. Other keyword arguments are sections of `settings`; `listener` changes the one listener,
    `sources` are entries.

    `rules` is a policy document (default: everything is allowed), `hosts` the names that exist, `intercept` whether TLS
    is opened, `own_tls` whether the listener has a certificate.
    """

    def __init__(
        self,
        rules: Document | None = None,
        *,
        hosts: dict[str, Any] | None = None,
        intercept: bool = False,
        own_tls: bool = False,
        **changes: Any,
    ) -> None:
        self.reactor = FdReactor()
        self.streams: list[Stream] = []
        self.sides: list[Side] = []
        self.sink = RecordList()
        self.policies = PolicyInForce(rules if rules is not None else policy())
        self.resolver = ScriptedResolver(dict(HOSTS if hosts is None else hosts))
        self.dialer = ScriptedDialer(self)
        self.is_narrow = False
        """Set it, and the kernel keeps next to nothing of what the proxy sends on connections that begin after that."""
        self._claimed = 0
        if intercept:
            changes["tls_intercept"] = {"enabled": True, **changes.get("tls_intercept", {})}
        configuration = settings(**changes)
        self.plane = data_plane(self, configuration)
        listener = configuration.listeners[0]
        self.plane.guard.add_own(listener.address, listener.port)
        self.plane.own_pages.add_own(str(listener.address), listener.port)
        context = listener_context(*world().certificate("proxy.test")) if own_tls else None
        self.factory = ProxyFactory(self.plane, listener, context)
        self.errors: list[str] = []
        self._observer: Any = self._note
        globalLogPublisher.addObserver(self._observer)  # type: ignore[arg-type]  # any callable will do

    def now(self) -> float:
        """The wall clock."""
        return EPOCH + self.reactor.seconds()

    def _note(self, event: Any) -> None:
        if event.get("log_level", LogLevel.info) >= LogLevel.error or "log_failure" in event:
            failure = event.get("log_failure")
            self.errors.append(failure.getTraceback() if failure is not None else str(event.get("log_format")))

    # -- who takes part

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """The two ends of a connection."""
        near, far = tcp_pair()
        if self.is_narrow:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        return near, far

    def client(self, address: str = "127.0.0.1", port: int = 50000) -> Side:
        """A client that has connected."""
        near, far = self.pair()
        stream = Stream(near, self.reactor, host=("127.0.0.1", 3128), peer=(address, port))
        self.streams.append(stream)
        side = Side(self, Peer(far))
        self.sides.append(side)
        protocol = self.factory.buildProtocol(stream.getPeer())
        if protocol is None:
            stream.abortConnection()
        else:
            stream.start(protocol)
        return side

    def origin(self) -> Side:
        """The next connection that the proxy made."""
        self.until(lambda: len(self.dialer.accepted) > self._claimed, "a connection", lambda: self.situation())
        self._claimed += 1
        return self.dialer.accepted[self._claimed - 1]

    def situation(self) -> str:
        """For messages."""
        return f"dialled {self.dialer.dialled}, records {self.records}, clients hear {[s.unheard for s in self.sides]}"

    @property
    def dialled(self) -> list[tuple[tuple[str, ...], int]]:
        """The addresses and the port of every dialling."""
        return self.dialer.dialled

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records written so far."""
        return self.sink.records

    def record(self, number: int = -1, *, of: int | None = None) -> dict[str, Any]:
        """One record, once it is written; `of` is how many there are."""
        wanted = of if of is not None else max(number + 1, 1)
        self.until(lambda: len(self.records) >= wanted, f"{wanted} records", lambda: self.records)
        if of is not None:
            self.settle()
            assert len(self.records) == of
        return self.records[number]

    # -- time

    def turn(self, wait: float = 0.0) -> None:
        """One turn of the reactor, and of everybody who listens."""
        self.reactor.turn(wait)
        for side in list(self.sides):
            side.pump()

    def until(self, condition: Callable[[], object], what: str, state: Callable[[], object] = lambda: "") -> None:
        """Turn until the condition holds; no time passes by the conversation's clock."""
        end = time.monotonic() + PATIENCE
        wait = 0.0
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"expected {what}; got {state()!r}; errors {self.errors}; records {self.records}")
            self.turn(wait)
            wait = 0.001

    def settle(self, turns: int = 4) -> None:
        """A few turns more, for what must not happen."""
        for _ in range(turns):
            self.turn()
        self.turn(0.001)

    def later(self, seconds: float) -> None:
        """Let time pass in small steps, and the reactor turn in each."""
        steps = max(1, min(200, round(seconds / 0.25)))
        for _ in range(steps):
            self.reactor.advance(seconds / steps)
            self.turn()

    # -- the end

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, kind: Any, _error: Any, _traceback: Any) -> None:
        if kind is None:
            self.finish()
        else:
            self.dispose()

    def finish(self, *, collect: bool = True) -> None:
        """Everybody leaves; then nothing may be left, and every exchange has one record."""
        try:
            self.plane.pool.close()
            for side in self.sides:
                side.leaves()
            self.settle()
            self.plane.refusals.close()
            self.ends_by_itself()
            self.check_records()
            if collect:
                gc.collect()  # a Deferred that nobody listens to tells its failure when it goes
            assert self.errors == [], "\n".join(self.errors)
            assert [failure.getTraceback() for failure in self.reactor.failures] == []
        finally:
            self.dispose()

    def ends_by_itself(self, seconds: int = 120) -> None:
        """With time alone, every transport is closed and every deadline over."""
        for _ in range(seconds):
            if not self._left():
                break
            self.later(1.0)
        assert self._left() == [], "left behind"

    def check_records(self) -> None:
        """One record an exchange; a CONNECT has one of its own only if nothing inside it has."""
        parents = {record["parent_id"] for record in self.records if "parent_id" in record}
        identities = [record["id"] for record in self.records]
        assert len(set(identities)) == len(identities), "two records of one exchange"
        assert not parents & set(identities), "a CONNECT has a record although its inner requests have"
        assert len(self.records) == self.policies.taken - len(parents), self.records

    def _left(self) -> list[Any]:
        return [
            *(stream for stream in self.streams if stream.connected),
            *self.reactor.getReaders(),
            *self.reactor.getWriters(),
            *self.reactor.getDelayedCalls(),
            *(["deadlines"] if len(self.plane.deadlines) else []),
            *([f"{self.plane.admission.open} admitted"] if self.plane.admission.open else []),
            *([f"{len(self.plane.live)} alive"] if len(self.plane.live) else []),
        ]

    def dispose(self) -> None:
        """Close whatever there is, without a word."""
        globalLogPublisher.removeObserver(self._observer)
        for side in self.sides:
            side.leaves()
        self.reactor.disconnect_all()
        for stream in self.streams:
            stream.abortConnection()
