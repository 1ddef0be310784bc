"""The policy as files: `read_policy(section)` reads one file or a directory of them and has them checked.

In this room: reading, merging in sorted order, files of condition values, the lines of problems.
Not here: what a rule may say (`netfw.policy.load`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from netfw.config.document import locate, read_document, read_text
from netfw.config.errors import ConfigErrors, Problem
from netfw.config.model import PolicySection
from netfw.policy.load import load_parts, load_policies, load_policy
from netfw.policy.model import PolicyConfiguration, RuleGroup
from netfw.policy.problems import PolicyErrors
from netfw.policy.shape import NO_LIMITS, Limits

SUFFIXES = (".yaml", ".yml", ".json")


def read_policy(section: PolicySection) -> PolicyConfiguration:
    """Return the policy that the section names. Raises ConfigErrors with every problem of every file."""
    if section.file is not None:
        return read_policy_file(section.file)
    assert section.directory is not None
    return read_policy_directory(section.directory)


def read_policy_file(path: Path) -> PolicyConfiguration:
    """Return the policy in one file. Raises ConfigErrors."""
    document = read_document(path)
    try:
        return load_policy(document, str(path), read_values=_values_reader(path.parent))
    except PolicyErrors as errors:
        raise ConfigErrors(_located(errors)) from None


def read_policy_directory(directory: Path) -> PolicyConfiguration:
    """Return the policy in a directory's .yaml, .yml and .json files, in sorted order. Raises ConfigErrors.

    Names that begin with a dot are left out: editors and version control put theirs there.
    """
    documents = _documents_of(directory)
    try:
        return load_policies(documents, read_values=_values_reader(directory))
    except PolicyErrors as errors:
        raise ConfigErrors(_located(errors)) from None


def read_policy_parts(
    path: Path, limits: Limits = NO_LIMITS
) -> tuple[tuple[RuleGroup, ...], PolicyConfiguration | None]:
    """Return the groups in a file or a directory, and the configuration if there is one. Raises ConfigErrors."""
    directory = path if path.is_dir() else path.parent
    documents = _documents_of(path) if path.is_dir() else [(str(path), read_document(path))]
    try:
        return load_parts(documents, read_values=_values_reader(directory), limits=limits)
    except PolicyErrors as errors:
        raise ConfigErrors(_located(errors)) from None


def _documents_of(directory: Path) -> list[tuple[str, Any]]:
    try:
        names = sorted(path.name for path in directory.iterdir() if _is_policy_file(path))
    except OSError as error:
        raise ConfigErrors([Problem("", f"cannot be read: {error.strerror}", source=str(directory))]) from None
    if not names:
        raise ConfigErrors([Problem("", f"holds no {', '.join(SUFFIXES)} file", source=str(directory))])
    documents: list[tuple[str, Any]] = []
    problems: list[Problem] = []
    for name in names:
        try:
            documents.append((str(directory / name), read_document(directory / name)))
        except ConfigErrors as errors:
            problems += errors.problems
    if problems:
        # The others are not judged without these: half a policy has problems that the whole has not.
        raise ConfigErrors(problems)
    return documents


def read_condition_values(path: Path) -> list[str]:
    """Return a ConditionValuesFile's values: one a line; blank lines and lines that begin with # count for nothing.

    Raises ValueError when it cannot be read or holds no value: a rule without values would never match.
    """
    try:
        text = read_text(path)
    except ConfigErrors as errors:
        raise ValueError("; ".join(str(problem) for problem in errors.problems)) from None
    values = [line for line in (line.strip(" \t\r") for line in text.split("\n")) if line and not line.startswith("#")]
    if not values:
        raise ValueError(f"{path}: holds no value; write one a line")
    return values


def _values_reader(directory: Path) -> Callable[[str], list[str]]:
    """Return what reads a ConditionValuesFile, whose path is relative to the policy's directory."""

    def read(written: str) -> list[str]:
        return read_condition_values(directory / written)

    return read


def _is_policy_file(path: Path) -> bool:
    return path.suffix in SUFFIXES and not path.name.startswith(".") and not path.is_dir()


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
