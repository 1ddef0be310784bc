"""The wiring of a worker: the data path with policies and leaves from the supervisor.

Not here: the process (`worker_process`), and the supervisor's side (`assembly`).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.threads import deferToThreadPool

from netfw.config.model import Configuration
from netfw.proxy.credentials import Credentials, read_credentials
from netfw.service.data_path import BoundListener, DataPath
from netfw.service.data_path_assembly import build_data_path
from netfw.service.delivery_assembly import load_carriers
from netfw.service.reconfiguration import prepare
from netfw.transport.accepting import ListeningSocket, adopt
from netfw.transport.deadlines import Deadlines
from netfw.workers.messages import FromWorker, Start
from netfw.workers.plain import from_plain
from netfw.workers.policies import SnapshotPolicies
from netfw.workers.remote_issuer import RemoteIssuer
from netfw.workers.sealed_files import close_files, places_of
from netfw.workers.worker import Parts


class AdoptedPath:
    """A data path over sockets that listen already. See `workers.worker.DataPath`."""

    def __init__(self, path: DataPath, listeners: Sequence[tuple[int, int, int]]) -> None:
        self._path = path
        self._one_at_a_time = DeferredLock()
        self._descriptors = {(position, port): descriptor for position, port, descriptor in listeners}
        self.drain: Callable[[float], Deferred[None]] = path.drain
        self.hurry: Callable[[float], None] = path.hurry
        self.reopen: Callable[[], None] = path.reopen
        self.intercept: Callable[[bool], None] = path.intercept
        self.end: Callable[[], None] = path.end
        self.connections: Callable[[int], list[dict[str, Any]]] = path.connections
        self.figures: Callable[[], dict[str, Any]] = path.figures

    def begin(self) -> None:
        """Open the records, and accept connections."""
        self._path.start()
        self._path.bind(self._adopt)
        self._path.settle()

    def reconfigure(self, configuration: Any, files: Mapping[str, int]) -> Deferred[None]:
        """See `workers.worker.DataPath`. The supervisor found the files good: what cannot be read here is a fault."""
        return self._one_at_a_time.run(self._reconfigure, from_plain(Configuration, configuration), files)

    def _reconfigure(self, configuration: Configuration, files: Mapping[str, int]) -> Deferred[None]:
        reactor = self._path.plane.reactor
        read = deferToThreadPool(reactor, reactor.getThreadPool(), _read, configuration, files)
        return read.addCallback(lambda credentials: prepare(self._path, configuration, credentials)())

    def open_port(self, position: int, port: int, descriptor: int) -> None:
        """See `workers.worker.DataPath`."""
        self._descriptors[position, port] = descriptor
        self._path.open_port(position, port, self._adopt)

    def close_port(self, position: int, port: int) -> None:
        """See `workers.worker.DataPath`."""
        self._path.close_port(position, port)
        descriptor = self._descriptors.pop((position, port), None)
        if descriptor is not None:  # it has not begun, so nothing was made of it
            os.close(descriptor)

    def _adopt(self, bound: BoundListener) -> ListeningSocket:
        sock = socket.socket(fileno=self._descriptors.pop((bound.position, bound.port)))
        sock.set_inheritable(False)
        return adopt(self._path.plane.descriptors, bound.factory, sock)


def _read(configuration: Configuration, files: Mapping[str, int]) -> Credentials:
    """From copies, which are closed then."""
    copies = {Path(path): descriptor for path, descriptor in files.items()}
    try:
        load_carriers(configuration.log.outputs)
        return read_credentials(configuration, places_of(copies))
    finally:
        close_files(copies)


def build_worker(start: Start, reactor: Any, send: Callable[[FromWorker], object]) -> Parts:
    """Everything that `Start` asks for. Raises what is wrong with it."""
    configuration = from_plain(Configuration, start.configuration)
    ports: list[list[int]] = [[] for _ in configuration.listeners]
    for position, port, _ in start.listeners:
        ports[position].append(port)
    deadlines = Deadlines(reactor)
    policies = SnapshotPolicies(reactor)
    issuer = RemoteIssuer(deadlines=deadlines, send=send) if configuration.tls_intercept.enabled else None
    path = build_data_path(
        configuration,
        reactor,
        deadlines=deadlines,
        policies=policies,
        issuer=issuer,
        credentials=_read(configuration, start.files),
        ports=ports,
    )
    return Parts(
        path=AdoptedPath(path, start.listeners),
        policies=policies,
        issuer=issuer,
        deadlines=deadlines,
        drain_seconds=configuration.timeouts.drain,
    )
