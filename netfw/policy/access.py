"""By which of its conditions a rule is found: the part of compiling that decides about indexes."""

from __future__ import annotations

from functools import lru_cache

from netfw.policy.indexes import AddressIndex, Index, NameIndex, TextIndex
from netfw.policy.keys import Key, Kind, find_key
from netfw.policy.large_table import LargeTable
from netfw.policy.model import Condition, Rule
from netfw.policy.operators import Comparison, Operator, SetPrefix, find_operator

IndexName = tuple[str, bytes | None, bool]
"""(fact, header field, whether case is folded): conditions with the same name share an index."""

SAMPLE = 16
"""Values of a condition that are looked at to judge how many rules share it."""

_INDEXED_KINDS = frozenset({Kind.TEXT, Kind.DOMAIN, Kind.PATH, Kind.NUMBER, Kind.ADDRESS})
_INDEXED_COMPARISONS = frozenset({Comparison.EQUALS, Comparison.EQUALS_IGNORE_CASE, Comparison.LIKE, Comparison.INSIDE})
_FACT_ORDER = {"destination_domain": 0, "destination_ip": 1, "source_ip": 1, "sni": 2, "http_host": 2, "path": 3}

Access = tuple[Condition, IndexName]


def possible_accesses(rule: Rule) -> list[Access]:
    """The conditions of a rule that can be looked up, each with its index. One with a pattern that matches everything
    is not worth it; of many values only the first are looked at for that, since an index serves any pattern.
    """
    found = []
    for condition in rule.conditions:
        name, pattern = _index_of(condition.key, condition.operator)
        if name is None or (pattern and not all(value.strip("*?") for value in condition.values[:SAMPLE])):
            continue
        found.append((condition, name))
    return found


def best_access(possible: list[Access], sharing: LargeTable[tuple[IndexName, str], int]) -> Access | None:
    """The one that the fewest rules share; names and addresses first where two are equal, for they are known first.

    `sharing` counts the rules by index and value; it is only looked at where there is a choice.
    """
    if len(possible) < 2:
        return possible[0] if possible else None

    def rank(access: Access) -> tuple[int, int]:
        condition, name = access
        shared = [sharing.get((name, value)) or 0 for value in condition.values[:SAMPLE]]
        return max(shared), _FACT_ORDER.get(name[0], 5)

    return min(possible, key=rank)


@lru_cache(maxsize=4096)
def _index_of(key_name: str, operator_name: str) -> tuple[IndexName | None, bool]:
    """(the index, whether values are patterns) for conditions of this key and operator; None: they have to be tried."""
    key, operator = find_key(key_name), find_operator(operator_name)
    if key is None or operator is None or not _indexable(key, operator):
        return None, False
    fold = operator.comparison is Comparison.EQUALS_IGNORE_CASE and key.kind is not Kind.DOMAIN
    return (key.attribute, key.field, fold), operator.comparison is Comparison.LIKE


def _indexable(key: Key, operator: Operator) -> bool:
    return (
        key.kind in _INDEXED_KINDS
        and operator.comparison in _INDEXED_COMPARISONS
        and not operator.negated
        and not operator.if_exists
        and operator.set_prefix is SetPrefix.NONE
    )


def new_index(key: Key, name: IndexName) -> Index:
    """An empty index for a key."""
    if key.kind is Kind.DOMAIN:
        return NameIndex(key)
    if key.kind is Kind.ADDRESS:
        return AddressIndex(key)
    return TextIndex(key, fold=name[2])
