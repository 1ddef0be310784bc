"""`manhole`: where operators look inside by SSH, and whose keys are let in.

Not here: whether the files are there (`config.files`), and what can be done inside (`netfw.admin.manhole_commands`).
"""

from __future__ import annotations

from pathlib import Path

from netfw.config import values
from netfw.config.model import ManholeSection
from netfw.config.sections import SOCKET_PATH_LIMIT
from netfw.config.table import Table


def read_manhole(table: Table, directory: Path) -> ManholeSection | None:
    """None when the section is not there: nothing listens."""
    section = ManholeSection(
        socket=table.take("socket", values.path(directory), None),
        address=table.take("address", values.address, None),
        port=table.take("port", values.port, None),
        authorized_keys=table.take("authorized_keys", values.path(directory), None),
        read_only_keys=table.take("read_only_keys", values.path(directory), None),
        decrypted_keys=table.take("decrypted_keys", values.path(directory), None),
        host_keys=table.take("host_keys", values.path(directory), directory),
        audit=table.take("audit", values.path(directory), None),
    )
    wanted = not table.is_empty
    if wanted:
        _check(section, table)
    table.close()
    return section if wanted else None


def _check(section: ManholeSection, table: Table) -> None:
    if section.socket is not None and section.address is not None:
        table.complain("", "has both socket and address; keep one of the two")
    if section.socket is None and section.address is None and not table.has_problem("address"):
        table.complain("", "listens nowhere; write socket: PATH, or address: 127.0.0.1 and port:")
    if section.socket is not None and len(str(section.socket).encode()) > SOCKET_PATH_LIMIT:
        table.complain("socket", f"{section.socket} is longer than {SOCKET_PATH_LIMIT} bytes, the kernel's limit")
    if section.address is not None and not section.address.is_loopback:
        table.complain("address", f"{section.address} is not a loopback address; write 127.0.0.1 or ::1")
    if section.address is not None and section.port is None and not table.has_problem("port"):
        table.complain("port", "is missing; write one, such as 2222")
    if section.address is None and section.port is not None:
        table.complain("port", "belongs to an address; write address: 127.0.0.1, or leave it out")
    if section.authorized_keys is None and section.read_only_keys is None:
        table.complain("", "lets nobody in; name authorized_keys or read_only_keys, a file in the form of OpenSSH's")
    if "host_keys" not in table:
        table.complain("host_keys", "is missing; name a directory for the host keys, which are made at the first start")
