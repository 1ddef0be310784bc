"""Parsed documents to a PolicyConfiguration, or every mistake in them at once.

Reading files and YAML is done by others (`config.policy_files`); a condition that names a file of values asks the
callable that was given. Documents of a directory are merged: groups from all, one ProxyConfiguration in all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netfw.policy.groups import PHASE_NAMES, GroupReader, read_action
from netfw.policy.model import Action, Phase, PolicyConfiguration, RuleGroup
from netfw.policy.problems import PolicyErrors
from netfw.policy.shape import NO_LIMITS, Limits, Report, kind_of
from netfw.policy.validate import ReadValues
from netfw.policy.values import quoted

DOCUMENT_MEMBERS = ("ProxyConfiguration", "ProxyRuleGroups")
CONFIGURATION_MEMBERS = ("ProxyConfigurationName", "DefaultRulePhaseActions", "RuleGroups", "Description")


def load_policy(
    document: object, source: str, *, read_values: ReadValues | None = None, limits: Limits = NO_LIMITS
) -> PolicyConfiguration:
    """Load one document. `source` names it in problems. Raises PolicyErrors."""
    return load_policies([(source, document)], read_values=read_values, limits=limits)


def load_policies(
    documents: Sequence[tuple[str, object]], *, read_values: ReadValues | None = None, limits: Limits = NO_LIMITS
) -> PolicyConfiguration:
    """Load the (source, document) pairs of a directory as one policy; empty documents (None) count for nothing.

    `read_values` gets the path of a ConditionValuesFile as it is written and returns its values; what it raises as
    OSError or ValueError becomes a problem. Raises PolicyErrors.
    """
    _, configuration = load_parts(documents, read_values=read_values, limits=limits, whole=True)
    assert configuration is not None
    return configuration


def load_parts(
    documents: Sequence[tuple[str, object]],
    *,
    read_values: ReadValues | None = None,
    limits: Limits = NO_LIMITS,
    whole: bool = False,
) -> tuple[tuple[RuleGroup, ...], PolicyConfiguration | None]:
    """As `load_policies`, for documents that may have groups alone: the groups in order, and the configuration if there
    is one, which there must be for a `whole` policy.
    """
    reports: list[Report] = []
    groups: dict[str, RuleGroup] = {}
    first_places: dict[str, str] = {}
    configurations: list[tuple[Report, Any]] = []
    for source, document in documents:
        report = Report(source, limits)
        reports.append(report)
        if document is None and len(documents) > 1:
            continue
        members = report.mapping(document, "", DOCUMENT_MEMBERS, "a policy")
        if members is None:
            continue
        if "ProxyConfiguration" in members:
            configurations.append((report, members["ProxyConfiguration"]))
        reader = GroupReader(report, read_values)
        for index, raw in enumerate(
            report.sequence(members.get("ProxyRuleGroups", []), "ProxyRuleGroups", "ProxyRuleGroups")
        ):
            path = f"ProxyRuleGroups[{index}]"
            group = reader.read(raw, path)
            if group is None:
                continue
            place = f"{source}: {path}" if len(documents) > 1 else path
            if group.name in first_places:
                message = f'group name "{group.name}" is taken already by {first_places[group.name]}'
                report.add(f"{path}.ProxyRuleGroupName", message)
            else:
                first_places[group.name] = place
                groups[group.name] = group
    configuration = None
    if configurations or whole:
        configuration = _only_configuration(configurations, reports, groups)
    problems = tuple(problem for report in reports for problem in report.problems)
    if problems or (configuration is None and (configurations or whole)):
        raise PolicyErrors(problems)
    return tuple(groups.values()), configuration


def load_group(document: object, source: str, *, limits: Limits = NO_LIMITS) -> RuleGroup:
    """Load one rule group by itself. Raises PolicyErrors."""
    report = Report(source, limits)
    group = GroupReader(report, None).read(document, "")
    if report.problems or group is None:
        raise PolicyErrors(tuple(report.problems))
    return group


def load_configuration(
    document: object, groups: Mapping[str, RuleGroup], source: str, *, limits: Limits = NO_LIMITS
) -> PolicyConfiguration:
    """Load one ProxyConfiguration over groups that were loaded before, by name. Raises PolicyErrors."""
    report = Report(source, limits)
    configuration = _read_configuration(document, report, dict(groups))
    if report.problems or configuration is None:
        raise PolicyErrors(tuple(report.problems))
    return configuration


def _only_configuration(
    found: list[tuple[Report, Any]], reports: list[Report], groups: dict[str, RuleGroup]
) -> PolicyConfiguration | None:
    if not found and any(problem.path == "" for report in reports for problem in report.problems):
        return None
    if not found:
        message = "a policy needs a ProxyConfiguration"
        (reports[0] if reports else _without_documents(reports)).add("ProxyConfiguration", message)
        return None
    for report, _ in found[1:]:
        report.add("ProxyConfiguration", f"a policy has one ProxyConfiguration; {found[0][0].source} has it already")
    return _read_configuration(found[0][1], found[0][0], groups)


def _without_documents(reports: list[Report]) -> Report:
    reports.append(Report(""))
    return reports[0]


def _read_configuration(raw: object, report: Report, groups: dict[str, RuleGroup]) -> PolicyConfiguration | None:
    path = "ProxyConfiguration"
    members = report.mapping(raw, path, CONFIGURATION_MEMBERS, path)
    if members is None:
        return None
    name_path = f"{path}.ProxyConfigurationName"
    name = report.name(members.get("ProxyConfigurationName"), name_path, "ProxyConfigurationName")
    description = report.text(members.get("Description"), f"{path}.Description", "Description")
    defaults = _read_defaults(members, report, f"{path}.DefaultRulePhaseActions")
    attached = _read_attached(members.get("RuleGroups"), report, f"{path}.RuleGroups", groups)
    if name is None or len(defaults) < len(Phase):
        return None
    names = {group.name for group in attached}
    unattached = tuple(group for group in groups.values() if group.name not in names)
    return PolicyConfiguration(name, defaults, attached, description, unattached)


def _read_defaults(members: Mapping[str, Any], report: Report, path: str) -> dict[Phase, Action]:
    """What is missing is a problem: no phase has a default action of its own."""
    raw = members.get("DefaultRulePhaseActions")
    if raw is None:
        report.add(path, f"DefaultRulePhaseActions is missing: write an action for {', '.join(PHASE_NAMES)}")
        return {}
    by_phase = report.mapping(raw, path, PHASE_NAMES, "DefaultRulePhaseActions")
    if by_phase is None:
        return {}
    actions: dict[Phase, Action] = {}
    for phase in Phase:
        action = read_action(by_phase.get(phase.value), path, phase.value, report)
        if action is not None:
            actions[phase] = action
    return actions


def _read_attached(raw: object, report: Report, path: str, groups: dict[str, RuleGroup]) -> tuple[RuleGroup, ...]:
    if raw is None:
        report.add(path, "RuleGroups is missing: write the names of groups in order of priority, or []")
        return ()
    attached: dict[str, RuleGroup] = {}
    items = report.sequence(raw, path, "RuleGroups")
    for index, name in enumerate(items):
        item_path = f"{path}[{index}]"
        if not isinstance(name, str):
            report.add(item_path, f"the name of a group is text, not {kind_of(name)}")
        elif name in attached:
            report.add(item_path, f'group "{name}" is attached already')
        elif name not in groups:
            report.add(item_path, f"there is no group {quoted(name)} in ProxyRuleGroups")
        else:
            attached[name] = groups[name]
    limit = report.limits.groups
    if limit is not None and len(items) > limit:
        report.add(path, f"a configuration has at most {limit} groups")
    return tuple(attached.values())
