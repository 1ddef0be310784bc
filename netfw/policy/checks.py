"""One condition as a function of the facts: FALSE, TRUE or PENDING.

Here a fact becomes the values that are compared: all values of a repeated header and the joined one, the path as it
came and in normal form, an address and the IPv4 address inside it. Where two readings disagree, a DENY or ALERT rule
matches if either does and an ALLOW rule only if both do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv6Address
from math import floor
from operator import attrgetter
from typing import Any

from netfw.names.address import unwrap
from netfw.policy.comparisons import Test, comparison_test
from netfw.policy.facts import ABSENT, INVISIBLE, NOT_YET, Address, Facts, Unknown
from netfw.policy.keys import Key, Kind, find_key
from netfw.policy.model import Action, Condition
from netfw.policy.operators import Family, Operator, SetPrefix, find_operator
from netfw.policy.paths import normal_path, normal_query
from netfw.policy.slices import Building, Slices, emptied, finished, portions_of_texts
from netfw.policy.values import trusted_value

FALSE, TRUE, PENDING = 0, 1, 2

Check = Callable[[Facts], int]
Reader = Callable[[Facts], Any]


def key_reader(key: Key) -> Reader:
    """A function that takes the key's value from the facts: an `Unknown`, a list of field values, or one value."""
    read: Reader = attrgetter(key.attribute)
    if key.field is None:
        return read
    field = key.field

    def read_field(facts: Facts) -> Any:
        fields = read(facts)
        if fields.__class__ is Unknown:
            return fields
        return fields.get_all(field) or ABSENT

    return read_field


def address_forms(address: Address) -> tuple[tuple[int, int], ...]:
    """(version, integer) of the address, then of the IPv4 address inside it. A mapped address is its IPv4 address."""
    if address.version == 4:
        return ((4, int(address)),)
    inner = unwrap(address)
    if inner is address or inner.version == 6:
        return ((6, int(address)),)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return ((4, int(inner)),)
    return ((6, int(address)), (4, int(inner)))


def condition_parts(condition: Condition) -> tuple[Key, Operator, Sequence[str]]:
    """Key, operator and texts of a condition that was checked at load; a mistake here is a bug and raises."""
    key, operator = find_key(condition.key), find_operator(condition.operator)
    if key is None or operator is None:
        raise ValueError(f"a condition that was not checked: {condition!r}")
    return key, operator, condition.values


def build_check(condition: Condition, action: Action) -> Check:
    """The check of a condition in a rule with this action."""
    return finished(build_in_slices(condition, action, []))


def build_in_slices(condition: Condition, action: Action, leftovers: list[Slices]) -> Building[Check]:
    """As `build_check`, a few values at a time. Appends what takes the check's tables apart in the end."""
    key, operator, texts = condition_parts(condition)
    values: list[Any] = []
    for portion in portions_of_texts(texts):
        values += [trusted_value(key, operator, text) for text in portion]
        yield
    if operator.family is Family.PRESENCE:
        return _presence_check(key, values)
    when_absent = operator.result_without_value(ABSENT)
    when_invisible = operator.result_without_value(INVISIBLE)
    read = key_reader(key)
    holds = yield from comparison_test(key, operator, values, leftovers)
    yield from emptied(values)
    test = fact_test(key, operator, holds, action)

    def check(facts: Facts) -> int:
        value = read(facts)
        if value.__class__ is Unknown:
            if value is NOT_YET:
                return PENDING
            return when_absent if value is ABSENT else when_invisible
        return test(value)

    return check


def _presence_check(key: Key, values: list[bool]) -> Check:
    read, when_absent, when_present = key_reader(key), True in values, False in values

    def check(facts: Facts) -> int:
        value = read(facts)
        if value.__class__ is Unknown:
            return PENDING if value is NOT_YET else when_absent
        return when_present

    return check


def fact_test(key: Key, operator: Operator, holds: Test, action: Action) -> Test:
    """The test of a whole known fact, made of the test of one value. Negation is applied here."""
    if key.field is not None:
        return _field_test(operator, holds)
    negated = operator.negated
    if key.kind in (Kind.PATH, Kind.ADDRESS):
        return _two_forms_test(key, holds, negated, action)
    if key.kind is Kind.PROTOCOL:
        always = holds("TCP")
        return lambda value: (always or holds(value)) is not negated
    if key.kind is Kind.DATE:
        return lambda value: holds(floor(value)) is not negated
    if negated:
        return lambda value: not holds(value)
    return holds


def _two_forms_test(key: Key, holds: Test, negated: bool, action: Action) -> Test:
    forms = fact_forms(key)
    every = action is Action.ALLOW
    first_only = every and key.kind is Kind.ADDRESS and not negated

    def test(value: Any) -> bool:
        found = forms(value)
        if len(found) == 1 or first_only:
            return holds(found[0]) is not negated
        first, second = holds(found[0]) is not negated, holds(found[1]) is not negated
        return first and second if every else first or second

    return test


def fact_forms(key: Key) -> Callable[[Any], tuple[Any, ...]]:
    """The one or two readings of a path, a query or an address."""
    if key.kind is Kind.ADDRESS:
        return address_forms
    normal = normal_form(key)

    def forms(text: bytes) -> tuple[bytes, ...]:
        other = normal(text)
        return (text,) if other == text else (text, other)

    return forms


def normal_form(key: Key) -> Callable[[bytes], bytes]:
    """What brings a path or a query into normal form."""
    return normal_query if key.attribute == "query" else normal_path


def _field_test(operator: Operator, holds: Test) -> Test:
    negated = operator.negated
    if operator.set_prefix is SetPrefix.ANY:
        return lambda values: any(holds(value) is not negated for value in values)
    if operator.set_prefix is SetPrefix.ALL:
        return lambda values: all(holds(value) is not negated for value in values)

    def test(values: list[bytes]) -> bool:
        if len(values) == 1:
            return holds(values[0]) is not negated
        return (any(map(holds, values)) or holds(b", ".join(values))) is not negated

    return test
