"""Smokescreen's ACL, version v1, to rules: services are clients' identities, and the order of its decisions is kept.

Smokescreen asks a service's own list, then the global deny list, then the global allow list, then the service's action.
So do the rules. `read` is the parsed YAML.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from netfw.policy.foreign.imported import (
    Document,
    Imported,
    PlacedRule,
    Untranslated,
    condition,
    configuration_of,
    group_of,
    rule,
)
from netfw.policy.model import Phase

_TOP = {"version", "services", "default", "global_deny_list", "global_allow_list"}
_SERVICE = {"name", "project", "action", "allowed_domains"}
_ACTIONS = ("open", "report", "enforce")


def import_smokescreen(read: Any, group: str) -> Imported:
    """Translate it. What has no meaning here, such as lists of other proxies, is listed."""
    untranslated: list[Untranslated] = []
    if not isinstance(read, Mapping):
        untranslated.append(Untranslated("document", str(read)[:80], "is no mapping with services and a default"))
        read = {}
    for member in read:
        if member not in _TOP:
            untranslated.append(Untranslated(str(member), str(read[member]), "has no counterpart"))
    if read.get("version") not in (None, "v1"):
        untranslated.append(Untranslated("version", str(read["version"]), "only v1 is known; read with care"))
    services = [one for one in _list(read, "services", untranslated) if _is_service(one, untranslated)]
    names = [str(one["name"]) for one in services]
    default = read.get("default")
    rules = [*_own_lists(services, default, names, untranslated), *_global_lists(read, untranslated)]
    rules += _actions(services, default, names, untranslated)
    made = group_of(group, rules, untranslated)
    document = {"ProxyConfiguration": configuration_of(group, [group], "DENY"), "ProxyRuleGroups": [made]}
    return Imported(document, tuple(untranslated))


def _is_service(one: Any, untranslated: list[Untranslated]) -> bool:
    if isinstance(one, Mapping) and isinstance(one.get("name"), str):
        return True
    untranslated.append(Untranslated("services", str(one), "a service has a name"))
    return False


def _own_lists(
    services: list[Any], default: Any, names: list[str], untranslated: list[Untranslated]
) -> Iterator[PlacedRule]:
    for number, service in enumerate(services, 1):
        place = f"services, {service['name']}"
        _note_unknown(service, place, untranslated)
        domains = _list(service, "allowed_domains", untranslated, place)
        yield from _allow(f"service-{number}", [_is(service["name"])], domains, place, service.get("project"))
    if isinstance(default, Mapping):
        _note_unknown(default, "default", untranslated)
        domains = _list(default, "allowed_domains", untranslated, "default")
        yield from _allow("default", _others(names), domains, "default", default.get("project"))


def _global_lists(read: Mapping[str, Any], untranslated: list[Untranslated]) -> Iterator[PlacedRule]:
    denied = [str(one) for one in _list(read, "global_deny_list", untranslated)]
    for name, operator, values in _split("global-deny", denied):
        made = rule(name, "DENY", [condition("request:DestinationDomain", operator, *values)])
        yield PlacedRule(Phase.PRE_DNS, made, "global_deny_list", ", ".join(values))
    yield from _allow("global-allow", [], _list(read, "global_allow_list", untranslated), "global_allow_list", None)


def _actions(
    services: list[Any], default: Any, names: list[str], untranslated: list[Untranslated]
) -> Iterator[PlacedRule]:
    for number, service in enumerate(services, 1):
        yield from _action(f"service-{number}", service, [_is(service["name"])], service["name"], untranslated)
    if isinstance(default, Mapping):
        yield from _action("default", default, _others(names), "default", untranslated)


def _action(
    stem: str, service: Mapping[str, Any], who: list[Document], place: str, untranslated: list[Untranslated]
) -> Iterator[PlacedRule]:
    action = service.get("action")
    if action not in _ACTIONS:
        untranslated.append(Untranslated(place, f"action: {action}", "is none of open, report, enforce: denied"))
        action = "enforce"
    anywhere = condition("request:DestinationDomain", "StringLike", "*")
    text = f"action: {action}"
    if action == "report":
        yield PlacedRule(Phase.PRE_DNS, rule(f"{stem}-report", "ALERT", [*who, anywhere]), place, text)
    outcome = "DENY" if action == "enforce" else "ALLOW"
    yield PlacedRule(Phase.PRE_DNS, rule(f"{stem}-action", outcome, [*who, anywhere]), place, text)


def _allow(stem: str, who: list[Document], domains: list[Any], place: str, owner: Any) -> Iterator[PlacedRule]:
    for name, operator, values in _split(stem, [str(domain) for domain in domains]):
        conditions = [*who, condition("request:DestinationDomain", operator, *values)]
        made = rule(name, "ALLOW", conditions, Owner=owner if isinstance(owner, str) else None)
        yield PlacedRule(Phase.PRE_DNS, made, place, ", ".join(values))


def _split(stem: str, domains: list[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Patterns apart from names."""
    exact = [domain for domain in domains if "*" not in domain]
    patterns = [domain for domain in domains if "*" in domain]
    if exact:
        yield stem, "StringEquals", exact
    if patterns:
        yield f"{stem}-patterns", "StringLike", patterns


def _is(name: str) -> Document:
    return condition("request:ClientIdentity", "StringEquals", name)


def _others(names: list[str]) -> list[Document]:
    """Whoever is none of the services, whether it said who it is or not."""
    return [condition("request:ClientIdentity", "StringNotEquals", *names)] if names else []


def _list(members: Mapping[str, Any], name: str, untranslated: list[Untranslated], place: str = "") -> list[Any]:
    value = members.get(name)
    if value is None:
        return []
    if isinstance(value, list):
        return value
    untranslated.append(Untranslated(f"{place} {name}".strip(), str(value), "is no list"))
    return []


def _note_unknown(service: Mapping[str, Any], place: str, untranslated: list[Untranslated]) -> None:
    for member in service:
        if member not in _SERVICE:
            untranslated.append(Untranslated(f"{place}, {member}", str(service[member]), "has no counterpart"))
