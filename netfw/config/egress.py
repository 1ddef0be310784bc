"""`egress`: the addresses of this machine that origins see.

PURE. In this room: the section and its pools. Not here: whether this machine has the addresses
(`config.own_addresses`), and which one a connection leaves from (`proxy.ways`).
"""

from __future__ import annotations

from netfw.config import values
from netfw.config.model import EgressSection, ListenerSection
from netfw.config.selectors import take_selector
from netfw.config.table import Table
from netfw.config.way_model import Choice, EgressPool


def read_egress(table: Table, listeners: tuple[ListenerSection, ...]) -> EgressSection:
    """The section: `source_addresses` for everything, `pools` for what they fit."""
    addresses = _addresses(table, "source_addresses")
    pools: list[EgressPool] = []
    for entry in table.tables("pools"):
        pool = _pool(entry, listeners)
        if pool.name is not None and any(pool.name == other.name for other in pools):
            entry.complain("name", f"{pool.name!r} is another pool's name too; give each its own")
        if any(other.selector.is_empty for other in pools):
            entry.complain("", f"is never used: {pools[-1].name} before it fits every exchange")
        pools.append(pool)
    table.close()
    return EgressSection(source_addresses=addresses, pools=tuple(pools))


def _pool(table: Table, listeners: tuple[ListenerSection, ...]) -> EgressPool:
    pool = EgressPool(
        name=table.take("name", values.name),
        addresses=_addresses(table, "addresses"),
        selector=take_selector(table, listeners),
        choice=table.take("choice", values.one_of(Choice), Choice.SPREAD),
    )
    if not pool.addresses and not any(table.has_problem(f"addresses{index}") for index in ("", "[0]")):
        table.complain("addresses", "is missing; name addresses of this machine")
    table.close()
    return pool


def _addresses(table: Table, key: str) -> tuple[values.Address, ...]:
    found: tuple[values.Address, ...] = table.take_list(key, values.address, single=key == "addresses")
    for position, address in enumerate(found):
        if address.is_unspecified or address.is_multicast:
            table.complain(f"{key}[{position}]", f"{address} cannot be a source; name one of this machine's")
        elif address in found[:position]:
            table.complain(f"{key}[{position}]", f"{address} is there already")
    return found
