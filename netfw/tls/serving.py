"""TLS for the surfaces beside the data path: Twisted's own, with a context of `contexts`.

Not here: listeners that clients of the proxy come to; those have transports of their own (`stream`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from netfw.tls.contexts import listener_context


@implementer(IOpenSSLServerConnectionCreator)
class _Serving:
    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """See `IOpenSSLServerConnectionCreator`."""
        return SSL.Connection(self._context, None)


def tls_factory(factory: Any, certificate: Path, private_key: Path) -> TLSMemoryBIOFactory:
    """The factory, over TLS with these PEM files. Raises `contexts.ContextProblem`."""
    return TLSMemoryBIOFactory(_Serving(listener_context(certificate, private_key)), False, factory)
