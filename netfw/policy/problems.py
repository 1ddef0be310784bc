"""What is wrong with a policy document, all of it at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `path` leads to it, such as `ProxyRuleGroups[2].Rules.PreREQUEST[0].Conditions[1].ConditionKey`.

    `source` is the file (or other name) of the document it is in.
    """

    path: str
    message: str
    source: str = ""

    def __str__(self) -> str:
        where = f"{self.source}: " if self.source else ""
        return f"{where}{self.path}: {self.message}" if self.path else f"{where}{self.message}"


class PolicyErrors(Exception):
    """A document that is not a policy. `problems` is never empty and is in the order of the document."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
