"""docs/policy.md, printed: `python -m netfw.policy.document > docs/policy.md`; with `--man` the man page of it.

The prose is in `policy_text`; every table of keys, operators, members and limits comes from the tables that the code
itself uses, and a test compares both files with this.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import fields

from netfw.policy import keys, operators
from netfw.policy.groups import GROUP_MEMBERS, RULE_MEMBERS
from netfw.policy.load import CONFIGURATION_MEMBERS, DOCUMENT_MEMBERS
from netfw.policy.man_page import man_page
from netfw.policy.model import Phase
from netfw.policy.operators import FAMILY_OF_KIND, Comparison
from netfw.policy.policy_text import TEMPLATE
from netfw.policy.shape import VENDOR_LIMITS
from netfw.policy.validate import CONDITION_MEMBERS

_LIMIT_TEXTS = {
    "groups": "rule groups in a configuration",
    "rules_per_group": "rules in a group, all phases together",
    "value_size": "bytes of one value",
    "rule_size": "bytes of a rule's keys and values",
    "group_size": "bytes of a group's keys and values",
    "description": "characters of a Description, Owner or Ticket",
}


def render() -> str:
    """The page."""
    return TEMPLATE.format(
        keys=_table(("key", "type", *(phase.value for phase in Phase), "what it is"), _key_rows(extension=False)),
        extension_keys=_table(
            ("key", "type", *(phase.value for phase in Phase), "what it is"), _key_rows(extension=True)
        ),
        aliases=", ".join(f"`{alias}` for `{name}`" for alias, name in keys.ALIASES.items()),
        operators=_table(("type of key", "operators", "true when the value"), _operator_rows()),
        limits=_table(("limit", "of what"), _limit_rows()),
        document_members=_names(DOCUMENT_MEMBERS),
        configuration_members=_names(CONFIGURATION_MEMBERS),
        group_members=_names(GROUP_MEMBERS),
        rule_members=_names(RULE_MEMBERS),
        condition_members=_names(CONDITION_MEMBERS),
    )


def _key_rows(*, extension: bool) -> Iterable[tuple[str, ...]]:
    for key in keys.TABLE:
        if key.extension is extension:
            marks = tuple("yes" if phase in key.phases else "" for phase in Phase)
            yield f"`{key.name}`", key.kind.value, *marks, key.about


def _operator_rows() -> Iterable[tuple[str, ...]]:
    for family in operators.Family:
        kinds = [kind.value for kind, its_family in FAMILY_OF_KIND.items() if its_family is family]
        for comparison in Comparison:
            names = [one for one in operators.TABLE if one.family is family and one.comparison is comparison]
            if names:
                shown = " ".join(f"`{one.name}`" for one in names)
                contrary = "; the second is its contrary" if len(names) > 1 else ""
                yield ", ".join(kinds) or "any", shown, comparison.value + contrary


def _limit_rows() -> Iterable[tuple[str, ...]]:
    for field in fields(VENDOR_LIMITS):
        yield f"{getattr(VENDOR_LIMITS, field.name):,}", _LIMIT_TEXTS[field.name]


def _names(members: Iterable[str]) -> str:
    return ", ".join(f"`{member}`" for member in members)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    sys.stdout.write(man_page(render()) if sys.argv[1:] == ["--man"] else render())
