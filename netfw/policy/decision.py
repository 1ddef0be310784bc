"""What an evaluation gives: a Decision, or Open when a fact that is not yet known could still change it.

Neither has a default action: whoever makes a Decision says which.
"""

from __future__ import annotations

from dataclasses import dataclass

from netfw.policy.model import Action, Phase

DEFAULT_RULE = "default"


@dataclass(frozen=True, slots=True)
class RuleRef:
    """Which rule. The default action of a phase has an empty group and the name `default`."""

    group: str
    name: str
    phase: Phase

    def __str__(self) -> str:
        return f"{self.group}/{self.name}" if self.group else self.name


@dataclass(frozen=True, slots=True)
class Match:
    """A rule that matched, and what it did."""

    rule: RuleRef
    action: Action


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of a phase.

    `action` is ALLOW or DENY. `matches`: the alerts on the way, in order, then the terminal match. A default action of
    ALERT appears as an ALERT and then an ALLOW match of the rule `default`. `reason`: the Description of the rule.
    """

    phase: Phase
    action: Action
    rule: RuleRef
    matches: tuple[Match, ...]
    reason: str | None

    @property
    def allowed(self) -> bool:
        """Whether the exchange may go on."""
        return self.action is Action.ALLOW


@dataclass(frozen=True, slots=True)
class Open:
    """Not certain yet: `pending` is the first ALLOW or DENY rule that waits for a fact."""

    phase: Phase
    pending: RuleRef
