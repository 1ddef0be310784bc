"""How a listener's clients prove who they are: certificates over TLS, passwords, or either.

PURE but for looking up symbolic links in paths. In this room: `client_ca`, `client_crl_files`, `client_certificate` and
`users` of a listener. Not here: what is in these files.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from netfw.config import values
from netfw.config.model import ListenerType
from netfw.config.table import Table

_REALM = re.compile(r"[ !#-\[\]-~]{1,64}", re.ASCII)


def read_client_proof(table: Table, directory: Path, kind: ListenerType) -> dict[str, Any]:
    """The members of a ListenerSection that are about it."""
    path = values.path(directory)
    found = {
        "client_ca": table.take("client_ca", path, None),
        "client_crl_files": table.take_list("client_crl_files", path, single=True),
        "client_required": table.take("client_certificate", values.word("required", "optional"), "required")
        == "required",
        "users": table.take("users", path, None),
        "realm": table.take("realm", _realm, "netfw"),
    }
    for key in ("client_ca", "client_crl_files", "client_certificate"):
        if key not in table:
            continue
        if kind is ListenerType.HTTP:
            table.complain(key, "belongs to an HTTPS listener; write type: HTTPS or leave it out")
        elif "client_ca" not in table:
            table.complain(key, "means nothing without client_ca; name the CA of the clients, a PEM file")
    if "realm" in table and "users" not in table:
        table.complain("realm", "means nothing without users; name the users file")
    if "users" in table and "client_ca" in table and "client_certificate" not in table:
        table.complain(
            "users",
            "is never asked where a certificate is required; write client_certificate: optional, so that clients "
            "without one are asked for a password",
        )
    return found


def _realm(value: object) -> str:
    if not isinstance(value, str) or not _REALM.fullmatch(value):
        raise ValueError(f"{value!r} is no realm; write 1 to 64 printable ASCII characters, no quotes or backslashes")
    return value
