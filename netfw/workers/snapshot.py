"""A policy as the bytes that travel to a worker, and back. PURE.

They are the checked policy's plain form, not the operator's file: a worker reads no policy file and judges no spelling.
Not here: the message that carries them (`messages`), compiling (`policy.compile`).
"""

from __future__ import annotations

import json

from netfw.policy.model import PolicyConfiguration
from netfw.workers.plain import PlainError, from_plain, to_plain


class SnapshotError(ValueError):
    """These bytes are no policy."""


def policy_to_bytes(policy: PolicyConfiguration) -> bytes:
    """The policy as ASCII JSON."""
    return json.dumps(to_plain(policy), separators=(",", ":"), allow_nan=False).encode("ascii")


def policy_from_bytes(data: bytes) -> PolicyConfiguration:
    """The policy that `policy_to_bytes` was given. Raises SnapshotError."""
    try:
        policy = from_plain(PolicyConfiguration, json.loads(data))
    except (PlainError, ValueError, RecursionError) as error:
        raise SnapshotError(f"not a policy: {error}") from None
    phases = set(policy.defaults)
    complete = all(set(group.rules) == phases for group in (*policy.groups, *policy.unattached))
    if len(phases) != 3 or not complete:
        raise SnapshotError("not a policy: a phase is missing")
    return policy
