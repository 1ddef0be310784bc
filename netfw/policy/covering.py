"""Which condition says everything that another one says: for warnings about rules that shadow others.

Every answer of True is certain; where it is not easy to see, the answer is False.
"""

from __future__ import annotations

from typing import Any

from netfw.policy.checks import condition_parts
from netfw.policy.comparisons import domain_parts
from netfw.policy.globs import glob_matcher, has_wildcard
from netfw.policy.keys import Key, Kind
from netfw.policy.model import Action, Condition, Rule
from netfw.policy.operators import Comparison, Family, Operator, SetPrefix
from netfw.policy.values import AddressRange, trusted_value

_MANY = 250_000
"""Pairs of values beyond which only equal values are looked for."""

_ALWAYS_KNOWN = frozenset({"source_ip", "source_port", "destination_domain", "destination_port", "protocol", "time"})


def always_true(condition: Condition) -> bool:
    """Whether the condition holds for every exchange."""
    key, operator, texts = condition_parts(condition)
    if key.attribute not in _ALWAYS_KNOWN:
        return False  # even "absent or not" is open as long as it is not known, and a later rule may decide meanwhile
    if operator.family is Family.PRESENCE:
        return "false" in texts
    if operator.negated:
        return False
    if key.kind is Kind.PROTOCOL:
        return "TCP" in texts
    if operator.comparison is Comparison.LIKE:
        return any(not text.strip("*") for text in texts)
    return key.kind is Kind.ADDRESS and {"0.0.0.0/0", "::/0"} <= set(texts)


def rule_covers(wide: Rule, narrow: Rule) -> bool:
    """Whether `wide` matches whenever `narrow` does.

    An ALLOW rule reads a path or an address strictly and the others read it broadly, so it covers none of those.
    """
    strict = wide.action is Action.ALLOW and narrow.action is not Action.ALLOW
    return all(
        always_true(condition)
        or (
            not (strict and condition_parts(condition)[0].kind in (Kind.PATH, Kind.ADDRESS))
            and any(condition_covers(condition, other) for other in narrow.conditions)
        )
        for condition in wide.conditions
    )


def condition_covers(wide: Condition, narrow: Condition) -> bool:
    """Whether `wide` is true whenever `narrow` is."""
    wide_key, wide_operator, wide_texts = condition_parts(wide)
    key, operator, texts = condition_parts(narrow)
    if (wide_key.attribute, wide_key.field) != (key.attribute, key.field):
        return False
    if wide_operator == operator:
        if operator.set_prefix is SetPrefix.ALL:
            return set(wide_texts) == set(texts)
        if set(wide_texts) == set(texts):
            return True
        if operator.negated:
            return operator.set_prefix is SetPrefix.NONE and set(wide_texts) <= set(texts)
    if operator.negated or wide_operator.negated or operator.if_exists or wide_operator.if_exists:
        return False
    if operator.set_prefix is not SetPrefix.NONE or wide_operator.set_prefix is not SetPrefix.NONE:
        return False
    if not _comparable(wide_operator.comparison, operator.comparison):
        return False
    wide_values = [trusted_value(wide_key, wide_operator, text) for text in wide_texts]
    if len(wide_texts) * len(texts) > _MANY:
        return set(texts) <= set(wide_texts) and wide_operator == operator
    return all(
        any(value_covers(wide_operator, key, one, trusted_value(key, operator, text)) for one in wide_values)
        for text in texts
    )


def _comparable(wide: Comparison, narrow: Comparison) -> bool:
    return wide == narrow if wide is not Comparison.LIKE else narrow in (Comparison.LIKE, Comparison.EQUALS)


def value_covers(operator: Operator, key: Key, wide: Any, narrow: Any) -> bool:
    """Whether everything that equals or matches `narrow` equals or matches `wide`, under the operator of `wide`."""
    if isinstance(wide, AddressRange) and isinstance(narrow, AddressRange):
        return wide.version == narrow.version and wide.first <= narrow.first and narrow.last <= wide.last
    if wide == narrow:
        return True
    if isinstance(wide, bool):
        return False  # of Null, whatever the key is
    if key.kind is Kind.DOMAIN:
        return _domain_covers(wide, narrow)
    return operator.comparison is Comparison.LIKE and _pattern_covers(wide, narrow)


def _domain_covers(wide: str, narrow: str) -> bool:
    name, suffix = domain_parts(narrow)
    wide_name, wide_suffix = domain_parts(wide)
    if wide_name is None and wide_suffix is None:
        if suffix is None:
            return _pattern_covers(wide, narrow)
        matches = glob_matcher(wide)
        return "?" not in wide and matches("*" + suffix) and (name is None or matches(name))
    if name is not None and name != wide_name and not (wide_suffix is not None and name.endswith(wide_suffix)):
        return False
    if suffix is not None:
        return wide_suffix is not None and suffix.endswith(wide_suffix)
    # A pattern such as `api*.example.com` lies below `.example.com` when what follows its last wildcard says so.
    if name is None:
        tail = narrow[max(narrow.rfind("*"), narrow.rfind("?")) + 1 :]
        return wide_suffix is not None and tail.endswith(wide_suffix)
    return True


def _pattern_covers(wide: Any, narrow: Any) -> bool:
    """A pattern that matches another pattern's text, taken letter by letter, covers it: `*` eats `*` and `?` alike."""
    mark = "?" if isinstance(wide, str) else b"?"
    if not has_wildcard(wide) or (mark in wide and has_wildcard(narrow)):
        return False
    return glob_matcher(wide)(narrow)
