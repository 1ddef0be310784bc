"""The whole answer to "why": the record, the verdict, the walk, as data and as lines of text. PURE.

`netfw why` and the manhole's `why` print the same. Text that a peer chose is made printable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from netfw.names.printable import printable
from netfw.policy.decision import Open
from netfw.policy.explain import Explanation, RuleState, RuleStep, result_as_data
from netfw.policy.model import PolicyConfiguration
from netfw.telemetry.decrypted_fields import NOTE, is_decrypted, veiled
from netfw.telemetry.denial_advice import Verdict, judge
from netfw.telemetry.denial_walk import Walk, destination, walk

_MOST_RULES = 12


@dataclass(frozen=True, slots=True)
class Asked:
    """A policy to walk; `source` says which it is. `policy` is None where there is none, and `source` says why."""

    policy: PolicyConfiguration | None
    source: str
    is_of_then: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of one exchange."""

    record: Mapping[str, Any]
    verdict: Verdict
    asked: Asked
    told: Walk
    notes: tuple[str, ...]

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        nearest = self.nearest
        return {
            "id": self.record.get("id"),
            "found": True,
            "kind": self.verdict.kind,
            "verdict": self.verdict.text,
            "advice": list(self.verdict.advice),
            "policy": {"source": self.asked.source, "of_then": self.asked.is_of_then},
            "differs": self.told.differs,
            "nearest": None if nearest is None else _step(nearest),
            "phases": [
                {
                    "phase": one.phase.value,
                    "result": result_as_data(one.result),
                    "rules": [_step(step) for step in one.steps if step.state is not RuleState.NOT_REACHED],
                }
                for one in self.told.phases
            ],
            "notes": list(self.notes),
            "record": dict(self.record),
        }

    @property
    def nearest(self) -> RuleStep | None:
        """The rule that would have given another outcome and came closest, where the walk ended."""
        return self.told.phases[-1].nearest if self.told.phases else None

    def lines(self) -> Iterator[str]:
        """For people; printable."""
        yield from map(printable, self._lines())

    def _lines(self) -> Iterator[str]:
        record = self.record
        yield f"{record.get('id')}: {self.verdict.text}"
        yield ""
        yield from (f"  {name:<9}{value}" for name, value in _facts(record))
        yield ""
        yield f"rules ({self.asked.source})"
        if self.told.differs:
            yield f"  note: {self.told.differs}"
        for explanation in self.told.phases:
            yield from _phase_lines(explanation)
        if self.nearest is not None:
            yield f"  nearest: {self.nearest.rule} would {self.nearest.action.value}, but {self.nearest.why}"
        if self.verdict.advice:
            yield ""
            yield "what to do"
            yield from (f"  {line}" for line in self.verdict.advice)
        for note in self.notes:
            yield ""
            yield f"note: {note}"


def report(
    record: Mapping[str, Any], asked: Asked, *, in_store: bool, decrypted: bool, notes: tuple[str, ...] = ()
) -> Report:
    """Work it out; a hundred thousand rules take a second. `decrypted`: may show what only decryption shows."""
    told = Walk((), None) if asked.policy is None else walk(asked.policy, record, decrypted=decrypted)
    verdict = judge(record, in_store=in_store)
    if is_decrypted(record) and not decrypted:
        record, notes = veiled(record), (*notes, NOTE)
    return Report(record, verdict, asked, told, notes)


def _step(step: RuleStep) -> dict[str, str]:
    return {"rule": str(step.rule), "action": step.action.value, "state": step.state.value, "why": step.why}


def _facts(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    at = record.get("started", record.get("event_timestamp"))
    if isinstance(at, int | float):
        yield "when", f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    who = f"{record.get('client_src_ip')} port {record.get('client_src_port')}"
    if record.get("client_identity"):
        who += f", {record['client_identity']}"
    yield "client", f"{who}, listener {record.get('listener')}"
    url = record.get("url")
    if url:
        query = f"?{url['query']}" if url.get("query") else ""
        yield (
            "asked",
            f"{record.get('http_method', '')} {url.get('scheme')}://{url.get('authority')}{url.get('path')}{query}",
        )
    elif destination(record):
        yield "asked", f"{record.get('http_method', '')} {destination(record)}:{record.get('dest_port')}"
    if record.get("dest_ip"):
        yield "address", f"{record['dest_ip']} port {record.get('dest_port')}"
    if record.get("tls"):
        yield "TLS", "intercepted" if record["tls"].get("intercepted") else "passed through"
    if record.get("http_status_code") is not None:
        origin = f" (the origin said {record['origin_status']})" if "origin_status" in record else ""
        yield "status", f"{record['http_status_code']}{origin}"
    error = record.get("error")
    if error:
        yield "error", f"{error.get('token')}: {error.get('message')}"
        if error.get("detail"):
            yield "detail", str(error["detail"])
    if record.get("first_alert_match"):
        yield "alert", str(record["first_alert_match"])
    if record.get("parent_id"):
        yield "inside", f"the tunnel {record['parent_id']}"


def _phase_lines(explanation: Explanation) -> Iterator[str]:
    result = explanation.result
    if isinstance(result, Open):
        yield f"  {explanation.phase.value}: not certain: {result.pending} waits for what the record does not keep"
    else:
        reason = f": {result.reason}" if result.reason else ""
        yield f"  {explanation.phase.value}: {result.action.value} by {result.rule}{reason}"
    reached = [step for step in explanation.steps if step.state is not RuleState.NOT_REACHED]
    shown = reached[-_MOST_RULES:]
    if len(reached) > len(shown):
        yield f"    {len(reached) - len(shown)} rules before do not decide"
    for step in shown:
        why = f"  ({step.why})" if step.why else ""
        yield f"    {step.action.value:<6}{step.rule}: {step.state.value}{why}"
