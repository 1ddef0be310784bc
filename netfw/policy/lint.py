"""Warnings about a policy that is valid and may still not say what was meant.

Nothing here changes a decision. What depends on the rest of the configuration (is TLS intercepted?) and the time are
arguments.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from netfw.policy.checks import condition_parts
from netfw.policy.comparisons import domain_parts
from netfw.policy.covering import value_covers
from netfw.policy.decision import RuleRef
from netfw.policy.globs import has_wildcard
from netfw.policy.keys import Key, Kind
from netfw.policy.model import Action, Condition, Phase, PolicyConfiguration, Rule
from netfw.policy.operators import Comparison, Family, Operator
from netfw.policy.paths import normal_path
from netfw.policy.public_suffixes import COMMON_SUFFIXES
from netfw.policy.shadows import find_shadows
from netfw.policy.values import quoted, trusted_value

_COMPARED_VALUES = 500


@dataclass(frozen=True, slots=True)
class LintWarning:
    """One warning. `code` is stable, `rule` None when it is about the policy as a whole."""

    code: str
    rule: RuleRef | None
    message: str

    def __str__(self) -> str:
        where = f"{self.rule} ({self.rule.phase.value})" if self.rule is not None and self.rule.group else "policy"
        return f"{where}: {self.message} [{self.code}]"


def lint_policy(
    configuration: PolicyConfiguration,
    *,
    intercepts: bool,
    passes_through: bool,
    now: float,
    public_suffixes: Collection[str] = (),
) -> list[LintWarning]:
    """Every warning, in the order of evaluation.

    `intercepts`: TLS is intercepted at all; `passes_through`: some tunnels are not (interception off, or a bypass).
    `public_suffixes` are added to the built-in ones.
    """
    suffixes = COMMON_SUFFIXES | frozenset(public_suffixes)
    found = list(_whole(configuration, passes_through))
    for phase in Phase:
        live: list[tuple[RuleRef, Rule]] = []
        for group, rule in configuration.rules(phase):
            ref = RuleRef(group.name, rule.name, phase)
            if rule.not_after is not None and rule.not_after <= now:
                owner = f"; its owner is {rule.owner}" if rule.owner else ""
                found.append(LintWarning("expired", ref, f"has expired and is skipped{owner}"))
                continue
            live.append((ref, rule))
            found += [LintWarning(code, ref, message) for code, message in _rule_warnings(rule, suffixes, intercepts)]
        found += [
            LintWarning(code, live[later][0], message.format(live[earlier][0]))
            for later, earlier, code, message in find_shadows([rule for _, rule in live])
        ]
    return found


def _whole(configuration: PolicyConfiguration, passes_through: bool) -> Iterator[LintWarning]:
    if configuration.defaults[Phase.POST_RESPONSE] is Action.DENY and passes_through:
        yield LintWarning(
            "opaque-response",
            RuleRef("", "default", Phase.POST_RESPONSE),
            "the default of PostRESPONSE is DENY, but tunnels that are passed through show no response: it does not "
            "deny them",
        )
    yield from _pointless(configuration)
    for group in configuration.unattached:
        yield LintWarning("unattached", None, f"group {group.name} is not in RuleGroups: its rules are not evaluated")
    for group in configuration.groups:
        if not any(group.rules.values()):
            yield LintWarning("empty-group", None, f"group {group.name} has no rules")


def _pointless(configuration: PolicyConfiguration) -> Iterator[LintWarning]:
    """An ALLOW by method or path reads like a limit; under a default that allows it limits nothing."""
    if configuration.defaults[Phase.PRE_REQUEST] is Action.DENY:
        return
    rules = [(group, rule) for group, rule in configuration.rules(Phase.PRE_REQUEST)]
    denials = [place for place, (_, rule) in enumerate(rules) if rule.action is Action.DENY]
    for place, (group, rule) in enumerate(rules):
        if rule.action is Action.ALLOW and _needs_http(rule) and not (denials and denials[-1] > place):
            message = (
                "limits nothing: the default of PreREQUEST allows whatever this rule does not, and no DENY follows"
            )
            yield LintWarning("limits-nothing", RuleRef(group.name, rule.name, Phase.PRE_REQUEST), message)


def _rule_warnings(rule: Rule, suffixes: frozenset[str], intercepts: bool) -> Iterator[tuple[str, str]]:
    for condition in rule.conditions:
        key, operator, _ = condition_parts(condition)
        if rule.action is Action.ALLOW and key.kind is Kind.DOMAIN and not operator.negated:
            yield from _suffix_warnings(condition, suffixes)
        for check in (_value_warnings, _overlaps):
            yield from check(key, operator, condition)
    if rule.action is Action.DENY:
        yield from _length_warnings(rule)
        if not intercepts and _needs_http(rule):
            yield (
                "needs-interception",
                "denies by a field of HTTP while TLS interception is off: it does not act on HTTPS",
            )


def _needs_http(rule: Rule) -> bool:
    parts = [condition_parts(condition)[:2] for condition in rule.conditions]
    return any(
        key.http and not operator.if_exists and operator.family is not Family.PRESENCE for key, operator in parts
    )


def _suffix_warnings(condition: Condition, suffixes: frozenset[str]) -> Iterator[tuple[str, str]]:
    for text in condition.values:
        _, suffix = domain_parts(text)
        name = (suffix or text).lstrip("*.") if has_wildcard(text) or suffix is not None else ""
        if has_wildcard(name):
            continue
        if name in suffixes:
            yield "public-suffix", f"{quoted(text)} allows every name below {name}, which anybody can have"
        elif text.startswith("*") and suffix is None and name:
            yield "loose-pattern", f"{quoted(text)} also matches names such as not{name}; write .{name}"


def _value_warnings(key: Key, operator: Operator, condition: Condition) -> Iterator[tuple[str, str]]:
    """Values that no exchange can have."""
    if operator.family is not Family.STRING or operator.comparison is Comparison.EQUALS_IGNORE_CASE:
        return
    for text in condition.values:
        if key.name == "request:Http:Method" and text != text.upper():
            yield "never-equal", f"{quoted(text)}: methods are case-sensitive; write {text.upper()}"
        elif key.name == "request:Http:Uri" and not text.startswith(("/", "*", "?")):
            yield "never-equal", f"{quoted(text)}: a path begins with a slash; write /{text} or */{text}"
        elif key.name == "request:Http:Uri" and normal_path(text.encode()) != text.encode():
            normal = normal_path(text.encode()).decode(errors="replace")
            yield "not-normal", f"{quoted(text)} is not in normal form, so an ALLOW never matches it; write {normal}"
        elif key.name == "request:Http:Uri" and "?" in text and "=" in text.partition("?")[2]:
            yield "query-in-path", f"{quoted(text)}: the Uri is the path alone; the query is request:Http:Query"
        elif key.kind is Kind.PROTOCOL and not has_wildcard(text) and text not in ("http", "https", "TCP"):
            yield "never-equal", f"{quoted(text)} is none of the protocols http, https and TCP"


def _overlaps(key: Key, operator: Operator, condition: Condition) -> Iterator[tuple[str, str]]:
    """Values that another value of the same condition makes superfluous."""
    texts = condition.values
    double = _first_double(texts)
    if double is not None:
        yield "duplicate-value", f"{condition.key} has {quoted(double)} more than once"
    if len(texts) > _COMPARED_VALUES or operator.comparison not in (
        Comparison.EQUALS, Comparison.LIKE, Comparison.INSIDE
    ):  # fmt: skip
        return
    values = [(text, trusted_value(key, operator, text)) for text in dict.fromkeys(texts)]
    for text, value in values:
        for wider_text, wider in values:
            if text != wider_text and value_covers(operator, key, wider, value):
                yield "overlapping-values", f"{quoted(text)} is part of {quoted(wider_text)}"
                break


def _first_double(texts: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for text in texts:
        if text in seen:
            return text
        seen.add(text)
    return None


def _length_warnings(rule: Rule) -> Iterator[tuple[str, str]]:
    """A chunked message declares no length, so a DENY by length lets it through."""
    absent_too = {c.key for c in rule.conditions if condition_parts(c)[1].family is Family.PRESENCE}
    for condition in rule.conditions:
        key, operator, _ = condition_parts(condition)
        by_length = key.name.endswith(":ContentLength") or key.field == b"content-length"
        if by_length and not (operator.if_exists or operator.negated) and condition.key not in absent_too:
            yield (
                "chunked-length",
                (
                    f"{key.name} is absent in chunked messages, which this rule does not deny; use "
                    f"{operator.name}IfExists, or a second rule with Null"
                ),
            )
