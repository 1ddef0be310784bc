"""Batches by HTTP POST, through treq: JSON lines, or whatever an envelope makes of them.

The request runs on the reactor, whose connections it uses; whoever carries waits for it on its own thread. Redirects
are not followed, for they would take the credentials elsewhere. RFC 9110, sections 10.2.3 (Retry-After) and 15. Not
here: retries (`spooled_destination`), and OTLP's envelope (`otlp_message`).
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from queue import Empty, SimpleQueue
from time import time
from typing import Any

from OpenSSL import SSL, crypto
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError, TimeoutError
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS, trustRootFromCertificates
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseFailed, ResponseNeverReceived
from twisted.web.iweb import IBodyProducer, IPolicyForHTTPS
from zope.interface import implementer

from netfw.telemetry.carrier import Carried, NotCarried, Stopping, TooLarge

CONNECT = 10.0
WHOLE = 30.0
"""Seconds that one request may take, its answer included."""
_LOOK = 0.5
_ANSWER = 64 * 1024
_SHOWN = 200
_BUSY = frozenset([408, 425, 429, 502, 503, 504])
# The batch itself is at fault: it would be the next time.
_REFUSED = frozenset([400, 422])
_REASONS = {401: "credentials", 403: "credentials", 407: "credentials", 404: "not_found", 410: "not_found"}

Envelope = Callable[[list[bytes]], bytes]
"""From the lines of a batch to the body of a request."""


@dataclass(frozen=True, slots=True)
class HttpCredentials:
    """What is told to the server, and what it is verified by: PEM texts, None for the system's roots, or for none."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca: bytes | None = None
    certificate: bytes | None = field(default=None, repr=False)
    """The client's certificate, its chain, and its private key."""


def json_lines(records: list[bytes]) -> bytes:
    """The lines as they are."""
    return b"".join(records)


@implementer(IPolicyForHTTPS)
class _Verified:
    """TLS by these credentials. Raises ValueError where they cannot be used."""

    def __init__(self, credentials: HttpCredentials) -> None:
        self._options: dict[str, Any] = {}
        if credentials.ca is not None:
            self._options["trustRoot"] = trustRootFromCertificates(_certificates(credentials.ca))
        if credentials.certificate is not None:
            self._options["clientCertificate"] = PrivateCertificate.loadPEM(credentials.certificate)
            chain = [found.original for found in _certificates(credentials.certificate)[1:]]
            if chain:
                self._options["extraCertificateOptions"] = {"extraCertChain": chain}

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        """See `IPolicyForHTTPS`."""
        return optionsForClientTLS(hostname.decode("ascii"), **self._options)


def _certificates(pem: bytes) -> list[Any]:
    end = b"-----END CERTIFICATE-----"
    begin = b"-----BEGIN CERTIFICATE-----"
    parts = [part[part.index(begin) :] + end for part in pem.split(end) if begin in part]
    if not parts:
        raise ValueError("there is no certificate in it")
    return [Certificate.loadPEM(part) for part in parts]


def check_tls(credentials: HttpCredentials) -> None:
    """Raises ValueError, with what is wrong, where TLS cannot be made with these."""
    try:
        _Verified(credentials).creatorForNetloc(b"check.invalid", 443)
    except (SSL.Error, crypto.Error, ValueError) as error:
        raise ValueError(f"cannot be used for TLS: {_tls_words(error)}") from None


class HttpCarrier:
    """POSTs to `url`. `credentials` gives those in force whenever it connects anew; `accepted` reads a 2xx answer's
    body.
    """

    def __init__(
        self,
        url: str,
        credentials: Callable[[], HttpCredentials],
        *,
        reactor: Any,
        content_type: str = "application/x-ndjson",
        envelope: Envelope = json_lines,
        compress: bool = True,
        accepted: Callable[[bytes, int], Carried] = lambda _body, _count: Carried(),
        whole: float = WHOLE,
    ) -> None:
        self.shown = url
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
            return self._accepted(answer, len(records))
        detail = f"{self._url} answered {status}: {answer[:_SHOWN].decode('utf-8', 'replace')}"
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
                raise _not_carried(self._url, result.value or result, self._whole) from None
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
        if self._client is None:
            self._pool = HTTPConnectionPool(self._reactor)
            self._pool.maxPersistentPerHost = 1
            agent = Agent(
                self._reactor,
                contextFactory=_Verified(credentials),
                connectTimeout=CONNECT,
                pool=self._pool,
            )
            self._client = HTTPClient(agent)
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
    collected: Deferred[bytes] = Deferred()
    response.deliverBody(_Beginning(collected))
    return collected.addCallback(lambda body: (response.code, response.headers, body))


class _Beginning(Protocol):
    """The beginning of an answer; whoever sends more is cut off."""

    def __init__(self, collected: Deferred[bytes]) -> None:
        self._collected = collected
        self._body = b""

    def dataReceived(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > _ANSWER:
            assert self.transport is not None
            self.transport.loseConnection()
            self._done()

    def connectionLost(self, reason: Any = None) -> None:
        self._done()

    def _done(self) -> None:
        if not self._collected.called:
            self._collected.callback(self._body[:_ANSWER])


def retry_after(value: bytes, now: float) -> float | None:
    """The seconds that Retry-After asks for, whichever of its two forms it has; None where it has neither."""
    text = value.decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (TypeError, ValueError, OverflowError):
        return None


def _not_carried(url: str, error: Any, whole: float) -> NotCarried:
    for reason in getattr(error, "reasons", ()):
        if not isinstance(reason.value, ResponseFailed):
            error = reason.value
    if isinstance(error, CancelledError):
        return NotCarried("timeout", f"{url} did not answer within {whole:g} seconds")
    if isinstance(error, TimeoutError):
        return NotCarried("timeout", f"{url} cannot be reached within {CONNECT:g} seconds")
    if isinstance(error, SSL.Error):
        return NotCarried("tls", f"{url}: TLS failed: {_tls_words(error)}")
    if type(error).__module__.startswith("service_identity"):
        return NotCarried("tls", f"{url}: the certificate is another server's")
    if isinstance(error, ConnectError | ConnectionClosed | DNSLookupError | OSError | ResponseNeverReceived):
        return NotCarried("unreachable", f"{url}: {error}")
    return NotCarried("failed", f"{url}: {type(error).__name__}: {error}")


def _is_stale(failure: Failure) -> bool:
    """The connection ended before a byte of the answer came."""
    reasons = getattr(failure.value, "reasons", ())
    return bool(failure.check(ResponseNeverReceived)) and all(one.check(ConnectionClosed) for one in reasons)


def _tls_words(error: BaseException) -> str:
    said = error.args[0] if error.args else ""
    if isinstance(said, list):
        return ", ".join(str(part[-1]) for part in said) or "the connection was closed"
    return str(said)
