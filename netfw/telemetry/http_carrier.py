"""Batches by HTTP POST, through treq: JSON lines, or whatever an envelope makes of them.

The request runs on the reactor, whose connections it uses; whoever carries waits for it on its own thread. Redirects
are not followed, for they would take the credentials elsewhere. RFC 9110, sections 10.2.3 (Retry-After) and 15. Not
here: retries (`spooled_destination`), and OTLP's envelope (`otlp_message`).
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import replace
from queue import Empty, SimpleQueue
from time import time
from typing import Any

from OpenSSL import SSL
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError, TimeoutError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseFailed, ResponseNeverReceived
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer
from zope.interface import implementer

from netfw.telemetry.carrier import JSON_LINES, Carried, NotCarried, Stopping, TooLarge
from netfw.telemetry.delivery_secrets import HttpCredentials, ServerVerification, tls_words
from netfw.telemetry.record_values import MASK
from netfw.telemetry.retry_after import retry_after

CONNECT = 10.0
WHOLE = 30.0
"""Seconds that one request may take, its answer included."""
_LOOK = 0.5
_ANSWER = 64 * 1024
_SHOWN = 200
# Shorter words of our fields are words of others, too.
_SECRET = 6
_BUSY = frozenset([408, 425, 429, 502, 503, 504])
# The batch itself is at fault: it would be the next time.
_REFUSED = frozenset([400, 422])
_REASONS = {401: "credentials", 403: "credentials", 407: "credentials", 404: "not_found", 410: "not_found"}

Envelope = Callable[[list[bytes]], bytes]
"""From the lines of a batch to the body of a request."""


def json_lines(records: list[bytes]) -> bytes:
    """The lines as they are."""
    return b"".join(records)


class HttpCarrier:
    """POSTs to `url`, which is `shown` to people. `credentials` gives those in force, and is asked for each batch;
    `accepted` reads a 2xx answer's body.
    """

    def __init__(
        self,
        url: str,
        credentials: Callable[[], HttpCredentials],
        *,
        reactor: Any,
        content_type: str = JSON_LINES,
        envelope: Envelope = json_lines,
        compress: bool = True,
        accepted: Callable[[bytes, int], Carried] = lambda _body, _count: Carried(),
        whole: float = WHOLE,
        shown: str | None = None,
    ) -> None:
        self.shown = url if shown is None else shown
        self._url = url
        self._credentials = credentials
        self._reactor = reactor
        self._content_type = content_type
        self._envelope = envelope
        self._compress = compress
        self._accepted = accepted
        self._whole = whole
        self._stopping = False
        self._client: Any = None
        self._connected_by: HttpCredentials | None = None
        self._pool: Any = None

    def carry(self, records: list[bytes], identity: str) -> Carried:
        """See `Carrier`."""
        body = self._envelope(records)
        headers = {"Content-Type": [self._content_type], "X-Batch-Id": [identity]}
        if self._compress:
            body = gzip.compress(body, 5)
            headers["Content-Encoding"] = ["gzip"]
        status, answered, answer = self._wait_for(lambda: self._post(body, headers))
        if 200 <= status < 300:
            carried = self._accepted(answer, len(records))
            return replace(carried, detail=self._without_secrets(carried.detail))
        said = self._without_secrets(answer.decode("utf-8", "replace"))
        detail = f"{self.shown} answered {status}: {said[:_SHOWN]}"
        if status == 413:
            raise TooLarge(detail)
        if status in _REFUSED:
            return Carried(refused=len(records), reason="refused", detail=detail)
        reason = "busy" if status in _BUSY else _REASONS.get(status, "failed")
        raise NotCarried(reason, detail, retry_after(answered.getRawHeaders(b"retry-after", [b""])[0], time()))

    def renew(self) -> None:
        """See `Carrier`. A connection that is in use ends with its request."""
        self._reactor.callFromThread(self._forget)

    def stop(self) -> None:
        """See `Carrier`."""
        self._stopping = True
        self._reactor.callFromThread(self._forget)

    def _without_secrets(self, said: str) -> str:
        """A server may tell us what we have sent."""
        if said and self._connected_by is not None:
            for value in self._connected_by.headers.values():
                for word in (value, *value.split()):
                    if len(word) >= _SECRET:
                        said = said.replace(word, MASK)
        return said

    def _wait_for(self, begin: Callable[[], Deferred[Any]]) -> Any:
        """The Deferred's result. The reactor may stop meanwhile, and will never say so."""
        done: SimpleQueue[Any] = SimpleQueue()
        self._reactor.callFromThread(self._start, begin, done)
        while not self._stopping:
            try:
                result = done.get(timeout=_LOOK)
            except Empty:
                continue
            if isinstance(result, Failure):
                raise _not_carried(self.shown, result.value or result, self._whole) from None
            return result
        raise Stopping

    # The reactor's thread, from here on.

    def _start(self, begin: Callable[[], Deferred[Any]], done: SimpleQueue[Any]) -> None:
        try:
            result = begin()
        except Exception:
            done.put(Failure())
            return
        limit = self._reactor.callLater(self._whole, result.cancel)

        def finished(found: Any) -> None:
            if limit.active():
                limit.cancel()
            done.put(found)

        result.addBoth(finished)

    def _post(self, body: bytes, headers: Mapping[str, list[str]]) -> Deferred[Any]:
        credentials = self._credentials()
        if self._client is None or credentials is not self._connected_by:
            self._forget()
            self._connected_by = credentials
            self._pool = HTTPConnectionPool(self._reactor)
            self._pool.maxPersistentPerHost = 1
            roads = _Roads(self._reactor, ServerVerification(credentials))
            self._client = HTTPClient(Agent.usingEndpointFactory(self._reactor, roads, pool=self._pool))
        told = {**headers, **{name: [value] for name, value in credentials.headers.items()}}
        client = self._client

        def request() -> Deferred[Any]:
            posted: Deferred[Any] = client.request(
                "POST", self._url, headers=told, data=_Body(body), allow_redirects=False, unbuffered=True
            )
            return posted

        answered = request()
        # The server has closed the connection that was kept: once more, over a new one.
        answered.addErrback(lambda failure: request() if _is_stale(failure) else failure)
        return answered.addCallback(_with_body)

    def _forget(self) -> None:
        pool, self._pool, self._client = self._pool, None, None
        if pool is not None:
            pool.closeCachedConnections()


