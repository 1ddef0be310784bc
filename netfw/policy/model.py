"""A policy as data: configuration, groups, rules, conditions.

What is here was checked by `policy.load`; nothing here evaluates. The words are the vendor's (ProxyConfiguration,
ProxyRuleGroup, ProxyRule, Condition); `conditions` of a rule are ANDed, `values` of a condition are ORed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum


class Phase(Enum):
    """The three moments at which rules are looked at. `value` is the document's and the API's spelling.

    `hook` is the spelling of records, `message_name` that of the vendor's validation messages, `order` the place in
    time.
    """

    hook: str
    message_name: str
    order: int

    PRE_DNS = "PreDNS", "pre_dns", "preDNS", 0
    PRE_REQUEST = "PreREQUEST", "pre_request", "preREQUEST", 1
    POST_RESPONSE = "PostRESPONSE", "post_response", "postRESPONSE", 2

    def __new__(cls, value: str, hook: str, message_name: str, order: int) -> Phase:
        member = object.__new__(cls)
        member._value_ = value
        member.hook = hook
        member.message_name = message_name
        member.order = order
        return member


class Action(Enum):
    """What a rule does when it matches. There is no value for "nothing decided"."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    ALERT = "ALERT"


@dataclass(frozen=True, slots=True)
class Condition:
    """One test of one key. `operator` is printed as it was written: prefix, name and suffix together. `values` is a
    tuple, or a `LongTuple`.
    """

    key: str
    operator: str
    values: Sequence[str]


@dataclass(frozen=True, slots=True)
class Rule:
    """`not_after`: seconds since the epoch from which on the rule is skipped; None: never."""

    name: str
    action: Action
    conditions: tuple[Condition, ...]
    description: str | None = None
    not_after: float | None = None
    owner: str | None = None
    ticket: str | None = None


@dataclass(frozen=True, slots=True)
class RuleGroup:
    """A named container of rules. `rules` has all three phases, each in order of position: a tuple or `LongTuple`."""

    name: str
    rules: Mapping[Phase, Sequence[Rule]]
    description: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyConfiguration:
    """Default actions and the attached groups in order of priority. `defaults` has all three phases.

    `unattached`: groups of the documents that the configuration does not name; they are not evaluated.
    """

    name: str
    defaults: Mapping[Phase, Action]
    groups: tuple[RuleGroup, ...]
    description: str | None = None
    unattached: tuple[RuleGroup, ...] = ()

    def rules(self, phase: Phase) -> Iterator[tuple[RuleGroup, Rule]]:
        """Every rule of a phase in the order in which it is evaluated."""
        for group in self.groups:
            for rule in group.rules[phase]:
                yield group, rule
