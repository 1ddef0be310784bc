"""By which of its conditions a rule is found: the part of compiling that decides about indexes."""

from __future__ import annotations

from collections.abc import Mapping

from netfw.policy.indexes import AddressIndex, Index, NameIndex, TextIndex
from netfw.policy.keys import Key, Kind, find_key
from netfw.policy.model import Condition, Rule
from netfw.policy.operators import Comparison, Operator, SetPrefix, find_operator

IndexName = tuple[str, bytes | None, bool]
"""(fact, header field, whether case is folded): conditions with the same name share an index."""

SAMPLE = 16
"""Values of a condition that are looked at to judge how many rules share it."""

_INDEXED_KINDS = frozenset({Kind.TEXT, Kind.DOMAIN, Kind.PATH, Kind.NUMBER, Kind.ADDRESS})
_INDEXED_COMPARISONS = frozenset({Comparison.EQUALS, Comparison.EQUALS_IGNORE_CASE, Comparison.LIKE, Comparison.INSIDE})
_FACT_ORDER = {"destination_domain": 0, "destination_ip": 1, "source_ip": 1, "sni": 2, "http_host": 2, "path": 3}


def best_access(rule: Rule, sharing: Mapping[tuple[str, str], int]) -> tuple[Condition, IndexName] | None:
    """The condition and its index: the one that the fewest rules share, or None when no condition can be looked up.

    `sharing` counts the conditions by key and value. Where two are equal, names and addresses go first: they are known
    before anything else.
    """
    best: tuple[Condition, IndexName] | None = None
    best_rank = (0, 0)
    for condition in rule.conditions:
        name = index_name(condition)
        if name is None:
            continue
        load = max(sharing[condition.key, value] for value in condition.values[:SAMPLE])
        rank = (load, _FACT_ORDER.get(name[0], 5))
        if best is None or rank < best_rank:
            best, best_rank = (condition, name), rank
    return best


def index_name(condition: Condition) -> IndexName | None:
    """The index that the condition can be looked up in; None: it has to be tried."""
    key, operator = find_key(condition.key), find_operator(condition.operator)
    if key is None or operator is None or not _indexable(key, operator):
        return None
    if operator.comparison is Comparison.LIKE and any(not value.strip("*?") for value in condition.values):
        return None
    fold = operator.comparison is Comparison.EQUALS_IGNORE_CASE and key.kind is not Kind.DOMAIN
    return key.attribute, key.field, fold


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
