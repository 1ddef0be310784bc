"""What is different between two states of the store, in words: the plan of `netfw apply`, and `netfw diff`. PURE.

Rules are compared by name and phase: added, removed, changed, and moved where the order of those that stayed changed,
with as few called moved as there can be.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netfw.store.resources import PHASES

Document = Mapping[str, Any]
Documents = Mapping[tuple[str, str], Document]

KINDS = {"group": "rule group", "configuration": "configuration", "proxy": "proxy"}


@dataclass(frozen=True, slots=True)
class Difference:
    """One resource. `change` is added, removed or changed; `details` are lines, most of them about a rule each."""

    kind: str
    name: str
    change: str
    details: tuple[str, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {"kind": KINDS[self.kind], "name": self.name, "change": self.change, "details": list(self.details)}


def differences(before: Documents, after: Documents) -> tuple[Difference, ...]:
    """Every resource that differs, groups first."""
    return tuple(_differences(before, after))


def _differences(before: Documents, after: Documents) -> Iterator[Difference]:
    for kind in KINDS:
        for name in sorted({name for of, name in (*before, *after) if of == kind}):
            old, new = before.get((kind, name)), after.get((kind, name))
            if old == new:
                continue
            if old is None:
                assert new is not None
                yield Difference(kind, name, "added", tuple(_details(kind, {}, new)))
            elif new is None:
                yield Difference(kind, name, "removed")
            else:
                yield Difference(kind, name, "changed", tuple(_details(kind, old, new)))


def _details(kind: str, old: Document, new: Document) -> Iterator[str]:
    if old and old.get("Description") != new.get("Description"):
        yield "description changed"
    if kind == "group":
        for phase in PHASES:
            yield from _rules(phase, old.get("Rules", {}).get(phase, ()), new.get("Rules", {}).get(phase, ()))
    elif kind == "configuration":
        yield from _configuration(old, new)
    else:
        for member in new:
            if old and old.get(member) != new.get(member):
                yield f"{member} {old.get(member)} became {new.get(member)}"
        if not old:
            yield f"follows {new['ProxyConfigurationName']}"


def _rules(phase: str, old: Sequence[Document], new: Sequence[Document]) -> Iterator[str]:
    was = {rule["ProxyRuleName"]: rule for rule in old}
    now = {rule["ProxyRuleName"]: rule for rule in new}
    for name, rule in was.items():
        if name not in now:
            yield f"{phase}: rule {name} removed ({rule['Action']})"
    places = {name: place for place, name in enumerate(now)}
    moved = _moved([name for name in was if name in now], places)
    for place, (name, rule) in enumerate(now.items()):
        if name not in was:
            yield f"{phase}: rule {name} added at {place} ({rule['Action']})"
            continue
        if was[name] != rule:
            changed = ", ".join(sorted(_members_that_differ(was[name], rule)))
            yield f"{phase}: rule {name} changed ({changed})"
        if name in moved:
            yield f"{phase}: rule {name} moved from {list(was).index(name)} to {place}"


def _members_that_differ(old: Document, new: Document) -> Iterator[str]:
    for member in {*old, *new}:
        if old.get(member) != new.get(member):
            yield member


def _configuration(old: Document, new: Document) -> Iterator[str]:
    for phase in PHASES:
        was, now = old.get("DefaultRulePhaseActions", {}).get(phase), new["DefaultRulePhaseActions"][phase]
        if was != now:
            yield f"default action of {phase} is {now}" + (f", was {was}" if was is not None else "")
    before, after = list(old.get("RuleGroups", ())), list(new["RuleGroups"])
    for group in before:
        if group not in after:
            yield f"group {group} detached"
    moved = _moved([group for group in before if group in after], {group: place for place, group in enumerate(after)})
    for place, group in enumerate(after):
        if group not in before:
            yield f"group {group} attached at {place}"
        elif group in moved:
            yield f"group {group} moved from {before.index(group)} to {place}"


def _moved(stayed: Sequence[str], places: Mapping[str, int]) -> set[str]:
    """Those that are not part of the longest run that kept its order."""
    ends: list[int] = []
    last: list[int] = []
    before: list[int] = []
    sequence = [places[name] for name in stayed]
    for index, place in enumerate(sequence):
        length = bisect_left(ends, place)
        before.append(last[length - 1] if length else -1)
        if length == len(ends):
            ends.append(place)
            last.append(index)
        else:
            ends[length] = place
            last[length] = index
    kept: set[str] = set()
    index = last[-1] if last else -1
    while index >= 0:
        kept.add(stayed[index])
        index = before[index]
    return set(stayed) - kept
