"""What is wrong with a configuration, told all at once.

A `Problem` has the path of the setting (`listeners[1].port`), a message that names the value and the fix, and, where
known, file and line. Not here: finding the problems (`config.load`, `config.preflight`, `netfw.policy`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to correct. `path` is empty when it concerns the file as a whole; `line` counts from 1."""

    path: str
    message: str
    line: int | None = None
    source: str = ""

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}" if self.source and self.line else self.source
        if not place and self.line:
            place = f"line {self.line}"
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigErrors(Exception):
    """A configuration that is refused as a whole. `str()` lists every problem, one a line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        heading = "1 problem:" if count == 1 else f"{count} problems:"
        return "\n".join([heading, *(f"  {problem}" for problem in self.problems)])
