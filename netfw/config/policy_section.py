"""`policy`: where the rules are, in files or in a store.

Not here: reading them (`config.policy_files`, `netfw.store`).
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from netfw.config import values
from netfw.config.model import HistorySection, PolicySection
from netfw.config.table import Table
from netfw.config.units import parse_duration

_SQLITE = "sqlite:///"
_SHORTEST_AGE = 3600.0
_MOST_GENERATIONS = 1_000_000_000
_SOURCES = ("file", "directory", "store")


def read_policy_section(table: Table, directory: Path) -> PolicySection:
    """Exactly one source, and what belongs to it."""
    given = [key for key in _SOURCES if key in table]
    section = PolicySection(
        file=table.take("file", values.path(directory), None),
        directory=table.take("directory", values.path(directory), None),
        store=table.take("store", lambda value: _store(value, directory), None),
        password_file=table.take("password_file", values.path(directory), None),
        last_good=table.take("last_good", values.path(directory), None),
        history=_history(table),
    )
    if len(given) > 1:
        table.complain("", f"has {' and '.join(given)}; keep one of them")
    if not given and not table.has_problem(""):
        table.complain(
            "", "names no rules; write file: policy.yaml, directory: policy.d or store: sqlite:///... under it"
        )
    if "store" in table and "last_good" not in table:
        table.complain("last_good", "is missing; name a file in which this node keeps the policy that it last had")
    for key in ("password_file", "last_good", "history"):
        if key in table and "store" not in table:
            table.complain(key, "belongs to a store; take it out, or write store: instead of files")
    if "password_file" in table and section.store is not None and section.store.startswith(_SQLITE):
        table.complain("password_file", "is for PostgreSQL; SQLite has no password, take it out")
    table.close()
    return section


def _history(policy: Table) -> HistorySection:
    table = policy.table("history", wanted="generations: or age:")
    section = HistorySection(
        generations=table.take("generations", values.count(1, _MOST_GENERATIONS), None),
        age=table.take("age", _age, None),
    )
    if (
        "history" in policy
        and not section.is_bounded
        and not (table.has_problem("generations") or table.has_problem("age"))
    ):
        table.complain("", "bounds nothing; write generations: 1000 or age: 90d under it, or leave it out to keep all")
    table.close()
    return section


def _age(value: object) -> float:
    seconds = parse_duration(value)
    if seconds < _SHORTEST_AGE:
        raise ValueError(f"{value!r} leaves no way back; write 1h or more, as in 90d")
    return seconds


def _store(value: object, directory: Path) -> str:
    """`sqlite:///FILE`, relative to the configuration, or `postgresql://USER@HOST/DATABASE`."""
    written = values.text(value)
    if written.startswith(_SQLITE):
        file = written.removeprefix(_SQLITE)
        if not file or "?" in file:
            raise ValueError(f"{written!r} names no file; write sqlite:///policy.sqlite")
        return f"{_SQLITE}{(directory / file).absolute()}"
    try:
        parts = urlsplit(written)
        password, database = parts.password, parts.path.strip("/")
    except ValueError as error:
        raise ValueError(f"the address of the store cannot be read: {error}") from None
    if password is not None or "password=" in parts.query:
        raise ValueError("the address of the store holds a password; write it into a file and name that: password_file")
    if parts.scheme not in ("postgresql", "postgres"):
        raise ValueError(f"{written!r} is no store; write sqlite:///policy.sqlite or postgresql://user@host/database")
    if not database:
        raise ValueError(f"{written!r} names no database; write postgresql://user@host/database")
    return written
