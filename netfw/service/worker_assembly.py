"""The wiring of a worker: the data path with policies and leaves from the supervisor.

Not here: the process (`worker_process`), and the supervisor's side (`assembly`).
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from netfw.config.model import Configuration
from netfw.service.data_path import BoundListener, DataPath
from netfw.service.data_path_assembly import build_data_path
from netfw.service.reconfiguration import prepare
from netfw.transport.accepting import ListeningSocket, adopt
from netfw.transport.deadlines import Deadlines
from netfw.workers.messages import FromWorker, Start
from netfw.workers.plain import from_plain
from netfw.workers.policies import SnapshotPolicies
from netfw.workers.remote_issuer import RemoteIssuer
from netfw.workers.worker import Parts


class AdoptedPath:
    """A data path over sockets that listen already. See `workers.worker.DataPath`."""

    def __init__(self, path: DataPath, descriptors: tuple[int, ...]) -> None:
        self._path = path
        self._descriptors = descriptors
        self.drain: Callable[[float], Deferred[None]] = path.drain
        self.hurry: Callable[[float], None] = path.hurry
        self.reopen: Callable[[], None] = path.reopen
        self.intercept: Callable[[bool], None] = path.intercept
        self.end: Callable[[], None] = path.end
        self.figures: Callable[[], dict[str, Any]] = path.figures

    def begin(self) -> None:
        """Open the records, and accept connections."""
        self._path.start()
        self._path.bind(self._adopt)
        self._path.settle()

    def reconfigure(self, configuration: Any) -> None:
        """Go on with these settings. Raises what is wrong with them."""
        prepare(self._path, from_plain(Configuration, configuration))()

    def _adopt(self, position: int, bound: BoundListener) -> ListeningSocket:
        sock = socket.socket(fileno=self._descriptors[position])
        sock.set_inheritable(False)
        return adopt(self._path.plane.reactor, bound.factory, sock)


def build_worker(start: Start, reactor: Any, send: Callable[[FromWorker], object]) -> Parts:
    """Everything that `Start` asks for. Raises what is wrong with it."""
    configuration = from_plain(Configuration, start.configuration)
    if len(start.listeners) != len(configuration.listeners):
        raise ValueError("a descriptor for each listener is needed")
    deadlines = Deadlines(reactor)
    policies = SnapshotPolicies(reactor)
    issuer = RemoteIssuer(deadlines=deadlines, send=send) if configuration.tls_intercept.enabled else None
    path = build_data_path(
        configuration,
        reactor,
        deadlines=deadlines,
        policies=policies,
        issuer=issuer,
        ca_certificate=start.ca_certificate.encode("ascii") if start.ca_certificate is not None else None,
    )
    return Parts(
        path=AdoptedPath(path, start.listeners),
        policies=policies,
        issuer=issuer,
        deadlines=deadlines,
        drain_seconds=configuration.timeouts.drain,
    )
