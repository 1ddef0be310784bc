"""What the store asks of a proxy is carried out, once for each change of it."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from netfw.service.proxy_settings import NO_CA, ProxySettings
from netfw.store.resources import AskedOfProxy, StoredListener

PORT = StoredListener(8080, "HTTP")


class Listeners:
    """Remembers what was asked for; `unmet` is what it answers."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.unmet: tuple[str, ...] = ()

    def carry_out(self, asked: Any) -> Deferred[tuple[str, ...]]:
        """As `StoreListeners`."""
        self.asked.append(asked)
        return succeed(self.unmet)


def settings(configured: bool) -> tuple[ProxySettings, Listeners, list[bool]]:
    """With what it has turned."""
    turned: list[bool] = []

    def turn(on: bool, who: Any, reason: str) -> Deferred[dict[str, Any]]:
        assert who == {"store": "proxy edge"}
        turned.append(on)
        return succeed({"ok": True})

    listeners = Listeners()
    return ProxySettings("edge", configured=configured, turn=turn, listeners=listeners), listeners, turned  # type: ignore[arg-type]


def carried_out(made: ProxySettings, asked: AskedOfProxy) -> tuple[str, ...]:
    """What could not be."""
    found: list[tuple[str, ...]] = []
    made.carry_out(asked).addCallback(found.append)
    return found[0]


def test_only_a_change_in_the_store_turns_interception() -> None:
    """What was there all the time overrules nobody; who asks for nothing has what is configured."""
    made, _, turned = settings(configured=True)
    for intercepts, expected in (
        (True, []),
        (False, [False]),
        (False, [False]),
        (None, [False, True]),
        (True, [False, True]),
    ):
        assert carried_out(made, AskedOfProxy(None, intercepts)) == ()
        assert turned == expected


@pytest.mark.parametrize("intercepts", [True, False, None])
def test_without_a_ca_there_is_nothing_to_turn(intercepts: bool | None) -> None:
    """And who asks for it is told, each time."""
    made, _, turned = settings(configured=False)
    for _ in range(2):
        assert carried_out(made, AskedOfProxy(None, intercepts)) == ((NO_CA,) if intercepts else ())
    assert turned == []


def test_listeners_are_asked_for_and_what_cannot_be_is_told() -> None:
    """Beside what else cannot be."""
    made, listeners, _ = settings(configured=False)
    listeners.unmet = ("8080 HTTP cannot be opened",)
    assert carried_out(made, AskedOfProxy((PORT,), True)) == (NO_CA, "8080 HTTP cannot be opened")
    assert listeners.asked == [[(8080, "HTTP")]]
