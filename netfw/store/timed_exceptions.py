"""Timed exceptions: rules with an owner, a reason and an end, in a group of their own that is looked at first.

An exception lets a destination pass in PreDNS and PreREQUEST whatever the groups behind it say; PostRESPONSE still
judges what comes back. When its time is over its rules are skipped; they stay in sight until somebody clears them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from netfw.policy.load import load_group
from netfw.policy.model import Phase
from netfw.policy.printing import rule_document, time_text
from netfw.policy.short_form import expand
from netfw.store.repository import Transaction
from netfw.store.resources import PHASES, StoredGroup

GROUP = "exceptions"


@dataclass(frozen=True, slots=True)
class TimedException:
    """`name` is that of its first rule; `entry` what was allowed, in the short form."""

    name: str
    entry: str
    owner: str | None
    why: str | None
    ticket: str | None
    until: float

    def is_over(self, now: float) -> bool:
        """Whether its time has passed."""
        return self.until <= now


def add_exception(
    transaction: Transaction,
    configuration: str,
    asked: TimedException,
    editor: str,
    arn_of: Callable[[str, str], str],
    group_name: str = GROUP,
) -> tuple[TimedException, int]:
    """Let it pass from now on; return it with its name, and the generation. Raises ValueProblem for the entry."""
    expanded = expand("allow", 1, asked.entry)
    group = transaction.groups.find(group_name)
    present = group if group is not None else _empty(group_name, arn_of("group", group_name))
    name = _free_name(asked.entry, present)
    rules = {phase: list(present.rules[phase]) for phase in PHASES}
    for phase, rule in expanded:
        named = replace(
            rule,
            name=name if phase is Phase.PRE_DNS else f"{name}-request",
            description=asked.why,
            owner=asked.owner,
            ticket=asked.ticket,
            not_after=asked.until,
        )
        rules[phase.value].append(rule_document(named))
    changed = replace(present, rules={phase: tuple(rules[phase]) for phase in PHASES})
    load_group(changed.document(), group_name)
    if group is None:
        transaction.groups.add(changed)
    else:
        transaction.groups.replace(changed, group.update_token)
    found = transaction.configurations.get(configuration)
    if group_name not in found.groups:
        transaction.configurations.replace(replace(found, groups=(group_name, *found.groups)), found.update_token)
    summary = f"allow {asked.entry} until {time_text(asked.until)}: {asked.why}"
    return replace(asked, name=name), transaction.bump_generation(editor, summary)


def list_exceptions(transaction: Transaction, group_name: str = GROUP) -> list[TimedException]:
    """Those of the group, in the order in which they were made."""
    group = transaction.groups.find(group_name)
    if group is None:
        return []
    loaded = load_group(group.document(), group_name)
    return [
        TimedException(rule.name, _entry(rule.conditions), rule.owner, rule.description, rule.ticket, rule.not_after)
        for rule in loaded.rules[Phase.PRE_DNS]
        if rule.not_after is not None
    ]


def end_exceptions(
    transaction: Transaction, wanted: Callable[[TimedException], bool], editor: str, group_name: str = GROUP
) -> tuple[list[TimedException], int | None]:
    """Take those that are wanted out; return them, and the generation, None when there were none."""
    doomed = [one for one in list_exceptions(transaction, group_name) if wanted(one)]
    if not doomed:
        return [], None
    group = transaction.groups.get(group_name)
    names = {name for one in doomed for name in (one.name, f"{one.name}-request")}
    rules = {
        phase: tuple(rule for rule in group.rules[phase] if rule["ProxyRuleName"] not in names) for phase in PHASES
    }
    transaction.groups.replace(replace(group, rules=rules), group.update_token)
    return doomed, transaction.bump_generation(editor, f"end of exceptions: {', '.join(one.name for one in doomed)}")


def _empty(name: str, arn: str) -> StoredGroup:
    return StoredGroup(name, arn, dict.fromkeys(PHASES, ()), "timed exceptions, looked at first")


def _free_name(entry: str, group: StoredGroup) -> str:
    stem = re.sub(r"[^a-z0-9]+", "-", entry.lower()).strip("-")[:80] or "exception"
    taken = {rule["ProxyRuleName"] for in_phase in group.rules.values() for rule in in_phase}
    number = 1
    while f"{stem}-{number}" in taken:
        number += 1
    return f"{stem}-{number}"


def _entry(conditions: Any) -> str:
    by_key = {condition.key: ",".join(condition.values) for condition in conditions}
    port = by_key.get("request:DestinationPort")
    return by_key.get("request:DestinationDomain", "*") + (f":{port}" if port else "")
