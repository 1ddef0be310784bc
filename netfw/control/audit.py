"""Audit records: who changed what, when, from where, and what was there before and after. PURE.

One JSON object a line, as records of exchanges are. Refused changes are recorded as well, with the code they were
refused with. Secrets are in none: what is signed with is named by its key's id. Not here: where the lines go
(`telemetry.record_log`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from netfw.control.differences import differences
from netfw.control.operations.call import Change
from netfw.control.roles import Caller
from netfw.control.service_model import Operation


def audit_line(
    *,
    now: float,
    request_id: str,
    caller: Caller,
    operation: str,
    about: Mapping[str, Any],
    outcome: str,
    changes: Sequence[Change] = (),
    generation: int | None = None,
) -> bytes:
    """The line. `about`: names and ARNs that the request gave; `outcome`: `done`, or the code of a refusal."""
    record = {
        "event": "audit",
        "at": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "id": request_id,
        "who": caller.name,
        "key": caller.key,
        "roles": sorted(role.value for role in caller.roles),
        "from": caller.origin,
        "operation": operation,
        "about": dict(about),
        "outcome": outcome,
        "generation": generation,
        "changes": [{"arn": change.arn, **differences(change.before, change.after)} for change in changes],
    }
    return json.dumps(record, separators=(",", ":"), default=str).encode("ascii") + b"\n"


def subject(operation: Operation, given: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a request that name what it is about; of an operation of ours all but tokens and documents."""
    if operation.own:
        return {
            name: value for name, value in given.items() if not isinstance(value, Mapping) and name != "UpdateToken"
        }
    return {
        name: value for name, value in given.items() if isinstance(value, str) and name.endswith(("Name", "Arn", "Id"))
    }
