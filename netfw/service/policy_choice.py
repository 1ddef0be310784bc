"""Which policy source a configuration asks for, made ready: files, or a store."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from netfw import __version__
from netfw.admin.status import ProcessStatus
from netfw.config.model import Configuration
from netfw.policy.compile import CompiledPolicy
from netfw.service.first_policy import FirstPolicy
from netfw.service.policy_source import FilePolicySource, PolicyInForce, ReloadResult

_LOAD = ("connections", "tunnels")


def choose_policy_source(
    configuration: Configuration,
    first: FirstPolicy,
    reactor: Any,
    status: ProcessStatus,
    changed: Callable[[ReloadResult], Any],
    distribute: Callable[[CompiledPolicy], Deferred[tuple[str, ...]]] | None = None,
) -> PolicyInForce:
    """The source, with its first policy compiled."""
    if configuration.policy.store is None:
        return FilePolicySource(configuration.policy, first.policy, reactor, time.time, distribute)
    # The room of the store brings a database library with it: entered only where there is one.
    from netfw.service.store_policy_source import StorePolicySource
    from netfw.store.configured import followed
    from netfw.store.fleet import Node, node_id

    following = followed(configuration)
    host = socket.gethostname()
    node = Node(
        id=node_id(host, following.last_good),
        proxy=configuration.proxy.name,
        host=host,
        version=__version__,
        generation=first.generation,
        state=status.state.value,
        problem=None,
        load={},
        started=time.time(),
        contact=time.time(),
    )

    def health() -> tuple[str, dict[str, Any]]:
        members = status.status()
        return status.state.value, {name: members[name] for name in _LOAD if name in members}

    return StorePolicySource(
        following, node, first, reactor, time.time, distribute=distribute, changed=changed, health=health
    )
