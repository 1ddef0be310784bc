"""Whatever went wrong, as one of `errors`: the one border between exceptions of any kind and answers and records."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure

from netfw.errors import ClientGone, NetfwError, OriginProtocolError, ShuttingDown
from netfw.http1.errors import IncompleteBody
from netfw.proxy.exchange import Exchange

_log = Logger()


def error_of(problem: BaseException, exchange: Exchange, *, client_gone: bool) -> NetfwError:
    """The error that ends this exchange. What is not ours to expect is logged whole and told in no detail."""
    if client_gone:
        return ClientGone("the client left")
    if isinstance(problem, NetfwError):
        return problem
    if isinstance(problem, CancelledError):
        return ShuttingDown("the proxy is stopping")
    if isinstance(problem, IncompleteBody):
        return OriginProtocolError("the origin's body is not as long as it said")
    _log.failure("exchange {id} failed", failure=Failure(problem), id=exchange.id)
    return NetfwError("an error inside the proxy; the exchange was not carried out", detail=repr(problem))
