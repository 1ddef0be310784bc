"""What an exchange came to: allowed or denied, and by which rule. PURE.

Anything that is not an explicit ALLOW of every phase taken is a denial. An exchange that was allowed and failed
afterwards (the origin's fault, or the client left) stays allowed: what policy let out, the record calls let out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from netfw.errors import (
    Denied,
    LoopDetected,
    MisdirectedRequest,
    NetfwError,
    NotOffered,
    Overloaded,
    PolicyFailure,
    TooManyRequests,
    TunnelRefused,
)
from netfw.policy.model import Action

if TYPE_CHECKING:
    from netfw.policy.decision import Decision, RuleRef

# Refusals of the proxy's own that may come after a phase allowed: nothing went out for them.
_REFUSALS = (PolicyFailure, MisdirectedRequest, LoopDetected, NotOffered, Overloaded, TooManyRequests, TunnelRefused)
_ALLOW: Final = Action.ALLOW


def outcome(decisions: Sequence[Decision], error: NetfwError | None) -> tuple[bool, RuleRef | None]:
    """Was it allowed, and the rule that says so; no rule when a guard, a limit or the protocol ended it."""
    if not decisions:
        rule = None
        if isinstance(error, Denied) and error.decision is not None:
            rule = error.decision.rule  # type: ignore[attr-defined]  # errors.py imports no policy: it says `object`
        return False, rule
    for decision in decisions:
        if decision.action is not _ALLOW:
            return False, decision.rule
    if error is not None:
        if isinstance(error, Denied) and error.decision is not None:
            return False, error.decision.rule  # type: ignore[attr-defined]  # the same
        if error.fault == "policy" or isinstance(error, _REFUSALS):
            return False, None
    return True, decisions[-1].rule
