"""One condition of a document to a `Condition`, or what is wrong with it.

Messages have the vendor's form, `Invalid condition at index 0 for rule x in preREQUEST rule phase: ...`, so that the
control API can hand them on as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from netfw.policy.keys import Key, find_key, nearest_key
from netfw.policy.long_tuple import in_parts
from netfw.policy.model import Condition, Phase
from netfw.policy.operators import FAMILY_OF_KIND, Family, Operator, SetPrefix, find_operator, nearest_operator
from netfw.policy.shape import Report, kind_of
from netfw.policy.values import ValueProblem, parse_value, quoted, unfit_characters

ReadValues = Callable[[str], list[str]]

CONDITION_MEMBERS = ("ConditionKey", "ConditionOperator", "ConditionValues", "ConditionValuesFile")


@dataclass(slots=True)
class ConditionPlace:
    """Where a condition stands: for its messages."""

    report: Report
    path: str
    index: int
    rule: str
    phase: Phase

    def refuse(self, member: str, detail: str) -> None:
        """Note a problem of one member of the condition."""
        where = f"Invalid condition at index {self.index} for rule {self.rule} in {self.phase.message_name} rule phase"
        self.report.add(f"{self.path}.{member}" if member else self.path, f"{where}: {detail}")


def read_condition(raw: object, place: ConditionPlace, read_values: ReadValues | None) -> Condition | None:
    """The condition, or None when there is a problem with it."""
    members = place.report.mapping(raw, place.path, CONDITION_MEMBERS, "a condition")
    if members is None:
        return None
    before = len(place.report.problems)
    key = _read_key(members.get("ConditionKey"), place)
    operator = _read_operator(members.get("ConditionOperator"), key, place)
    texts = _read_texts(members, operator, place, read_values)
    if key is not None and operator is not None and texts is not None:
        check_values(key, operator, texts, place)
    if len(place.report.problems) > before or key is None or operator is None or texts is None:
        return None
    return Condition(key.name, operator.name, in_parts(texts))


def _read_key(raw: object, place: ConditionPlace) -> Key | None:
    if not isinstance(raw, str):
        detail = "ConditionKey is missing" if raw is None else f"ConditionKey is text, not {kind_of(raw)}"
        place.refuse("ConditionKey", detail)
        return None
    key = _cached_key(raw)
    if key is None:
        place.refuse("ConditionKey", f"Unknown condition key {quoted(raw)}{_hint(nearest_key(raw))}")
        return None
    if place.phase not in key.phases:
        usable = " and ".join(phase.message_name for phase in Phase if phase in key.phases)
        place.refuse("ConditionKey", f"Condition key {key.name} is not known in this phase; it can be used in {usable}")
    return key


def _read_operator(raw: object, key: Key | None, place: ConditionPlace) -> Operator | None:
    if not isinstance(raw, str):
        detail = "ConditionOperator is missing" if raw is None else f"ConditionOperator is text, not {kind_of(raw)}"
        place.refuse("ConditionOperator", detail)
        return None
    operator = find_operator(raw)
    family = None if key is None else FAMILY_OF_KIND[key.kind]
    if operator is None:
        hint = _hint(nearest_operator(raw, family))
        place.refuse("ConditionOperator", f"Unknown condition operator {quoted(raw)}{hint}")
        return None
    if key is None:
        return operator
    if operator.set_prefix is not SetPrefix.NONE and not key.multi_valued:
        place.refuse("ConditionOperator", "Condition key does not support ForAnyValue or ForAllValues")
    if operator.family not in (family, Family.PRESENCE):
        assert family is not None
        place.refuse(
            "ConditionOperator",
            f"Condition operator {operator.name} does not fit condition key {key.name}, "
            f"whose value is of type {key.kind.value}; use one of the {family.value} operators",
        )
        return None
    return operator


def _read_texts(
    members: Any, operator: Operator | None, place: ConditionPlace, read_values: ReadValues | None
) -> list[str] | None:
    texts: list[str] = []
    path = f"{place.path}.ConditionValues"
    if "ConditionValues" in members or "ConditionValuesFile" not in members:
        raw = members.get("ConditionValues")
        if raw is None:
            place.refuse("ConditionValues", "ConditionValues is missing")
            return None
        before = len(place.report.problems)
        for number, value in enumerate(place.report.sequence(raw, path, "ConditionValues")):
            text = value if isinstance(value, str) else _text_of(value, operator)
            if text is None:
                place.refuse(f"ConditionValues[{number}]", f"a value is text, not {kind_of(value)}: put it in quotes")
            else:
                texts.append(text)
        if len(place.report.problems) > before:
            return None
    if "ConditionValuesFile" in members:
        from_file = _read_file(members["ConditionValuesFile"], place, read_values)
        if from_file is None:
            return None
        texts += from_file
    if not texts:
        place.refuse("ConditionValues", "a condition has at least one value")
        return None
    return texts


def _text_of(value: object, operator: Operator | None) -> str | None:
    """YAML reads numbers, dates and booleans by itself; where the operator wants them nothing is lost."""
    family = None if operator is None else operator.family
    if isinstance(value, bool):
        return str(value).lower() if family in (Family.BOOLEAN, Family.PRESENCE) else None
    if isinstance(value, int):
        return str(value) if family in (Family.NUMERIC, Family.DATE) and abs(value) < 10**19 else None
    if isinstance(value, float):
        return repr(value) if family is Family.NUMERIC else None
    if isinstance(value, date | datetime) and family is Family.DATE:
        return value.isoformat()
    return None


def _read_file(raw: object, place: ConditionPlace, read_values: ReadValues | None) -> list[str] | None:
    if not isinstance(raw, str) or not raw or unfit_characters(raw):
        place.refuse("ConditionValuesFile", "ConditionValuesFile is the path of a file with one value a line")
        return None
    if read_values is None:
        place.refuse("ConditionValuesFile", "files of values cannot be used here")
        return None
    try:
        texts = read_values(raw)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        place.refuse("ConditionValuesFile", f"{quoted(raw)} cannot be read: {reason}")
        return None
    if not texts:
        place.refuse("ConditionValuesFile", f"{quoted(raw)} holds no value")
        return None
    return texts


def check_values(key: Key, operator: Operator, texts: list[str], place: ConditionPlace) -> None:
    """Note every value that the key and the operator cannot take."""
    limit = place.report.limits.value_size
    for number, text in enumerate(texts):
        try:
            parse_value(key, operator, text)
        except ValueProblem as problem:
            place.refuse(f"ConditionValues[{number}]", str(problem))
            continue
        if limit is not None and len(text.encode("utf-8")) > limit:
            place.refuse(f"ConditionValues[{number}]", f"a value is at most {limit} bytes long")


@lru_cache(maxsize=1024)
def _cached_key(name: str) -> Key | None:
    return find_key(name)


def _hint(nearest: str | None) -> str:
    return f'; did you mean "{nearest}"?' if nearest is not None else ""
