"""What the store says of a proxy's interception is carried out, once for each change of it."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from netfw.service.proxy_settings import ProxySettings
from netfw.store.errors import StoreUnavailable
from netfw.store.resources import StoredProxy


class Proxies:
    """A store with one proxy, or none."""

    def __init__(self) -> None:
        self.mode: str | None = None
        self.is_away = False

    @property
    def proxies(self) -> "Proxies":
        """The collection."""
        return self

    def find(self, name: str) -> StoredProxy | None:
        """The proxy."""
        return None if self.mode is None else StoredProxy(name, "arn", "main", tls_mode=self.mode)

    def read(self, function: Any, *arguments: Any) -> Deferred[Any]:
        """As `IStore`."""
        return fail(StoreUnavailable("away")) if self.is_away else succeed(function(self, *arguments))


@pytest.mark.parametrize("configured", [True, False])
def test_only_a_change_in_the_store_turns_anything(configured: bool) -> None:
    """What was there all the time overrules nobody; a store that is away changes nothing."""
    store, clock, turned = Proxies(), Clock(), []

    def turn(on: bool, who: Any, reason: str) -> Deferred[dict[str, Any]]:
        turned.append(on)
        return succeed({"ok": True})

    settings = ProxySettings(clock, store, "edge", configured=configured, turn=turn)
    settings.startService()
    same, other = ("ENABLED", "DISABLED") if configured else ("DISABLED", "ENABLED")
    for mode, expected in ((same, []), (other, [not configured]), (other, [not configured])):
        store.mode = mode
        clock.advance(5.0)
        assert turned == expected
    store.is_away = True
    clock.advance(5.0)
    store.is_away = False
    store.mode = same
    clock.advance(5.0)
    assert turned == [not configured, configured]
    settings.stopService()
    assert clock.getDelayedCalls() == []
