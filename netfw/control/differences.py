"""What changed between two states of a resource, for people who ask later: only what differs. PURE.

Lists of rules are compared rule by rule, by name, so that one changed rule of a thousand is one line; that the order
changed is said by the order itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]


def differences(before: Document | None, after: Document | None) -> dict[str, Any]:
    """`{"before": ..., "after": ...}` with what differs; a side that was not there is null."""
    if before is None or after is None:
        return {"before": _whole(before), "after": _whole(after)}
    old: dict[str, Any] = {}
    new: dict[str, Any] = {}
    for name in dict.fromkeys((*before, *after)):
        was, now = before.get(name), after.get(name)
        if was == now:
            continue
        if name == "Rules":
            was, now = _rules(was or {}, now or {})
        old[name], new[name] = was, now
    return {"before": old, "after": new}


def _whole(document: Document | None) -> dict[str, Any] | None:
    return (
        None if document is None else {name: value for name, value in document.items() if value not in (None, {}, [])}
    )


def _rules(before: Document, after: Document) -> tuple[dict[str, Any], dict[str, Any]]:
    """By phase: the rules that differ, and the names in order where the order of what stayed differs."""
    old: dict[str, Any] = {}
    new: dict[str, Any] = {}
    for phase in dict.fromkeys((*before, *after)):
        was, now = _by_name(before.get(phase, ())), _by_name(after.get(phase, ()))
        old[phase] = [rule for name, rule in was.items() if now.get(name) != rule]
        new[phase] = [rule for name, rule in now.items() if was.get(name) != rule]
        stayed_before = [name for name in was if name in now]
        stayed_after = [name for name in now if name in was]
        if stayed_before != stayed_after:
            old[f"{phase} order"], new[f"{phase} order"] = list(was), list(now)
    return _filled(old), _filled(new)


def _by_name(rules: Any) -> dict[str, Any]:
    return {rule["ProxyRuleName"]: rule for rule in rules}


def _filled(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value}
