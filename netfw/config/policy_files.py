"""The policy as files: `read_policy(section)` reads one file or a directory of them and has them checked.

In this room: reading, merging in sorted order, files of condition values, the lines of problems.
Not here: what a rule may say (`netfw.policy.load`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from netfw.config.document import locate, read_document, read_text
from netfw.config.errors import ConfigErrors, Problem
from netfw.config.model import PolicySection
from netfw.policy.load import load_policy
from netfw.policy.model import PolicyConfiguration
from netfw.policy.problems import PolicyErrors

SUFFIXES = (".yaml", ".yml", ".json")


def read_policy(section: PolicySection) -> PolicyConfiguration:
    """Return the policy that the section names. Raises ConfigErrors with every problem of every file."""
    if section.file is not None:
        return _load(section.file)
    raise ConfigErrors([Problem("policy", "names no rules")])


def _load(path: Path) -> PolicyConfiguration:
    document: Any = read_document(path)
    try:
        return load_policy(document, str(path))
    except PolicyErrors as errors:
        raise ConfigErrors(_located(errors)) from None


def _located(errors: PolicyErrors) -> list[Problem]:
    """Return the policy's problems with lines, for each file that can still be read."""
    paths: dict[str, set[str]] = {}
    for problem in errors.problems:
        paths.setdefault(problem.source, set()).add(problem.path)
    lines: dict[str, dict[str, int]] = {}
    for source, wanted in paths.items():
        try:
            lines[source] = locate(read_text(Path(source)), wanted)
        except ConfigErrors:
            lines[source] = {}
    return [
        Problem(problem.path, problem.message, line=lines[problem.source].get(problem.path), source=problem.source)
        for problem in errors.problems
    ]
