"""What the operations that are ours alone do: plan and apply, export, history and the way back, timed exceptions.

Each is a function of a transaction, an input and a call, as the vendor's operations are; the work itself is the store's
(`netfw.store`). What was changed, whether the caller may and whether it is within the quotas is found out afterwards,
in the same transaction (`whole_changes`). Imported when the first of them is called: a proxy whose policy is files
has no database library in it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from netfw.control.operations.call import Call, Input, Output
from netfw.control.quotas import policy_limits
from netfw.control.refusals import AccessDenied, InvalidRequest
from netfw.control.roles import Role
from netfw.control.translation import shown_tags
from netfw.policy.load import load_parts
from netfw.policy.values import ValueProblem
from netfw.store.applying import Plan, carry_out, exported, make_plan, wanted_of
from netfw.store.attaching import followed_configuration
from netfw.store.difference import KINDS, Difference
from netfw.store.errors import NoSuchException, PlanOutdated
from netfw.store.history import difference_between, generations, roll_back
from netfw.store.pruning import prune
from netfw.store.repository import Transaction
from netfw.store.resources import PHASES
from netfw.store.timed_exceptions import GROUP, TimedException, add_exception, end_exceptions, list_exceptions

_TOKENS = uuid.UUID("d3f0b0f2-46a5-4b3a-9a53-5d1f4f0e7c11")
_PAGE = 20


def plan(transaction: Transaction, given: Input, call: Call) -> Output:
    """PlanPolicy."""
    made = _plan(transaction, given, call)
    return {"Differences": _differences(made.differences), "UpdateToken": _token(made)}


def apply(transaction: Transaction, given: Input, call: Call) -> Output:
    """ApplyPolicy."""
    made = _plan(transaction, given, call)
    if _token(made) != given["UpdateToken"]:
        raise PlanOutdated("what the policy names was changed since the plan was made: make a new plan")
    generation = carry_out(transaction, made, call.caller.name, call.site.arn_of)
    return {"Differences": _differences(made.differences), "Generation": generation}


def export(transaction: Transaction, given: Input, _call: Call) -> Output:
    """ExportPolicy."""
    name = _configuration(transaction, given)
    return {"Document": exported(transaction, name, all_groups=given.get("AllGroups", False))}


def summarize(transaction: Transaction, _given: Input, _call: Call) -> Output:
    """SummarizeRuleGroups."""
    summaries = []
    for one in transaction.groups.list():
        group = transaction.groups.get(one.name)
        summaries.append(
            {
                "Name": group.name,
                "Arn": group.arn,
                "Description": group.description,
                "Rules": {phase: len(group.rules[phase]) for phase in PHASES},
                "AttachedTo": list(transaction.configurations.using(group.name)),
                "Tags": shown_tags(group.tags),
                "UpdateTime": group.modified,
            }
        )
    return {"RuleGroupSummaries": summaries}


def list_generations(transaction: Transaction, given: Input, _call: Call) -> Output:
    """ListGenerations."""
    found = generations(transaction, given.get("MaxResults", _PAGE), given.get("Before"))
    return {
        "Generations": [
            {
                "Generation": one.number,
                "At": one.at,
                "Editor": one.editor,
                "Summary": one.summary,
                "Changed": [{"Kind": KINDS[kind], "Name": name} for kind, name in one.changed],
            }
            for one in found
        ]
    }


def compare(transaction: Transaction, given: Input, _call: Call) -> Output:
    """CompareGenerations."""
    old, new = given["OldGeneration"], given.get("NewGeneration", transaction.generation)
    found = difference_between(transaction, old, new)
    return {"Differences": _differences(found), "OldGeneration": old, "NewGeneration": new}


def roll_back_to(transaction: Transaction, given: Input, call: Call) -> Output:
    """RollBack."""
    seen, number = given["SeenGeneration"], given["Generation"]
    made = roll_back(transaction, number, call.caller.name, call.site.arn_of, seen)
    done = () if made is None else difference_between(transaction, seen, made)
    return {"Differences": _differences(done), "Generation": made}


def prune_generations(transaction: Transaction, given: Input, call: Call) -> Output:
    """PruneGenerations."""
    if Role.OWNER not in call.caller.roles:
        raise AccessDenied(f"{call.caller.name} may not call PruneGenerations: it takes an owner")
    done = prune(transaction, given["Keep"])
    return {"OldestGeneration": done.oldest, "Generations": done.generations, "Documents": done.documents}


def allow(transaction: Transaction, given: Input, call: Call) -> Output:
    """AllowForTime."""
    group, configuration = given.get("ProxyRuleGroupName", GROUP), _configuration(transaction, given)
    attached = transaction.configurations.get(configuration).groups
    if group not in attached and not call.caller.roles & {Role.OPERATOR, Role.OWNER}:
        raise AccessDenied(
            f'rule group "{group}" is not attached to {configuration}, which takes an operator, once: make the group, '
            f"and have it attached in front of all: netfw attach {group} --position 0"
        )
    asked = TimedException(
        "",
        given["Domain"],
        given.get("Owner", call.caller.name),
        given["Description"],
        given.get("Ticket"),
        float(int(given["NotAfter"])),
    )
    if asked.is_over(transaction.now):
        raise InvalidRequest("NotAfter: it is over already")
    try:
        made, generation = add_exception(
            transaction, configuration, asked, call.caller.name, call.site.arn_of, group
        )
    except ValueProblem as problem:
        raise InvalidRequest(f"Domain: {problem}") from None
    return {
        "TimedException": _exception(made, transaction.now),
        "ProxyRuleGroupName": group,
        "Generation": generation,
    }


def show_exceptions(transaction: Transaction, given: Input, _call: Call) -> Output:
    """ListExceptions."""
    found = list_exceptions(transaction, given.get("ProxyRuleGroupName", GROUP))
    return {"TimedExceptions": [_exception(one, transaction.now) for one in found]}


def end(transaction: Transaction, given: Input, call: Call) -> Output:
    """EndExceptions."""
    group, names, over = given.get("ProxyRuleGroupName", GROUP), set(given.get("Names", ())), given.get("Over", False)
    missing = names - {one.name for one in list_exceptions(transaction, group)}
    if missing:
        raise NoSuchException(f"there is no exception {', '.join(sorted(missing))}")
    ended, generation = end_exceptions(
        transaction, lambda one: one.name in names or (over and one.is_over(transaction.now)), call.caller.name, group
    )
    return {"TimedExceptions": [_exception(one, transaction.now) for one in ended], "Generation": generation}


FUNCTIONS: dict[str, Callable[[Transaction, Input, Call], Output]] = {
    "AllowForTime": allow,
    "ApplyPolicy": apply,
    "CompareGenerations": compare,
    "EndExceptions": end,
    "ExportPolicy": export,
    "ListExceptions": show_exceptions,
    "ListGenerations": list_generations,
    "PlanPolicy": plan,
    "PruneGenerations": prune_generations,
    "RollBack": roll_back_to,
    "SummarizeRuleGroups": summarize,
}


def _plan(transaction: Transaction, given: Input, call: Call) -> Plan:
    """No files of values are read here: whoever sends a document puts their values into it. Raises PolicyErrors."""
    groups, configuration = load_parts([("", given["Document"])], limits=policy_limits(call.site.quotas))
    return make_plan(transaction, wanted_of(groups, configuration, given.get("ProxyName")))


def _token(made: Plan) -> str:
    """Of the state of all that the plan is about."""
    seen = sorted((*key, digest or "") for key, digest in made.seen.items())
    return str(uuid.uuid5(_TOKENS, json.dumps(seen)))


def _configuration(transaction: Transaction, given: Input) -> str:
    name: str | None = given.get("ProxyConfigurationName")
    if name is not None:
        return name
    if given.get("ProxyName") is None:
        raise InvalidRequest("ProxyConfigurationName or ProxyName is wanted")
    return followed_configuration(transaction, given["ProxyName"])


def _differences(found: Iterable[Difference]) -> list[dict[str, Any]]:
    return [{name.capitalize(): value for name, value in one.as_data().items()} for one in found]


def _exception(one: TimedException, now: float) -> dict[str, Any]:
    told = asdict(one)
    return {
        "Name": told["name"],
        "Domain": told["entry"],
        "Description": told["why"],
        "Owner": told["owner"],
        "Ticket": told["ticket"],
        "NotAfter": told["until"],
        "Over": one.is_over(now),
    }
