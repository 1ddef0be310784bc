"""A policy on its way to workers: the messages that carry it, and what a worker makes of them. PURE.

They carry the checked policy's own lines (`config.policy_lines`), not the operator's file: a worker reads no policy
file and judges no spelling. A message holds some 64 KiB of lines, so that neither end has to take a large policy at
once. Not here: the messages' form (`messages`), when work is done (`policies`, `distribution`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable

from netfw.config.policy_lines import PolicyLines, print_policy
from netfw.policy.compile import CompiledPolicy, compile_in_slices
from netfw.policy.model import Phase, PolicyConfiguration
from netfw.policy.slices import Building
from netfw.workers.messages import LIMIT_TO_WORKER, MessageError, Snapshot, to_bytes

MESSAGE = 64 * 1024
"""As much as the reactor reads at a time."""

_END = b'"end"\n'


class SnapshotError(ValueError):
    """These lines are no policy."""


def print_snapshot(
    policy: PolicyConfiguration, serial: int, generation: int, at: float
) -> Generator[None, None, tuple[bytes, ...]]:
    """The messages that carry a policy, as bytes; yields between lines. Raises MessageError when one of them is larger
    than workers read.
    """
    printed: list[bytes] = []
    waiting: list[bytes] = []
    size = 0
    for line in print_policy(policy):
        waiting.append(line)
        size += len(line)
        if size >= MESSAGE:
            printed.append(_printed(serial, generation, at, waiting))
            waiting, size = [], 0
        yield
    if waiting:
        printed.append(_printed(serial, generation, at, waiting))
    return tuple(printed)


def _printed(serial: int, generation: int, at: float, lines: Iterable[bytes]) -> bytes:
    message = to_bytes(Snapshot(serial, generation, at, b"".join(lines)))
    if len(message) > LIMIT_TO_WORKER:
        raise MessageError(f"a line of the policy takes {len(message)} octets; workers read up to {LIMIT_TO_WORKER}")
    return message


def is_last(payload: bytes) -> bool:
    """Whether a policy ends with this message."""
    return payload == _END or payload.endswith(b"\n" + _END)


def compile_snapshot(payloads: list[bytes], generation: int, at: float) -> Building[CompiledPolicy]:
    """The policy of all the messages, compiled; yields every few milliseconds of work, and empties the list as it goes.
    Raises SnapshotError.
    """
    reader = PolicyLines()
    payloads.reverse()
    while payloads:
        for line in payloads.pop().splitlines():
            try:
                reader.take(line)
            except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
                raise SnapshotError(f"not a policy: {type(error).__name__}: {error}") from None
            yield
    if not reader.is_complete:
        raise SnapshotError("not a policy: it does not end")
    try:
        policy = reader.policy()
    except (ValueError, TypeError, LookupError) as error:
        raise SnapshotError(f"not a policy: {type(error).__name__}: {error}") from None
    if set(policy.defaults) != set(Phase):
        raise SnapshotError("not a policy: a phase is missing")
    yield
    del reader
    yield
    return (yield from compile_in_slices(policy, generation, at))
