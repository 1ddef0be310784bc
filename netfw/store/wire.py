"""What the process that follows the store and the proxy say to each other: lines of JSON. PURE.

A policy comes as a head, then the rules of those groups that the proxy does not have yet, a line's worth at a time
(`config.policy_lines`), then an end; a group that it has is named by its digest only. So a change of one rule of many
costs what its group costs. Both ends are ours, and what comes was checked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from netfw.config.policy_lines import RuleReader, plain_rules
from netfw.policy.long_tuple import put_together
from netfw.policy.model import Action, Phase, PolicyConfiguration, Rule, RuleGroup
from netfw.store.resources import AskedOfProxy, asked_from_plain

_PHASES = {phase.value: phase for phase in Phase}


def line_of(value: Any) -> bytes:
    """One line."""
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def print_group(digest: str, group: RuleGroup) -> bytes:
    """The lines of one group's rules."""
    lines = []
    for phase in Phase:
        lines += [line_of([digest, phase.value, *plain]) for plain in plain_rules(group.rules[phase])]
    return b"".join(lines)


def print_change(
    generation: int,
    policy: PolicyConfiguration,
    digests: Mapping[str, str],
    known: Collection[str] = (),
    printed: Callable[[str, RuleGroup], bytes] = print_group,
    asked: AskedOfProxy = AskedOfProxy(),
) -> Iterator[bytes]:
    """The lines of a policy for a proxy that has the groups with the digests in `known`, several in a piece.

    `asked`: what else is asked of the proxy. `printed` gives the lines of a group: whoever prints often keeps them.
    """
    yield line_of(
        {
            "is": "policy",
            "generation": generation,
            "name": policy.name,
            "description": policy.description,
            "defaults": {phase.value: action.value for phase, action in policy.defaults.items()},
            "groups": [[group.name, group.description, digests[group.name]] for group in policy.groups],
            "asked": asked.plain(),
            "sent": [digests[group.name] for group in policy.groups if digests[group.name] not in known],
        }
    )
    for group in policy.groups:
        digest = digests[group.name]
        if digest not in known:
            yield printed(digest, group)
    yield line_of("end")


class ChangeLines:
    """Takes the lines of a policy, the head first. `known`: the groups that are there, by digest."""

    def __init__(self, head: Mapping[str, Any], known: Mapping[str, RuleGroup]) -> None:
        self.generation: int = head["generation"]
        self.digests: dict[str, str] = {name: digest for name, _, digest in head["groups"]}
        self.asked = asked_from_plain(head["asked"]) if "asked" in head else AskedOfProxy()
        self.is_complete = False
        self._head = head
        self._known = known
        self._reader = RuleReader()
        self._rules: dict[str, dict[Phase, list[tuple[Rule, ...]]]] = {
            digest: {phase: [] for phase in Phase} for digest in head["sent"]
        }

    def take(self, line: bytes) -> None:
        """The next line. Raises ValueError for one that is none of ours."""
        value = json.loads(line)
        if value == "end":
            self.is_complete = True
            return
        digest, phase, values, rules = value
        self._rules[digest][_PHASES[phase]].append(self._reader.take(values, rules))

    def groups(self) -> dict[str, RuleGroup]:
        """The groups of the policy by digest; only when `is_complete`."""
        assert self.is_complete
        return {
            digest: self._group(name, digest, description) if digest in self._rules else self._known[digest]
            for name, description, digest in self._head["groups"]
        }

    def _group(self, name: str, digest: str, description: str | None) -> RuleGroup:
        rules = {phase: put_together(lines) for phase, lines in self._rules[digest].items()}
        return RuleGroup(name, rules, description)

    def policy(self, groups: Mapping[str, RuleGroup]) -> PolicyConfiguration:
        """The policy of these groups."""
        head = self._head
        return PolicyConfiguration(
            name=head["name"],
            defaults={_PHASES[phase]: Action(action) for phase, action in head["defaults"].items()},
            groups=tuple(groups[digest] for _, _, digest in head["groups"]),
            description=head["description"],
        )
