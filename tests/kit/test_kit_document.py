"""docs/clients.md and the tables are one."""

from __future__ import annotations

import re
from pathlib import Path

from netfw.kit.clients import CLIENTS
from netfw.kit.document import page
from netfw.kit.variables import VARIABLES, Value

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_tables_say() -> None:
    """`python -m netfw.kit.document > docs/clients.md` changes nothing."""
    assert (ROOT / "docs" / "clients.md").read_text() == page()


def test_clients_name_variables_that_are_set() -> None:
    """And no variable is there for nobody."""
    names = {variable.name for variable in VARIABLES}
    for client in CLIENTS:
        assert set(client.told_by) | set(client.trusts) <= names, client.name
        for named in re.findall(r"`([A-Z][A-Z_]+)`", client.also):
            assert named in names, (client.name, named)
    assert len(names) == len(VARIABLES)


def test_each_proxy_variable_comes_in_both_cases() -> None:
    """curl reads the one, others the other."""
    names = {variable.name for variable in VARIABLES if variable.value in (Value.PROXY, Value.NO_PROXY)}
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        assert {name, name.upper()} <= names


def test_the_table_has_one_cell_a_column() -> None:
    """A bar in a cell would make another one."""
    for line in page().splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) in (3, 4, 6), line
