"""Whether this machine has the source addresses that `egress` names: a socket is bound to each, and nothing is sent.

Looked at by a start, by `netfw check`, and by a reload that changes them. Not here: which of them a connection leaves
from (`proxy.ways`).
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

from netfw.config.errors import Problem
from netfw.config.model import Address, Configuration

_NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


def address_problems(configuration: Configuration) -> list[Problem]:
    """What is wrong with them, each with its place."""
    source = str(configuration.path)
    return [
        Problem(path, message, source=source)
        for path, address in _named(configuration)
        if (message := unbindable(address)) is not None
    ]


def _named(configuration: Configuration) -> Iterator[tuple[str, Address]]:
    egress = configuration.egress
    for position, address in enumerate(egress.source_addresses):
        yield f"egress.source_addresses[{position}]", address
    for number, pool in enumerate(egress.pools):
        for position, address in enumerate(pool.addresses):
            yield f"egress.pools[{number}].addresses[{position}]", address


def unbindable(address: Address) -> str | None:
    """Why no connection can leave from this address, or None."""
    try:
        with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6) as sock:
            sock.bind((str(address), 0))
    except OSError as problem:
        if problem.errno in _NOT_HERE:
            return f"this machine does not have {address}; add it to an interface (ip address add), or take it out"
        return f"no connection can leave from {address}: {os.strerror(problem.errno or 0)}"
    return None
