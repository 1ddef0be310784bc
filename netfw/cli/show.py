"""`netfw show`: the rules in the order in which they are looked at."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from netfw.cli.config_option import json_option
from netfw.cli.policy_option import find_policy, policy_options
from netfw.cli.screen import print_json, screen
from netfw.policy.explain import shown
from netfw.policy.model import Condition, Phase, PolicyConfiguration, Rule
from netfw.policy.printing import time_text

_SHOWN_VALUES = 6


@click.command("show")
@click.option(
    "--phase", "only", type=click.Choice([phase.value for phase in Phase], case_sensitive=False), help="One phase only."
)
@policy_options
@json_option
def show_command(config: Path | None, policy: Path | None, only: str | None, as_json: bool) -> None:
    """Show the rules in the order in which they are looked at.

    All groups merged, short forms written out, the default action of each phase at its end.
    """
    found = find_policy(config, policy).policy
    phases = [phase for phase in Phase if only is None or phase.value.lower() == only.lower()]
    if as_json:
        print_json({"name": found.name, "phases": {phase.value: _as_data(found, phase) for phase in phases}})
        return
    for phase in phases:
        _print(found, phase)


def _as_data(found: PolicyConfiguration, phase: Phase) -> dict[str, object]:
    return {
        "rules": [
            {
                "rule": f"{group.name}/{rule.name}",
                "action": rule.action.value,
                "conditions": [
                    {"key": one.key, "operator": one.operator, "values": list(one.values)} for one in rule.conditions
                ],
                "description": rule.description,
                "not_after": rule.not_after,
                "owner": rule.owner,
                "ticket": rule.ticket,
            }
            for group, rule in found.rules(phase)
        ],
        "default": found.defaults[phase].value,
    }


def _print(found: PolicyConfiguration, phase: Phase) -> None:
    table = Table(title=Text(phase.value), title_justify="left", box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(justify="right", style="dim")
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for number, (group, rule) in enumerate(found.rules(phase), 1):
        table.add_row(str(number), rule.action.value, Text(f"{group.name}/{rule.name}"), _told(rule))
    table.add_row("", found.defaults[phase].value, "default", "")
    screen().print(table)
    click.echo()


def _told(rule: Rule) -> Text:
    lines = [_condition(condition) for condition in rule.conditions]
    if rule.not_after is not None:
        lines.append(f"until {time_text(rule.not_after)}")
    notes = [f"{name} {value}" for name, value in (("owner", rule.owner), ("ticket", rule.ticket)) if value]
    return Text("\n".join([*lines, *notes, *([f"# {rule.description}"] if rule.description else [])]))


def _condition(condition: Condition) -> str:
    more = len(condition.values) - _SHOWN_VALUES
    values = ", ".join(map(shown, condition.values[:_SHOWN_VALUES])) + (f" and {more} more" if more > 0 else "")
    return f"{condition.key} {condition.operator} {values}"
