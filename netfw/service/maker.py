"""What `twistd` calls to get the service. The only module that imports the reactor.

Not here: the options (`service.options`) and the wiring (`service.assembly`).
"""

from __future__ import annotations

import os
import sys

from twisted.application.service import IService

from netfw.service.given_sockets import GivenSocketsError, assign_given_sockets, take_given_sockets
from netfw.service.options import Options
from netfw.service.starting import Starting
from netfw.service.steady_clock import make_steady
from netfw.service.systemd import Notifier

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> IService:
    """Return the proxy as a service, not yet started."""
    # Importing it installs it: only here, where twistd has already chosen one.
    from twisted.internet import reactor  # noqa: TID251 - the one place, everything else gets it as an argument

    from netfw.service.assembly import assemble

    make_steady(reactor)
    # Now, before twistd goes into the background: both are meant for the process that was started.
    notifier = Notifier(os.environ, os.getpid())
    try:
        given = assign_given_sockets(take_given_sockets(os.environ, os.getpid()), options.configuration)
    except GivenSocketsError as error:
        print(f"twistd netfwproxy: {error}", file=sys.stderr)  # noqa: T201 - twistd's log is not there yet
        raise SystemExit(1) from None
    return Starting(assemble(options.configuration, reactor, notifier=notifier, given=given))
