"""Loading the process's configuration: `load_config(path)` gives a `Configuration` or raises every problem at once.

In this room: the order of the sections, what must hold between them, and the lines that problems are reported with.
Not here: the settings themselves (`config.sections`), the files that they name (`config.files`), the policy
(`config.policy_files`), and everything together, as a start checks it (`config.preflight`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from netfw.config import sections
from netfw.config.consistency import read_consistency
from netfw.config.control_section import read_control
from netfw.config.document import locate, parse_json, parse_yaml, read_text
from netfw.config.egress import read_egress
from netfw.config.errors import ConfigErrors, Problem
from netfw.config.files import check_files
from netfw.config.log_section import read_log
from netfw.config.manhole_section import read_manhole
from netfw.config.model import Address, Configuration, ListenerSection
from netfw.config.policy_section import read_policy_section
from netfw.config.sources import read_sources
from netfw.config.table import Table
from netfw.config.upstream import read_upstream


def load_config(path: Path | str, *, with_files: bool = True) -> Configuration:
    """Return the configuration in a YAML (or `.json`) file. Raises ConfigErrors with every problem.

    Relative paths in the file are relative to the file. `with_files=False` leaves out whether certificates, keys and
    directories that it names are there: `netfw ca init` makes some of them.
    """
    file = Path(path).absolute()
    text = read_text(file)
    document = parse_json(text, str(file)) if file.suffix == ".json" else parse_yaml(text, str(file))
    if not isinstance(document, dict):
        raise ConfigErrors(
            [Problem("", "holds no settings; see etc/proxy.yaml for an example with every one", source=str(file))]
        )
    problems: list[Problem] = []
    configuration = _read(document, file, problems)
    if not problems and with_files:
        problems += check_files(configuration)
    if problems:
        raise ConfigErrors(with_lines(problems, text, str(file)))
    return configuration


def with_lines(problems: list[Problem], text: str, source: str) -> list[Problem]:
    """Return the problems with the lines of their paths in the text, in the order of the lines."""
    lines = locate(text, {problem.path for problem in problems if problem.path})
    located = [replace(problem, line=lines.get(problem.path), source=source) for problem in problems]
    return sorted(located, key=lambda problem: problem.line or 0)


def _read(document: dict[str, object], file: Path, problems: list[Problem]) -> Configuration:
    top = Table(document, "", problems)
    directory = file.parent
    policy = read_policy_section(top.table("policy", wanted="file:, directory: or store:"), directory)
    listeners = _listeners(top, directory, has_store=policy.store is not None)
    admin_table = top.table("admin")
    manhole_table = top.table("manhole")
    configuration = Configuration(
        path=file,
        proxy=sections.read_proxy(top.table("proxy")),
        listeners=listeners,
        tls_intercept=sections.read_tls_intercept(top.table("tls_intercept"), directory),
        policy=policy,
        dns=sections.read_dns(top.table("dns"), directory),
        egress=read_egress(top.table("egress"), listeners),
        guard=sections.read_guard(top.table("guard")),
        upstream=read_upstream(top.table("upstream"), directory, listeners),
        limits=sections.read_limits(top.table("limits")),
        timeouts=sections.read_timeouts(top.table("timeouts")),
        deny=sections.read_deny(top.table("deny")),
        log=read_log(top.table("log"), directory),
        admin=sections.read_admin(admin_table, directory),
        workers=sections.read_workers(top),
        sources=read_sources(top, listeners),
        manhole=read_manhole(manhole_table, directory),
        control=read_control(top.table("control"), directory),
        consistency=read_consistency(top.table("consistency")),
        tunnels=sections.read_tunnels(top.table("tunnels")),
    )
    _check_port(configuration.admin.address, configuration.admin.port, listeners, admin_table)
    manhole = configuration.manhole
    if manhole is not None:
        _check_port(manhole.address, manhole.port, listeners, manhole_table)
        if manhole.port and (manhole.address, manhole.port) == (configuration.admin.address, configuration.admin.port):
            manhole_table.complain("port", f"{manhole.port} is the admin surface's port; choose another")
    top.close()
    return configuration


def _listeners(top: Table, directory: Path, *, has_store: bool) -> tuple[ListenerSection, ...]:
    tables = top.tables("listeners")
    if not tables and not top.has_problem("listeners"):
        top.complain("listeners", "is empty; name at least one: `- {name: main, type: HTTP, address: 127.0.0.1}`")
    read: list[ListenerSection] = []
    for table in tables:
        listener = sections.read_listener(table, directory)
        if listener.from_store and not has_store:
            table.complain("from_store", "is for a policy in a store, whose API says which ports; take it out")
        for earlier in read:
            if listener.name is not None and listener.name == earlier.name:
                table.complain("name", f"{listener.name!r} is another listener's name too; give each its own")
            if _collide(listener, earlier):
                table.complain(
                    "port",
                    f"{_shown(listener)} collides with {_shown(earlier)} of {earlier.name}; give one another port",
                )
            elif _may_collide(listener, earlier):
                table.complain("from_store", f"has ports that {earlier.name} may have too; give each its own")
        read.append(listener)
    return tuple(read)


def _check_port(
    address: Address | None, port: int | None, listeners: tuple[ListenerSection, ...], table: Table
) -> None:
    if address is None or not port:
        return
    for listener in listeners:
        if listener.port != port or listener.address is None:
            continue
        if listener.address == address or listener.address.is_unspecified:
            table.complain("port", f"{port} is the port of listener {listener.name}; choose another")


def _collide(one: ListenerSection, other: ListenerSection) -> bool:
    """Whether the kernel would refuse the second of the two addresses."""
    if one.address is None or other.address is None or one.port != other.port or one.port == 0:
        return False
    if one.address == other.address:
        return True
    return one.address.version == other.address.version and (one.address.is_unspecified or other.address.is_unspecified)


def _may_collide(one: ListenerSection, other: ListenerSection) -> bool:
    """Whether a store could open a port for both that only one of them can have."""
    if one.address is None or other.address is None or one.type is not other.type:
        return False
    apart = one.address != other.address and not (one.address.is_unspecified or other.address.is_unspecified)
    if one.address.version != other.address.version or apart:
        return False
    return any(
        first <= last_of and first_of <= last
        for first, last in one.from_store
        for first_of, last_of in other.from_store
    )


def _shown(listener: ListenerSection) -> str:
    host = f"[{listener.address}]" if listener.address.version == 6 else str(listener.address)
    return f"{host}:{listener.port}"
