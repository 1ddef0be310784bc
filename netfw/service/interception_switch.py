"""Turning interception off and on again in the running proxy: who did it, when and why is on record.

In this room: the state, its audit record, and what `/status` says of it. Not here: whose TLS is intercepted while it is
on (`proxy.interception_scope`), and how workers hear of it (`workers.supervisor`).

A switch holds for tunnels that begin after it, through reloads of the policy and for workers that are replaced, and
until the proxy ends: a start does what the configuration says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger, LogLevel

from netfw.control.audit import audit_line
from netfw.control.operations.call import Change
from netfw.control.roles import Caller
from netfw.telemetry.event_names import INTERCEPTION_SWITCHED
from netfw.telemetry.log import tell
from netfw.telemetry.record_values import peer_text

_log = Logger()
NOT_CONFIGURED = "nothing is intercepted by configuration (tls_intercept.mode: DISABLED), so there is nothing to switch"


class InterceptionSwitch:
    """`apply` makes it so, everywhere; `record` takes a line for the records, `audit` one for those of the
    control API, in their form. `configured`: whether there is a CA."""

    def __init__(
        self,
        *,
        configured: bool,
        apply: Callable[[bool], Deferred[None]],
        record: Callable[[bytes], object],
        audit: Callable[[bytes], object],
        proxy_name: str,
        now: Callable[[], float],
    ) -> None:
        self.in_force = configured
        self._configured = configured
        self._apply = apply
        self._record = record
        self._audit = audit
        self._proxy_name = proxy_name
        self._now = now
        self._last: dict[str, Any] | None = None

    def describe(self) -> dict[str, Any]:
        """For the status: whether it is in force, and who last switched it."""
        return {"in_force": self.in_force, **({"switched": self._last} if self._last is not None else {})}

    def turn(self, on: bool, who: Mapping[str, Any], reason: str) -> Deferred[dict[str, Any]]:
        """Switch, and put it on record, also where it was so already. A Deferred of the result as a dict."""
        if not self._configured:
            return succeed({"ok": False, "in_force": False, "problems": [NOT_CONFIGURED]})
        changed, self.in_force = on is not self.in_force, on
        now = self._now()
        who = {name: peer_text(value) if isinstance(value, str) else value for name, value in who.items()}
        audit = {
            "event_timestamp": int(now),
            "proxy_name": self._proxy_name,
            "kind": "audit",
            "action": f"interception {'on' if on else 'off'}",
            "changed": changed,
            "who": who,
            **({"reason": peer_text(reason)} if reason else {}),
        }
        self._record(json.dumps(audit, separators=(",", ":")).encode("ascii") + b"\n")
        self._audit(_audited(now, on, changed, who, audit.get("reason")))
        tell(_log, INTERCEPTION_SWITCHED, level=LogLevel.warn, on=on, changed=changed, reason=reason, **who)
        if changed:
            self._last = {"at": int(now), "by": who, **({"reason": audit["reason"]} if reason else {})}
        result = {"ok": True, "changed": changed, **self.describe()}
        return self._apply(on).addCallback(lambda _: result)


def _audited(now: float, on: bool, changed: bool, who: Mapping[str, Any], reason: Any) -> bytes:
    """The line of `control.audit`. That they may was settled at the socket; the store speaks for whoever changed it."""
    if "store" in who:
        caller = Caller(str(who["store"]), frozenset(), origin="store")
    else:
        name = str(who.get("user") or f"uid {who.get('uid')}")
        caller = Caller(name, frozenset(), origin=f"socket, uid {who.get('uid')}, pid {who.get('pid')}")
    return audit_line(
        now=now,
        request_id=str(uuid4()),
        caller=caller,
        operation=f"intercept {'on' if on else 'off'}",
        about={} if reason is None else {"reason": reason},
        outcome="done",
        changes=[Change("interception", {"in_force": not on}, {"in_force": on})] if changed else [],
    )
