"""Reading a parsed YAML or JSON document member by member, with every mistake noted and none of them fatal.

The document comes from outside: any type may stand anywhere. Nothing here recurses, so depth does not matter, and no
value of it is printed except names and short texts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from netfw.policy.problems import Problem
from netfw.policy.values import quoted, unfit_characters

_NAME = re.compile(r"[a-zA-Z0-9-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limits:
    """Quotas; None: no limit. Sizes in bytes of UTF-8, a rule's and a group's being those of keys and values."""

    groups: int | None = None
    rules_per_group: int | None = None
    value_size: int | None = None
    rule_size: int | None = None
    group_size: int | None = None
    description: int | None = None


NO_LIMITS = Limits()
VENDOR_LIMITS = Limits(
    groups=10, rules_per_group=1000, value_size=1024, rule_size=30 * 1024, group_size=30 * 1024 * 1024, description=512
)


class Report:
    """Collects the problems of one document."""

    def __init__(self, source: str, limits: Limits = NO_LIMITS) -> None:
        self.source = source
        self.limits = limits
        self.problems: list[Problem] = []

    def add(self, path: str, message: str) -> None:
        """Note a problem at a path of the document."""
        self.problems.append(Problem(path, message, self.source))

    def mapping(self, value: object, path: str, known: Collection[str], what: str) -> Mapping[str, Any] | None:
        """The value as a mapping; members that are not known are problems."""
        if not isinstance(value, Mapping):
            self.add(path, f"{what} is a mapping, not {kind_of(value)}")
            return None
        if not value.keys() <= set(known):
            for name in value:
                if name not in known:
                    self._unknown_member(name, path, known)
        return value

    def _unknown_member(self, name: object, path: str, known: Collection[str]) -> None:
        if not isinstance(name, str):
            self.add(path, f"names of members are text, not {kind_of(name)}")
            return
        folded = {candidate.lower(): candidate for candidate in known}
        close = get_close_matches(name[:80].lower(), list(folded), n=1, cutoff=0.6)
        hint = f'; did you mean "{folded[close[0]]}"?' if close else f"; known are {', '.join(known)}"
        place = joined(path, name) if name.isprintable() and len(name) <= 80 else path
        self.add(place, f"unknown member {quoted(name)}{hint}")

    def sequence(self, value: object, path: str, what: str) -> list[Any]:
        """The value as a list; anything else is a problem and counts as an empty one."""
        if isinstance(value, list | tuple):
            return list(value)
        self.add(path, f"{what} is a list, not {kind_of(value)}")
        return []

    def name(self, value: object, path: str, what: str) -> str | None:
        """The value as the name of a configuration, a group or a rule."""
        if value is None:
            self.add(path, f"{what} is missing")
        elif not isinstance(value, str):
            self.add(path, f"{what} is text, not {kind_of(value)}")
        elif _NAME.fullmatch(value) is None:
            self.add(path, f"{what} is made of letters, digits and hyphens, 1 to 128 of them")
        else:
            return value
        return None

    def text(self, value: object, path: str, what: str) -> str | None:
        """The value as a line of free text; None stays None."""
        if value is None:
            return None
        limit = self.limits.description
        if not isinstance(value, str):
            self.add(path, f"{what} is text, not {kind_of(value)}")
        elif unfit_characters(value):
            self.add(path, f"{what} must not hold control characters or line ends")
        elif limit is not None and len(value) > limit:
            self.add(path, f"{what} is longer than {limit} characters")
        else:
            return value
        return None


def joined(path: str, member: str) -> str:
    """The path of a member."""
    return f"{path}.{member}" if path else member


def kind_of(value: object) -> str:
    """The type of a value in words that a writer of YAML knows."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "text"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return f"a {type(value).__name__}"
