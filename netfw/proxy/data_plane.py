"""The collaborators of the data path in one frozen place: what a client connection may use, wired once by
`service.assembly`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netfw.config.model import Configuration
    from netfw.http1.limits import HeadLimits
    from netfw.proxy.admission import Admission
    from netfw.proxy.consistency import Consistency
    from netfw.proxy.destination_list import DestinationList
    from netfw.proxy.destinations import Destinations
    from netfw.proxy.guard import DestinationGuard
    from netfw.proxy.interception_scope import InterceptionScope
    from netfw.proxy.leaf_refusals import LeafRefusals
    from netfw.proxy.live import LiveConnections
    from netfw.proxy.own_pages import OwnPages
    from netfw.proxy.rates import Rates
    from netfw.proxy.recording import Recording
    from netfw.proxy.refusals import Refusals
    from netfw.proxy.responses import Explainer
    from netfw.proxy.upstream_pool import UpstreamPool
    from netfw.proxy.ways import Ways
    from netfw.tls.interception import HostIdentities
    from netfw.tls.upstream import UpstreamTls
    from netfw.transport.deadlines import Deadlines


class DataPlane:
    """Only `service.reconfiguration` replaces members, between two turns of the reactor.

    `now` is the wall clock (seconds since the epoch), `monotonic` the one for durations.

    `descriptors` is the IReactorFDSet that watches the data path's.

    `policies.current`, `resolver` and `dialer` are `IPolicySource`, `IResolver` and `IDialer`; `interception` is None
    where no interception CA is configured, `request_rates` where clients may ask as often as they like. `opaque` is
    where tunnels may carry what is neither TLS nor HTTP. `ways` is None where every exchange goes straight to its
    origin, from one set of addresses.
    """

    def __init__(
        self,
        *,
        configuration: Configuration,
        reactor: Any,
        descriptors: Any,
        deadlines: Deadlines,
        now: Callable[[], float],
        monotonic: Callable[[], float],
        policies: Any,
        resolver: Any,
        dialer: Any,
        guard: DestinationGuard,
        admission: Admission,
        scope: InterceptionScope,
        consistency: Consistency,
        opaque: DestinationList,
        leaf_refusals: LeafRefusals,
        interception: HostIdentities | None,
        upstream_tls: UpstreamTls,
        pool: UpstreamPool,
        recording: Recording,
        refusals: Refusals,
        live: LiveConnections,
        own_pages: OwnPages,
        explainer: Explainer,
        head_limits: HeadLimits,
        via: bytes,
        destinations: Destinations,
        request_rates: Rates | None,
        ways: Ways | None = None,
    ) -> None:
        self.configuration = configuration
        self.reactor: Any = reactor
        self.descriptors: Any = descriptors
        self.deadlines = deadlines
        self.now = now
        self.monotonic = monotonic
        self.policies: Any = policies
        self.resolver: Any = resolver
        self.dialer: Any = dialer
        self.guard = guard
        self.admission = admission
        self.scope = scope
        self.consistency = consistency
        self.opaque = opaque
        self.leaf_refusals = leaf_refusals
        self.interception = interception
        self.upstream_tls = upstream_tls
        self.pool = pool
        self.recording = recording
        self.refusals = refusals
        self.live = live
        self.own_pages = own_pages
        self.explainer = explainer
        self.head_limits = head_limits
        self.via = via
        self.destinations = destinations
        self.request_rates = request_rates
        self.ways = ways
