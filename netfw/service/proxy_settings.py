"""What the store asks of this proxy besides its policy, carried out: its ports, and whether TLS is intercepted.

proxy.yaml says what may be. With `tls_intercept.mode: ENABLED` the store can turn interception off and on, without it
there is nothing to turn. Only a change in the store turns anything, so that who turns interception off on one machine
is not overruled by what was there all the time. Not here: who reads the store (`store_policy_source`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, succeed

from netfw.service.store_listeners import StoreListeners
from netfw.store.resources import AskedOfProxy

Turn = Callable[[bool, Mapping[str, Any], str], Deferred[dict[str, Any]]]
NO_CA = "TLS is to be intercepted, and tls_intercept.mode is DISABLED in this node's proxy.yaml"


class ProxySettings:
    """`configured` is how interception starts, `turn` turns it off and on."""

    def __init__(self, proxy: str, *, configured: bool, turn: Turn, listeners: StoreListeners) -> None:
        self._proxy = proxy
        self._configured = configured
        self._turn = turn
        self._listeners = listeners
        self._seen = configured

    def carry_out(self, asked: AskedOfProxy) -> Deferred[tuple[str, ...]]:
        """A Deferred of why it is not as asked, () when it is. May be called again for the same."""
        problems = (NO_CA,) if asked.intercepts and not self._configured else ()
        turned: Deferred[Any] = succeed(None)
        wanted = self._configured if asked.intercepts is None else asked.intercepts and self._configured
        if wanted is not self._seen:
            self._seen = wanted
            turned = self._turn(wanted, {"store": f"proxy {self._proxy}"}, "the store says so")
        turned.addCallback(lambda _: self._listeners.carry_out(asked.ports))
        return turned.addCallback(lambda unmet: problems + unmet)
