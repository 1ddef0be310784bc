"""Interception off and on: what is applied, put on record and said of it."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred, succeed

from netfw.service.interception_switch import NOT_CONFIGURED, InterceptionSwitch
from netfw.testing.deferreds import result_of

WHO = {"uid": 0, "user": "root", "pid": 7}


class Proxy:
    """What a switch works on."""

    def __init__(self, configured: bool = True) -> None:
        self.applied: list[bool] = []
        self.records: list[dict[str, Any]] = []
        self.audits: list[dict[str, Any]] = []
        self.waiting: Deferred[None] | None = None
        self.switch = InterceptionSwitch(
            configured=configured,
            apply=self.apply,
            record=lambda line: self.records.append(json.loads(line)),
            audit=lambda line: self.audits.append(json.loads(line)),
            proxy_name="test",
            now=lambda: 1000.5,
        )

    def apply(self, on: bool) -> Deferred[None]:
        self.applied.append(on)
        return succeed(None) if self.waiting is None else self.waiting


def test_off_is_applied_recorded_and_described():
    """With who, when and why; nothing that an operator writes breaks the line."""
    proxy = Proxy()
    assert proxy.switch.describe() == {"in_force": True}
    found = result_of(proxy.switch.turn(False, WHO, 'why "not"\u202e'))
    switched = {"at": 1000, "by": WHO, "reason": 'why "not"\u202e'}
    assert found == {"ok": True, "changed": True, "in_force": False, "switched": switched}
    assert proxy.applied == [False]
    assert proxy.records == [
        {"event_timestamp": 1000, "proxy_name": "test", "kind": "audit", "action": "interception off", "changed": True,
         "who": WHO, "reason": 'why "not"\u202e'}
    ]  # fmt: skip
    assert proxy.switch.describe() == {"in_force": False, "switched": switched}


def test_again_changes_nothing_but_the_record():
    """It is applied once more all the same: a worker may have missed it."""
    proxy = Proxy()
    assert result_of(proxy.switch.turn(True, WHO, ""))["changed"] is False
    assert proxy.applied == [True]
    assert [record["changed"] for record in proxy.records] == [False]
    assert proxy.switch.describe() == {"in_force": True}


def test_the_answer_waits_for_the_workers():
    """Who is told that it is off can rely on it."""
    proxy = Proxy()
    proxy.waiting = Deferred()
    found: list[Any] = []
    proxy.switch.turn(False, WHO, "").addCallback(found.append)
    assert found == []
    proxy.waiting.callback(None)
    assert found[0]["ok"] is True


def test_nothing_to_switch():
    """Without a CA there is nothing to turn on."""
    proxy = Proxy(configured=False)
    assert result_of(proxy.switch.turn(True, WHO, "")) == {"ok": False, "in_force": False, "problems": [NOT_CONFIGURED]}
    assert (proxy.applied, proxy.records, proxy.audits) == ([], [], [])


def test_each_switching_is_an_audit_record_in_the_form_of_the_api():
    """Who, from where, why, before and after; without a change, that it was asked for."""
    proxy = Proxy()
    for on, who, reason in (
        (False, WHO, "ticket 42"),
        (False, {**WHO, "user": ""}, ""),
        (True, {"store": "proxy p"}, ""),
    ):
        result_of(proxy.switch.turn(on, who, reason))
    off, again, on_again = proxy.audits
    assert (off["event"], off["operation"], off["outcome"]) == ("audit", "intercept off", "done")
    assert (off["who"], off["from"], off["about"]) == ("root", "socket, uid 0, pid 7", {"reason": "ticket 42"})
    assert off["changes"] == [{"arn": "interception", "before": {"in_force": True}, "after": {"in_force": False}}]
    assert (again["who"], again["changes"], again["about"]) == ("uid 0", [], {})
    assert (on_again["operation"], on_again["who"], on_again["from"]) == ("intercept on", "proxy p", "store")
    assert len({one["id"] for one in proxy.audits}) == 3
