"""`upstream.proxies`, `upstream.routes` and `upstream.health`: proxies above this one, and which exchanges go there.

PURE but for looking up symbolic links in paths. In this room: the entries, and what must hold between them and the
listeners. Not here: the files that they name (`config.files`), and choosing (`proxy.ways`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

from netfw.config import values
from netfw.config.model import ListenerSection
from netfw.config.nearest import nearest
from netfw.config.selectors import take_selector
from netfw.config.table import Table
from netfw.config.units import parse_duration
from netfw.config.way_model import AskedBy, Balance, HealthSection, ParentEntry, RouteEntry, Selector
from netfw.names.authority import AuthorityError, parse_authority
from netfw.names.host import HostError, host_from_text

_URL = re.compile(r"(https?)://([^/?#@\s]+)/?", re.ASCII)
_MOST_CHECKS = 100


def read_proxies(table: Table, directory: Path, listeners: tuple[ListenerSection, ...]) -> tuple[ParentEntry, ...]:
    """`proxies`: who they are."""
    read: list[ParentEntry] = []
    for entry in table.tables("proxies"):
        parent = _parent(entry, directory)
        if parent.name is not None and any(parent.name == other.name for other in read):
            entry.complain("name", f"{parent.name!r} is another proxy's name too; give each its own")
        for listener in listeners:
            if parent.host and _is_listener(parent, listener):
                entry.complain("url", f"is the listener {listener.name} of this proxy itself: requests would go round")
        read.append(parent)
    return tuple(read)


def _parent(table: Table, directory: Path) -> ParentEntry:
    name = table.take("name", values.name)
    # What is missing is reported; nobody uses the result then.
    tls, host, port = table.take("url", _url) or (False, "", 0)
    path = values.path(directory)
    trust = None
    if "trust" in table and table.take("trust", values.anything, "system") != "system":
        trust = table.take_list("trust", path, single=True)
        if table.is_empty_list("trust"):
            table.complain("trust", "trusts nobody; write system, a PEM file or a list of them")
    parent = ParentEntry(
        name=name,
        host=host,
        port=port,
        tls=tls,
        credentials=table.take("credentials", path, None),
        trust=trust,
        certificate=table.take("certificate", path, None),
        private_key=table.take("private_key", path, None),
    )
    for key, other in (("certificate", "private_key"), ("private_key", "certificate")):
        if key in table and other not in table:
            table.complain(other, f"is missing; {key} alone proves nothing")
    for key in ("trust", "certificate", "private_key"):
        if key in table and host and not tls:
            table.complain(key, "is for TLS, and the url begins with http://; write https://, or leave it out")
    table.close()
    return parent


def read_routes(
    table: Table, parents: tuple[ParentEntry, ...], listeners: tuple[ListenerSection, ...]
) -> tuple[RouteEntry, ...]:
    """`routes`, in the order in which they are asked; without any, everything goes through the proxies in theirs.

    The last one fits every exchange, so that nothing is left without a way, or goes one that nobody wrote.
    """
    tables = table.tables("routes")
    if not tables:
        names = tuple(parent.name for parent in parents)
        return (RouteEntry(Selector(), names),) if names else ()
    routes = tuple(_route(entry, parents, listeners) for entry in tables)
    for position, route in enumerate(routes):
        is_last = position == len(routes) - 1
        if route.selector.is_empty and not is_last and not _has_problems(tables[position]):
            tables[position].complain("", "fits every exchange, so the routes after it are never asked; put it last")
        if is_last and not route.selector.is_empty:
            table.complain("routes", "do not say where the rest goes; end them with {direct: true} or {proxies: [...]}")
    return routes


def _has_problems(table: Table) -> bool:
    return any(table.has_problem(key) for key in ("", "domains", "sources", "listeners", "vpces", "vpcs"))


def _route(table: Table, parents: tuple[ParentEntry, ...], listeners: tuple[ListenerSection, ...]) -> RouteEntry:
    direct = table.take("direct", values.boolean, False)
    route = RouteEntry(
        selector=take_selector(table, listeners),
        proxies=table.take_list("proxies", _known(parents), single=True),
        balance=table.take("balance", values.one_of(Balance), Balance.IN_ORDER),
        by=table.take("by", values.one_of(AskedBy), AskedBy.ADDRESS),
    )
    if direct:
        for key in ("proxies", "balance", "by"):
            if key in table:
                table.complain(key, "has no meaning where direct: true goes to origins themselves; keep one of the two")
    elif "proxies" not in table or table.is_empty_list("proxies"):
        table.complain("", "says no way; write proxies: [NAME], or direct: true")
    table.close()
    return route


def read_health(table: Table) -> HealthSection:
    """`health`: when a parent is down."""
    default = HealthSection()
    count = values.count(1, _MOST_CHECKS)
    section = HealthSection(
        interval=table.take("interval", parse_duration, default.interval),
        timeout=table.take("timeout", _above_zero, default.timeout),
        fall=table.take("fall", count, default.fall),
        rise=table.take("rise", count, default.rise),
        retry=table.take("retry", _above_zero, default.retry),
        probe=table.take("probe", _host_and_port, None),
    )
    if section.probe is not None and not section.interval:
        table.complain("probe", "is never asked for with interval: 0; leave one of the two out")
    table.close()
    return replace(section, interval=float(section.interval))


def _known(parents: tuple[ParentEntry, ...]) -> Callable[[object], str]:
    names = [parent.name for parent in parents if parent.name is not None]

    def parse(value: object) -> str:
        name = values.name(value)
        if name not in names:
            guess = nearest(name, names)
            known = ", ".join(names) or "none"
            hint = f"did you mean {guess}?" if guess else f"there are: {known}"
            raise ValueError(f"{name!r} is none of upstream.proxies; {hint}")
        return name

    return parse


def _url(value: object) -> tuple[bool, str, int]:
    """`http://HOST:PORT` or `https://HOST:PORT`: whether it is TLS, the canonical host, the port."""
    match = _URL.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        if isinstance(value, str) and "@" in value:
            raise ValueError("has a name or password in it; put them into a file that credentials names")
        raise ValueError(f"{value!r} is not a proxy's address; write one like http://proxy.example.com:3128")
    host, port = _host_and_port(match[2])
    return match[1] == "https", host, port


def _host_and_port(value: object) -> tuple[str, int]:
    written = values.text(value)
    name, _, digits = written.rpartition(":")
    try:
        host = host_from_text(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
        authority = parse_authority(f"{host.bracketed}:{digits}".encode("ascii"))
    except (AuthorityError, HostError, UnicodeError) as problem:
        raise ValueError(f"{written!r} is not host:port: {problem}; write one like proxy.example.com:3128") from None
    return authority.host.text, authority.port


def _above_zero(value: object) -> float:
    seconds = parse_duration(value)
    if seconds <= 0:
        raise ValueError(f"{value!r}: write a duration above 0, as in 5s")
    return seconds


def _is_listener(parent: ParentEntry, listener: ListenerSection) -> bool:
    """Whether what is written is this listener; what a name leads to is looked at when it is dialled."""
    host = host_from_text(parent.host)
    if listener.address is None or not listener.port or listener.port != parent.port or not host.is_address:
        return False
    address = ip_address(host.text)
    return address == listener.address or (address.is_loopback and listener.address.is_unspecified)
