"""`sources`: what is known of clients besides their addresses.

In this room: the entries' form, and what must hold between them and the listeners. Not here: which entry a connection
meets (`proxy.sources`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from netfw.config import values
from netfw.config.model import ListenerSection, SourceEntry
from netfw.config.nearest import nearest
from netfw.config.table import Table

_ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
_LONGEST_ID = 64
_LONGEST_IDENTITY = 256


def read_sources(top: Table, listeners: tuple[ListenerSection, ...]) -> tuple[SourceEntry, ...]:
    """Every entry, in the order in which they are asked."""
    return tuple(_read_source(table, listeners) for table in top.tables("sources"))


def _read_source(table: Table, listeners: tuple[ListenerSection, ...]) -> SourceEntry:
    entry = SourceEntry(
        cidr=table.take("cidr", values.network, None),
        listener=table.take("listener", values.name, None),
        vpce=table.take("vpce", resource("vpce-"), None),
        account=table.take("account", account, None),
        vpc=table.take("vpc", resource("vpc-"), None),
        identity=table.take("identity", identity, None),
    )
    if table.has_problem(""):
        pass  # no mapping at all
    elif not any(key in table for key in ("cidr", "listener", "vpce")):
        table.complain("", "says of nobody whom it is about; write cidr, listener or vpce")
    elif (
        entry.vpce is not None
        and not any(key in table for key in ("cidr", "listener"))
        and not any(listener.proxy_protocol_from for listener in listeners)
    ):
        table.complain("vpce", "is known from PROXY headers only, and no listener has proxy_protocol")
    if entry.listener is not None:
        names = [listener.name for listener in listeners if listener.name is not None]
        if entry.listener not in names:
            guess = nearest(entry.listener, names)
            hint = f"did you mean {guess}?" if guess else f"there are: {', '.join(names)}"
            table.complain("listener", f"{entry.listener!r} is no listener; {hint}")
    for key in ("cidr", "listener", "vpce"):
        if key in table and getattr(entry, key) is None and not table.has_problem(key):
            # A selector that is lost would let the entry speak of everybody.
            table.complain(key, "is empty; give it a value or leave the line out")
    table.close()
    return entry


def account(value: object) -> str:
    """The 12 digits of an account."""
    if not isinstance(value, str) or not _ACCOUNT.fullmatch(value):
        raise ValueError(f"{value!r} is not an account; write its 12 digits, in quotes")
    return value


def resource(prefix: str) -> Callable[[object], str]:
    """An id of the vendor's form, beginning with `vpc-`, `vpce-`."""
    form = re.compile(rf"{prefix}[0-9a-f]{{1,{_LONGEST_ID}}}", re.ASCII)

    def parse(value: object) -> str:
        if not isinstance(value, str) or not form.fullmatch(value):
            raise ValueError(f"{value!r} is not an id of the form {prefix}0123abcd")
        return value

    return parse


def identity(value: object) -> str:
    """What a client is called: a text of a bounded length."""
    written = values.text(value)
    if len(written) > _LONGEST_IDENTITY:
        raise ValueError(f"{value!r} is longer than {_LONGEST_IDENTITY} characters")
    return written
