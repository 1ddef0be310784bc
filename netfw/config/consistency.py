"""`consistency`: what becomes of an exchange whose names disagree, from the file's data to the model. PURE.

In this room: the three checks, their verdicts, and exceptions by host. Not here: who compares the names
(`proxy.binding`). That the origin's certificate is for the name that was asked for is no setting.
"""

from __future__ import annotations

from typing import Any

from netfw.config import values
from netfw.config.model import ConsistencyException, ConsistencySection, NameCheck, NameVerdict
from netfw.config.table import Table
from netfw.names.domain_form import parse_domain_form

_CHECKS = tuple(check.value for check in NameCheck)
_VERDICTS = tuple(verdict.value for verdict in NameVerdict)


def read_consistency(table: Table) -> ConsistencySection:
    """The section; every check that it does not name is denied."""
    if "cert_name" in table:
        table.take("cert_name", values.anything)
        table.complain("cert_name", "the origin's certificate is always checked; take it out, nothing loosens that")

    def verdict(check: NameCheck) -> NameVerdict:
        found: NameVerdict = table.take(check.value, values.one_of(NameVerdict), NameVerdict.DENY)
        return found

    section = ConsistencySection(
        connect_sni=verdict(NameCheck.CONNECT_SNI),
        sni_host=verdict(NameCheck.SNI_HOST),
        missing_sni=verdict(NameCheck.MISSING_SNI),
        exceptions=table.take_list("exceptions", _exception),
    )
    table.close()
    return section


def _exception(value: object) -> ConsistencyException:
    """`{host: .cdn.example, source: 10.0.0.0/8, allow: sni_host, evaluate: [connect_sni]}`."""
    if not isinstance(value, dict) or "host" not in value:
        raise ValueError(f"{value!r}: write host: and what it may do, as in {{host: .cdn.example, allow: sni_host}}")
    unknown = sorted(str(key) for key in set(value) - {"host", "source", *_VERDICTS})
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not known here; write host, source, {', '.join(_VERDICTS)}")
    host = values.text(value["host"])
    parse_domain_form(host)
    source = values.network(value["source"]) if value.get("source") is not None else None
    verdicts: dict[NameCheck, NameVerdict] = {}
    for verdict in NameVerdict:
        for check in _checks(value.get(verdict.value)):
            if check in verdicts:
                raise ValueError(f"{check.value} has two verdicts for {host}; keep one")
            verdicts[check] = verdict
    if not verdicts:
        raise ValueError(f"{host} is excepted from nothing; write allow: or evaluate: and {', '.join(_CHECKS)}")
    return ConsistencyException(host, source, verdicts)


def _checks(value: Any) -> list[NameCheck]:
    if value is None:
        return []
    written = value if isinstance(value, list) else [value]
    return [values.one_of(NameCheck)(check) for check in written]
