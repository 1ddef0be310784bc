"""The wiring of the manhole: its keys, its audit and its socket, when the configuration asks for one.

Importing it needs Twisted's SSH and with it a reactor that is already chosen; `assembly` does so only then.
"""

from __future__ import annotations

import json
import time
from typing import Any

from twisted.application.service import IService, MultiService, Service
from twisted.logger import Logger

from netfw.admin.adopted_port import adopt_port
from netfw.admin.host_keys import host_keys
from netfw.admin.manhole import ManholeFactory
from netfw.admin.operator_keys import Operator, OperatorKeys
from netfw.admin.server import AdminPort, listen_unix
from netfw.config.model import Configuration
from netfw.service.manhole_operations import ManholeOperations
from netfw.telemetry.file_destination import file_log
from netfw.telemetry.log import tell
from netfw.telemetry.record_log import RecordLog

_log = Logger()


class ManholeAudit(Service):
    """Who came, who was refused, and what was typed: into the program's log, and into a file where one is named."""

    def __init__(self, records: RecordLog | None) -> None:
        self._records = records

    def startService(self) -> None:
        """Begin to write."""
        super().startService()
        if self._records is not None:
            self._records.start()

    def stopService(self) -> None:
        """Write what waits."""
        super().stopService()
        if self._records is not None:
            self._records.close()

    def reopen(self) -> None:
        """Open the file again."""
        if self._records is not None:
            self._records.reopen()

    def note(self, event: str, operator: Operator | None, **facts: str) -> None:
        """One line. What a client chose itself is printed so that it cannot be taken for anything else."""
        if operator is not None:
            facts = {
                "name": operator.name, "key": operator.fingerprint, "access": operator.access.value, **facts,
            }  # fmt: skip
        tell(_log, f"manhole.{event}", **facts)
        if self._records is not None:
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            self._records.write(json.dumps({"event": f"manhole.{event}", "at": at, **facts}).encode("ascii") + b"\n")


def manhole_service(
    configuration: Configuration, reactor: Any, operations: ManholeOperations, given: Any = None
) -> IService:
    """The service; `given` is its socket if it listens already. Raises HostKeyError."""
    section = configuration.manhole
    assert section is not None
    audit = ManholeAudit(file_log(section.audit) if section.audit is not None else None)

    def refused(name: str, key: str, reason: str) -> None:
        audit.note("refused", None, name=name, key=key, reason=reason)

    factory = ManholeFactory(
        reactor,
        name=configuration.proxy.name,
        host_keys=host_keys(section.host_keys),
        keys=OperatorKeys(section.authorized_keys, section.read_only_keys, refused, section.decrypted_keys),
        operations=operations.table,
        audit=audit.note,
    )
    service = MultiService()
    audit.setServiceParent(service)
    if given is not None:
        port = AdminPort(lambda: adopt_port(reactor, given, factory))
    elif section.socket is not None:
        path = section.socket
        port = AdminPort(lambda: listen_unix(reactor, path, factory))
    else:
        address, number = str(section.address), section.port
        port = AdminPort(lambda: reactor.listenTCP(number, factory, interface=address))
    port.setServiceParent(service)
    return service
