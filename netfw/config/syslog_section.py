"""`syslog` of an output: `tls://siem.example.com:6514`, alone or with what is known of the server.

Not here: messages and connections (`telemetry.syslog_message`, `telemetry.syslog_destination`).
"""

from __future__ import annotations

import re
from pathlib import Path

from netfw.config import values
from netfw.config.log_model import FACILITIES, SyslogSection, SyslogTransport
from netfw.config.table import Table

_PORTS = {SyslogTransport.TCP: 601, SyslogTransport.TLS: 6514, SyslogTransport.UDP: 514}
_ADDRESS = re.compile(r"(tcp|tls|udp)://(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?/?", re.ASCII)
_SOCKET = re.compile(r"(unix|unix-stream):(?://)?(.+)")
_EXAMPLES = "tcp://192.0.2.1:601, tls://siem.example.com:6514, udp://192.0.2.1:514, unix:/dev/log"
_APP_NAME = re.compile(r"[!-~]{1,48}", re.ASCII)
_LONGEST_PATH = 107


def read_syslog(output: Table, directory: Path) -> SyslogSection | None:
    """The section inside an output; None when it is not there."""
    if "syslog" not in output:
        return None
    if not output.is_mapping("syslog"):
        alone: SyslogSection | None = output.take("syslog", lambda value: _address(value, directory), None)
        return alone
    table = output.table("syslog")
    place = table.take("to", lambda value: _address(value, directory))
    section = SyslogSection(
        transport=place.transport if place is not None else SyslogTransport.TCP,
        host=place.host if place is not None else None,
        port=place.port if place is not None else None,
        path=place.path if place is not None else None,
        facility=table.take("facility", values.word(*FACILITIES), "local0"),
        app_name=table.take("app_name", _app_name, "netfw"),
        ca=table.take("ca", values.path(directory), None),
        certificate=table.take("certificate", values.path(directory), None),
        private_key=table.take("private_key", values.path(directory), None),
        server_name=table.take("server_name", values.text, None),
    )
    for key, other in (("certificate", "private_key"), ("private_key", "certificate")):
        if key in table and other not in table:
            table.complain(other, f"is missing; {key} alone proves nothing to the server")
    if place is not None and place.transport is not SyslogTransport.TLS:
        for key in ("ca", "certificate", "private_key", "server_name"):
            if key in table:
                table.complain(key, f"is for TLS; write to: tls://..., or leave it out for {place.transport.value}")
    table.close()
    return section


def _address(value: object, directory: Path) -> SyslogSection:
    if isinstance(value, str):
        if (found := _ADDRESS.fullmatch(value)) is not None:
            transport = SyslogTransport(found[1])
            port = int(found[4]) if found[4] else _PORTS[transport]
            if 1 <= port <= 65535:
                return SyslogSection(transport, host=found[2] or found[3], port=port)
        elif (found := _SOCKET.fullmatch(value)) is not None:
            path = values.path(directory)(found[2])
            if len(str(path).encode()) > _LONGEST_PATH:
                raise ValueError(f"{path} is longer than {_LONGEST_PATH} bytes, the kernel's limit for a socket")
            return SyslogSection(SyslogTransport(found[1]), path=path)
    raise ValueError(f"{value!r} is no syslog server; write one like {_EXAMPLES}")


def _app_name(value: object) -> str:
    if not isinstance(value, str) or not _APP_NAME.fullmatch(value):
        raise ValueError(f"{value!r} is no APP-NAME; write 1 to 48 visible ASCII characters (RFC 5424, section 6.2.5)")
    return value
