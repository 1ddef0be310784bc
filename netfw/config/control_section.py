"""`control`: the API that changes the policy. Who may call it, how often, and how much there may be.

Not here: where it listens (`admin` in `config.sections`) and what it does (`netfw.control`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from netfw.config import defaults, values
from netfw.config.model import ControlSection, LocalUser, Quotas
from netfw.config.table import Table
from netfw.config.units import parse_size

ROLES = ("viewer", "editor", "operator", "owner")
_RULE_GROUP = re.compile(r"[A-Za-z0-9*?-]{1,128}", re.ASCII)
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]{1,2}", re.ASCII)
_ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
_SIZES = ("value_size", "rule_size", "group_size")
_MOST = 1_000_000


def read_control(table: Table, directory: Path) -> ControlSection:
    """Every setting has a default: without `keys` the API is open on the Unix socket only."""
    section = ControlSection(
        keys=table.take("keys", values.path(directory), None),
        region=table.take("region", _region, defaults.REGION),
        account=table.take("account", _account, defaults.ACCOUNT),
        quotas=_quotas(table),
        rate=float(table.take("rate", values.count(0, _MOST), defaults.CONTROL_RATE)),
        burst=table.take("burst", values.count(1, _MOST), defaults.CONTROL_BURST),
        audit=table.take("audit", values.path(directory), None),
        local=tuple(_local(entry) for entry in table.tables("local")),
    )
    table.close()
    return section


def _local(table: Table) -> LocalUser:
    """One entry: whom it is about, and what they may."""
    entry = LocalUser(
        user=table.take("user", _account_name, None),
        group=table.take("group", _account_name, None),
        roles=table.take_list("roles", _role, ("viewer",), single=True),
        rule_groups=table.take_list("rule_groups", _rule_group, single=True),
        decrypted=table.take("decrypted", values.boolean, False),
    )
    if (entry.user is None) is (entry.group is None) and not (table.has_problem("user") or table.has_problem("group")):
        table.complain("", "needs a user or a group of this machine, and not both")
    if ("editor" in entry.roles) is not bool(entry.rule_groups) and not table.has_problem("rule_groups"):
        table.complain(
            "rule_groups", "an editor needs names of rule groups, or patterns (payments-*), and no other role has them"
        )
    table.close()
    return entry


def _quotas(table: Table) -> Quotas:
    """`vendor`, or a mapping of those that shall differ; `none` is no limit."""
    if table.take("quotas", values.anything, None) == "vendor":
        return defaults.VENDOR_QUOTAS
    inner = table.table("quotas", wanted="vendor, or quotas")
    read = {
        field.name: inner.take(field.name, _quota(field.name), getattr(defaults.QUOTAS, field.name))
        for field in fields(Quotas)
    }
    inner.close()
    return Quotas(**read)


def _quota(name: str) -> Callable[[object], int | None]:
    def parse(value: object) -> int | None:
        if value == "none":
            return None
        if name in _SIZES:
            size = int(parse_size(value))
            if size < 1:
                raise ValueError(f"{value!r} leaves no room; write a size like 1KiB, or none")
            return size
        if isinstance(value, str):
            raise ValueError(f"{value!r} is not a number; write one, or none for no limit")
        return values.count(0, _MOST)(value)

    return parse


def _account_name(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    return values.text(value)


def _role(value: object) -> str:
    if value not in ROLES:
        raise ValueError(f"{value!r} is no role; write {', '.join(ROLES)}")
    return str(value)


def _rule_group(value: object) -> str:
    if not isinstance(value, str) or _RULE_GROUP.fullmatch(value) is None:
        raise ValueError(f"{value!r} is no name of a rule group and no pattern of names; write one like payments-*")
    return value


def _region(value: object) -> str:
    if not isinstance(value, str) or _REGION.fullmatch(value) is None:
        raise ValueError(f"{value!r} is not the name of a region; write one like us-east-2")
    return value


def _account(value: object) -> str:
    if not isinstance(value, str) or _ACCOUNT.fullmatch(value) is None:
        raise ValueError(f"{value!r} is not an account; write 12 digits in quotes")
    return value
