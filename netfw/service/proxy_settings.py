"""What the store says of this proxy besides its policy, carried out: whether TLS is intercepted.

proxy.yaml says what may be: with `tls_intercept.mode: ENABLED` the store can turn interception off and on, without it
there is nothing to turn. Only a change in the store turns anything, so that who turns interception off on one machine
is not overruled by what was there all the time. Not here: the policy (`store_policy_source`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from netfw.interfaces import IStore
from netfw.store.errors import StoreError

_SECONDS = 5.0
_log = Logger()

Turn = Callable[[bool, Mapping[str, Any], str], Deferred[dict[str, Any]]]


class ProxySettings(Service):
    """Looks every few seconds, and when `look` is called. `configured` is how interception starts."""

    def __init__(self, reactor: Any, store: IStore, proxy: str, *, configured: bool, turn: Turn) -> None:
        self._store = store
        self._proxy = proxy
        self._turn = turn
        self._seen = configured
        self._looking = LoopingCall(self.look)
        self._looking.clock = reactor

    def startService(self) -> None:
        """Begin to look."""
        super().startService()
        self._looking.start(_SECONDS, now=True)

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()
        if self._looking.running:
            self._looking.stop()

    def look(self, *_ignored: object) -> Deferred[None]:
        """See whether the store wants something else than it did."""
        return self._store.read(_wanted, self._proxy).addCallbacks(self._apply, self._away)

    def _apply(self, wanted: bool | None) -> Any:
        if wanted is None or wanted is self._seen or not self.running:
            return None
        self._seen = wanted
        turned = self._turn(wanted, {"store": f"proxy {self._proxy}"}, "the store says so")
        return turned.addCallback(lambda _result: None)

    def _away(self, failure: Any) -> None:
        if failure.check(StoreError) is None:
            _log.failure("the proxy's settings in the store cannot be read", failure=failure)


def _wanted(transaction: Any, proxy: str) -> bool | None:
    found = transaction.proxies.find(proxy)
    return None if found is None else found.tls_mode == "ENABLED"
