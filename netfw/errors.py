"""What can go wrong with an exchange: one tree, a class a cause.

Each class knows the HTTP status that the client gets and the error token of RFC 9209, section 2.3, that `Proxy-Status`
and the record carry. `message` is written for a person, holds no text that a client or an origin chose except
canonical names and addresses, and is safe to show to the client.

Pure packages (`names`, `http1`, `policy`, `x509`) raise small errors of their own; `proxy` maps them to this tree.
"""

from __future__ import annotations


class NetfwError(Exception):
    """The root: something that ends an exchange.

    `detail` is for the record only: it may hold text that a peer chose.
    """

    status = 500
    token = "proxy_internal_error"
    fault = "ours"
    retry_after: int | None = None
    """Seconds after which it is worth trying again, where the client is told."""

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail


class ClientError(NetfwError):
    """The client's fault."""

    status = 400
    token = "http_request_error"
    fault = "client"


class MalformedRequest(ClientError):
    """The request cannot be parsed, or could be read in two ways. The connection is closed after the answer."""

    def __init__(self, message: str, *, status: int = 400, detail: str = "") -> None:
        super().__init__(message, detail=detail)
        self.status = status


class MisdirectedRequest(ClientError):
    """The names of an exchange disagree: CONNECT authority, SNI, Host (RFC 9110, section 15.5.20)."""

    status = 421
    token = "http_request_denied"


class RequestTimeout(ClientError):
    """The client did not finish its request head or body in time."""

    status = 408
    token = "connection_read_timeout"


class ProxyAuthenticationRequired(ClientError):
    """The client has not said who it is, or nobody believes it. `challenge` is what Proxy-Authenticate asks for."""

    status = 407
    token = "http_request_denied"

    def __init__(self, message: str, *, challenge: str = "Basic", detail: str = "") -> None:
        super().__init__(message, detail=detail)
        self.challenge = challenge


class TooManyRequests(ClientError):
    """This client asks more often than `limits.request_rate` lets it."""

    status = 429
    token = "http_request_denied"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ClientStalled(ClientError):
    """The client stopped reading; what is left of the answer is not sent."""

    status = 408
    token = "connection_write_timeout"


class ClientTlsFailure(ClientError):
    """The TLS handshake with the client failed; nothing can be answered."""

    token = "tls_protocol_error"


class ClientSpeaksNoTls(ClientError):
    """Something else than TLS came to a port that speaks nothing but TLS."""


class NoProxyHeader(ClientError):
    """A connection of a load balancer did not begin with a PROXY header; nothing can be answered."""


class LoopDetected(ClientError):
    """The request has been through this proxy before (Via), or is addressed to it."""

    status = 508
    token = "proxy_loop_detected"


class Denied(NetfwError):
    """Policy said no. `decision` is the `netfw.policy.decision.Decision` that did."""

    status = 403
    token = "http_request_denied"
    fault = "policy"

    def __init__(self, message: str, *, decision: object = None, detail: str = "") -> None:
        super().__init__(message, detail=detail)
        self.decision = decision


class NotAClient(NetfwError):
    """The address is not in the listener's `clients`. Nothing is answered."""

    status = 403
    token = "http_request_denied"
    fault = "policy"


class DestinationProhibited(NetfwError):
    """Every address of the name is one that the guard keeps closed."""

    status = 403
    token = "destination_ip_prohibited"
    fault = "policy"


class TunnelRefused(NetfwError):
    """What a tunnel begins with is not understood, so nothing of it is forwarded."""

    status = 403
    token = "http_request_denied"
    fault = "client"


class PolicyFailure(NetfwError):
    """Evaluation itself failed. This is a denial: an error never allows."""

    status = 403
    token = "proxy_internal_error"
    fault = "ours"


class OriginError(NetfwError):
    """The origin's side: its name, its address, its TLS or its HTTP."""

    status = 502
    token = "destination_unavailable"
    fault = "origin"


class NameNotFound(OriginError):
    """NXDOMAIN, or a name without an address."""

    token = "dns_error"


class DnsFailure(OriginError):
    """The resolver answered SERVFAIL, REFUSED or something that is not an answer."""

    token = "dns_error"


class DnsTimeout(OriginError):
    """No resolver answered in time."""

    status = 504
    token = "dns_timeout"


class OriginRefused(OriginError):
    """The origin refused the TCP connection."""

    token = "connection_refused"


class OriginUnroutable(OriginError):
    """No route to the origin."""

    token = "destination_ip_unroutable"


class OriginConnectTimeout(OriginError):
    """The TCP connection was not made in time."""

    status = 504
    token = "connection_timeout"


class OriginTlsFailure(OriginError):
    """The TLS handshake with the origin failed for a reason other than its certificate."""

    token = "tls_protocol_error"


class OriginTlsAlert(OriginTlsFailure):
    """The origin ended the TLS handshake with an alert; `alert` is its name in RFC 8446, section 6."""

    token = "tls_alert_received"

    def __init__(self, message: str, *, alert: str, detail: str = "") -> None:
        super().__init__(message, detail=detail)
        self.alert = alert


class OriginCertificateInvalid(OriginError):
    """The origin's certificate does not prove its name. `facts` are canonical: dates, fingerprint, names."""

    token = "tls_certificate_error"

    def __init__(self, message: str, *, detail: str = "", facts: dict[str, str] | None = None) -> None:
        super().__init__(message, detail=detail)
        self.facts = facts or {}


class OriginProtocolError(OriginError):
    """The origin's answer cannot be parsed, or could be read in two ways."""

    token = "http_protocol_error"


class OriginClosed(OriginError):
    """The origin closed before its answer was complete."""

    token = "connection_terminated"


class OriginResponseIncomplete(OriginError):
    """The origin's body ended before its declared length."""

    token = "http_response_incomplete"


class ResponseTooLarge(OriginError):
    """The origin's body is larger than `limits.response_body` (RFC 9209, section 2.3.18)."""

    token = "http_response_body_size"


class OriginTimeout(OriginError):
    """The origin sent nothing within the response or idle deadline."""

    status = 504
    token = "http_response_timeout"


class ParentError(NetfwError):
    """A parent proxy's side: it cannot be reached, or does not do what it is asked. `detail` names it, and why;
    `answered` is the status that it answered with, where it did; `blames_parent` False: it never had a chance.
    """

    status = 502
    token = "destination_unavailable"
    fault = "parent"
    answered: int | None = None
    blames_parent = True

    def __init__(self, message: str, *, status: int = 502, token: str | None = None, detail: str = "") -> None:
        super().__init__(message, detail=detail)
        self.status = status
        if token is not None:
            self.token = token


class NoParentUp(ParentError):
    """Every parent proxy that this exchange may go through is down; it goes no other way."""

    retry_after = 5

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message, status=503, detail=detail)


class Overloaded(NetfwError):
    """A limit is reached. The answer carries Retry-After."""

    status = 503
    token = "connection_limit_reached"
    fault = "ours"
    retry_after = 5


class NotOffered(NetfwError):
    """The request asks for what netfw does not do: another scheme, another HTTP version."""

    status = 501
    token = "http_request_error"
    fault = "client"


class ClientGone(NetfwError):
    """The client left before the exchange ended. Nothing is answered; the record says so."""

    status = 499
    token = "connection_terminated"
    fault = "client"


class ShuttingDown(NetfwError):
    """The proxy stopped before the exchange ended."""

    status = 503
    token = "proxy_internal_error"
    fault = "ours"
