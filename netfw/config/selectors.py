"""`domains`, `sources`, `listeners` and what else says which exchanges an entry is for: the same in every list.

PURE. In this room: reading them, and what must hold between them and the listeners. Not here: whether an exchange fits
(`proxy.selection`).
"""

from __future__ import annotations

from collections.abc import Callable

from netfw.config import values
from netfw.config.model import ListenerSection
from netfw.config.nearest import nearest
from netfw.config.sources import account, identity, resource
from netfw.config.table import Table
from netfw.config.way_model import Selector
from netfw.names.domain_form import parse_domain_form

KEYS = ("domains", "sources", "listeners", "vpces", "vpcs", "accounts", "identities")


def take_selector(table: Table, listeners: tuple[ListenerSection, ...]) -> Selector:
    """The selector of an entry; what is written as an empty list is a problem, for it would fit everything."""
    selector = Selector(
        domains=table.take_list("domains", _domain, single=True),
        sources=table.take_list("sources", values.network, single=True),
        listeners=table.take_list("listeners", _listener(listeners), single=True),
        vpces=table.take_list("vpces", resource("vpce-"), single=True),
        vpcs=table.take_list("vpcs", resource("vpc-"), single=True),
        accounts=table.take_list("accounts", account, single=True),
        identities=table.take_list("identities", identity, single=True),
    )
    for key in KEYS:
        told = any(table.has_problem(f"{key}{index}") for index in ("", "[0]"))
        if key in table and not getattr(selector, key) and not told:
            table.complain(key, "is empty; give it a value or leave the line out")
    return selector


def _domain(value: object) -> str:
    return str(parse_domain_form(values.text(value)))


def _listener(listeners: tuple[ListenerSection, ...]) -> Callable[[object], str]:
    names = [listener.name for listener in listeners if listener.name is not None]

    def parse(value: object) -> str:
        name = values.name(value)
        if name not in names:
            guess = nearest(name, names)
            hint = f"did you mean {guess}?" if guess else f"there are: {', '.join(names)}"
            raise ValueError(f"{name!r} is no listener; {hint}")
        return name

    return parse