@implementer(IAgentEndpointFactory)
class _Roads:
    """To servers, with a time to connect in."""

    def __init__(self, reactor: Any, verification: ServerVerification) -> None:
        self._reactor = reactor
        self._verification = verification

    def endpointForURI(self, uri: Any) -> _Road:
        """See `IAgentEndpointFactory`."""
        endpoint: Any = HostnameEndpoint(self._reactor, uri.host, uri.port, timeout=CONNECT)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._verification.creatorForNetloc(uri.host, uri.port), endpoint)
        return _Road(endpoint)


@implementer(IStreamClientEndpoint)
class _Road:
    """One that the program's log says nothing of, whenever a connection is made or not."""

    def __init__(self, endpoint: Any) -> None:
        self._endpoint = endpoint

    def connect(self, factory: Any) -> Deferred[Any]:
        """See `IStreamClientEndpoint`."""
        factory.noisy = False
        connected: Deferred[Any] = self._endpoint.connect(factory)
        return connected


@implementer(IBodyProducer)
class _Body:
    """A body that is there already, written at once: a batch is small enough for that."""

    def __init__(self, body: bytes) -> None:
        self.length = len(body)
        self._body = body

    def startProducing(self, consumer: Any) -> Deferred[None]:
        """See `IBodyProducer`."""
        consumer.write(self._body)
        return succeed(None)

    def stopProducing(self) -> None:
        """See `IBodyProducer`."""

    def pauseProducing(self) -> None:
        """See `IBodyProducer`."""

    def resumeProducing(self) -> None:
        """See `IBodyProducer`."""


def _with_body(response: Any) -> Deferred[tuple[int, Any, bytes]]:
    beginning: _Beginning
    # Whoever sends for ever is hung up on; else each attempt would leave a connection behind.
    collected: Deferred[bytes] = Deferred(lambda _: beginning.hang_up())
    beginning = _Beginning(collected)
    response.deliverBody(beginning)
    return collected.addCallback(lambda body: (response.code, response.headers, body))


class _Beginning(Protocol):
    """The beginning of an answer; whoever sends more is cut off."""

    def __init__(self, collected: Deferred[bytes]) -> None:
        self._collected = collected
        self._body = b""

    def dataReceived(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > _ANSWER:
            self.hang_up()
            self._done()

    def hang_up(self) -> None:
        """Read nothing more."""
        assert self.transport is not None
        self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self._done()

    def _done(self) -> None:
        if not self._collected.called:
            self._collected.callback(self._body[:_ANSWER])


def _not_carried(url: str, error: Any, whole: float) -> NotCarried:
    for reason in getattr(error, "reasons", ()):
        if not isinstance(reason.value, ResponseFailed):
            error = reason.value
    if isinstance(error, CancelledError):
        return NotCarried("timeout", f"{url} did not answer within {whole:g} seconds")
    if isinstance(error, TimeoutError):
        return NotCarried("timeout", f"{url} cannot be reached within {CONNECT:g} seconds")
    if isinstance(error, SSL.Error):
        return NotCarried("tls", f"{url}: TLS failed: {tls_words(error)}")
    if type(error).__module__.startswith("service_identity"):
        return NotCarried("tls", f"{url}: the certificate is another server's")
    if isinstance(error, ConnectError | ConnectionClosed | DNSLookupError | OSError | ResponseNeverReceived):
        return NotCarried("unreachable", f"{url}: {error}")
    return NotCarried("failed", f"{url}: {type(error).__name__}: {error}")


def _is_stale(failure: Failure) -> bool:
    """The connection ended before a byte of the answer came."""
    reasons = getattr(failure.value, "reasons", ())
    return bool(failure.check(ResponseNeverReceived)) and all(one.check(ConnectionClosed) for one in reasons)
