"""What `twistd` calls to get the service. The only module that imports the reactor.

Not here: the options (`service.options`) and the wiring (`service.assembly`).
"""

from __future__ import annotations

from twisted.application.service import IService

from netfw.service.options import Options

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> IService:
    """Return the proxy as a service, not yet started."""
    # Importing it installs it: only here, where twistd has already chosen one.
    from twisted.internet import reactor  # noqa: TID251 - the one place, everything else gets it as an argument

    from netfw.service.assembly import assemble

    service: IService = assemble(options.configuration, reactor)
    return service
