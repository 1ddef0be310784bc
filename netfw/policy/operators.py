"""The condition operators: families, negation, prefixes and suffixes.

The families and their meaning are IAM's; `ForAnyValue:` and `ForAllValues:` stand in front, `IfExists` behind. What an
operator does with a key that has no value is said here, once, in `Operator.result_without_value`.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum

from netfw.policy.facts import Unknown
from netfw.policy.keys import Kind


class Family(Enum):
    """Operators that compare the same type of value."""

    STRING = "String"
    NUMERIC = "Numeric"
    DATE = "Date"
    ADDRESS = "IP address"
    BOOLEAN = "Bool"
    PRESENCE = "Null"


class Comparison(Enum):
    """What an operator asks of a value, its negation set aside."""

    EQUALS = "equals"
    EQUALS_IGNORE_CASE = "equals, letters of either case"
    LIKE = "matches the pattern"
    LESS = "is less than"
    LESS_EQUAL = "is at most"
    GREATER = "is greater than"
    GREATER_EQUAL = "is at least"
    INSIDE = "lies inside the network"
    ABSENT = "is absent"


class SetPrefix(Enum):
    """How the several values of a multi-valued key are taken together."""

    NONE = ""
    ANY = "ForAnyValue:"
    ALL = "ForAllValues:"


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator as written in a condition."""

    name: str
    family: Family
    comparison: Comparison
    negated: bool = False
    set_prefix: SetPrefix = SetPrefix.NONE
    if_exists: bool = False

    def result_without_value(self, state: Unknown) -> bool:
        """What a condition gives for a key that is ABSENT or INVISIBLE.

        `Null` is not asked here: its result depends on its value. A key that this exchange never shows does not match,
        not even a negated operator, unless `IfExists` says so; a key that is absent follows IAM.
        """
        if self.if_exists:
            return True
        if state is Unknown.INVISIBLE:
            return False
        if self.set_prefix is SetPrefix.NONE:
            return self.negated
        return self.set_prefix is SetPrefix.ALL


def _family(family: Family, *names: tuple[str, Comparison, bool]) -> list[Operator]:
    return [Operator(name, family, comparison, negated) for name, comparison, negated in names]


TABLE: tuple[Operator, ...] = (
    *_family(
        Family.STRING,
        ("StringEquals", Comparison.EQUALS, False),
        ("StringNotEquals", Comparison.EQUALS, True),
        ("StringEqualsIgnoreCase", Comparison.EQUALS_IGNORE_CASE, False),
        ("StringNotEqualsIgnoreCase", Comparison.EQUALS_IGNORE_CASE, True),
        ("StringLike", Comparison.LIKE, False),
        ("StringNotLike", Comparison.LIKE, True),
    ),
    *_family(
        Family.NUMERIC,
        ("NumericEquals", Comparison.EQUALS, False),
        ("NumericNotEquals", Comparison.EQUALS, True),
        ("NumericLessThan", Comparison.LESS, False),
        ("NumericLessThanEquals", Comparison.LESS_EQUAL, False),
        ("NumericGreaterThan", Comparison.GREATER, False),
        ("NumericGreaterThanEquals", Comparison.GREATER_EQUAL, False),
    ),
    *_family(
        Family.DATE,
        ("DateEquals", Comparison.EQUALS, False),
        ("DateNotEquals", Comparison.EQUALS, True),
        ("DateLessThan", Comparison.LESS, False),
        ("DateLessThanEquals", Comparison.LESS_EQUAL, False),
        ("DateGreaterThan", Comparison.GREATER, False),
        ("DateGreaterThanEquals", Comparison.GREATER_EQUAL, False),
    ),
    *_family(
        Family.ADDRESS,
        ("IpAddress", Comparison.INSIDE, False),
        ("NotIpAddress", Comparison.INSIDE, True),
    ),
    *_family(Family.BOOLEAN, ("Bool", Comparison.EQUALS, False)),
    *_family(Family.PRESENCE, ("Null", Comparison.ABSENT, False)),
)

FAMILY_OF_KIND: dict[Kind, Family] = {
    Kind.TEXT: Family.STRING,
    Kind.DOMAIN: Family.STRING,
    Kind.PATH: Family.STRING,
    Kind.PROTOCOL: Family.STRING,
    Kind.NUMBER: Family.NUMERIC,
    Kind.DATE: Family.DATE,
    Kind.ADDRESS: Family.ADDRESS,
    Kind.BOOLEAN: Family.BOOLEAN,
}

IF_EXISTS = "IfExists"
OPERATORS: dict[str, Operator] = {operator.name: operator for operator in TABLE}
"""Every spelling: with each prefix and suffix that makes sense."""

for _operator in TABLE:
    if _operator.family is not Family.PRESENCE:
        _name = _operator.name + IF_EXISTS
        OPERATORS[_name] = Operator(
            _name, _operator.family, _operator.comparison, _operator.negated, SetPrefix.NONE, if_exists=True
        )
for _prefix in (SetPrefix.ANY, SetPrefix.ALL):
    for _operator in [operator for operator in OPERATORS.values() if operator.set_prefix is SetPrefix.NONE]:
        if _operator.family is not Family.PRESENCE:
            _name = _prefix.value + _operator.name
            OPERATORS[_name] = Operator(
                _name, _operator.family, _operator.comparison, _operator.negated, _prefix, _operator.if_exists
            )


def find_operator(name: str) -> Operator | None:
    """The operator of this name, prefix and suffix included. Names are case-sensitive."""
    return OPERATORS.get(name)


def nearest_operator(name: str, family: Family | None) -> str | None:
    """The operator that the writer most likely meant, out of those that fit the key's type."""
    fitting = [op.name for op in OPERATORS.values() if family is None or op.family in (family, Family.PRESENCE)]
    folded = {candidate.lower(): candidate for candidate in fitting}
    lowered = name[:64].lower()
    close = [lowered] if lowered in folded else get_close_matches(lowered, list(folded), n=1, cutoff=0.6)
    return folded[close[0]] if close else None
