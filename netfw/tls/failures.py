"""How TLS fails, in words of our own.

In here: the exceptions of `tls`, what OpenSSL's error queue says turned into them, and the certificate problems that
its verification reports. Not in here: the tree in `netfw.errors` (`verification` maps to that), any I/O. Alert names
are those of RFC 8446, section 6, with underscores: "unknown_ca".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.error import ConnectionLost

from netfw.x509.reading import Validity

# OpenSSL says "tlsv1 alert unknown ca"; 3.2 and later "ssl/tls alert certificate unknown". All of these are the peer's.
PEER_ALERT = re.compile(r"(?:sslv3|tlsv1|tlsv13|ssl/tls|tls) alert (.+)\Z")
# Reasons for alerts that came from extensions (RFC 6066) lack the word.
PEER_ALERTS_WITHOUT_THE_WORD = {
    "tlsv1 unsupported extension": "unsupported_extension",
    "tlsv1 certificate unobtainable": "certificate_unobtainable",
    "tlsv1 unrecognized name": "unrecognized_name",
    "tlsv1 bad certificate status response": "bad_certificate_status_response",
    "tlsv1 bad certificate hash value": "bad_certificate_hash_value",
}

# X509_V_ERR_* of OpenSSL's x509_vfy.h: the reasons that are told apart, as a closed set of words.
CERTIFICATE_REASONS = {
    2: "untrusted_root",
    7: "bad_signature",
    8: "crl_unusable",
    9: "not_yet_valid",
    10: "expired",
    11: "crl_unusable",
    12: "crl_expired",
    18: "self_signed",
    19: "untrusted_root",
    23: "revoked",
    24: "invalid_authority",
    25: "invalid_authority",
    26: "wrong_purpose",
    28: "rejected",
    32: "invalid_authority",
    33: "crl_unusable",
    35: "crl_unusable",
    36: "crl_unusable",
    44: "crl_unusable",
    47: "name_not_permitted",
    48: "name_not_permitted",
    66: "weak_key",
    67: "weak_key",
    68: "weak_signature",
    79: "invalid_authority",
}
# No issuer is known: of the peer's own certificate, or further up, where only a root can be missing.
_NO_ISSUER = frozenset({20, 21})


class NoApplicationProtocol(Exception):
    """The client offers ALPN, but nothing that we speak (RFC 7301, section 3.2)."""


class TlsHandshakeError(Exception):
    """A handshake did not complete.

    `reason` is OpenSSL's or our own text; `alert` the name of the alert that ended it, when it came from the peer
    (`from_peer`) or is known to have been sent by us; `certificate_problem` a word of `CERTIFICATE_REASONS`, when it
    was the peer's certificate.
    """

    def __init__(
        self,
        reason: str,
        alert: str | None = None,
        from_peer: bool = False,
        certificate_problem: str | None = None,
        *,
        timed_out: bool = False,
        closed: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.alert = alert
        self.from_peer = from_peer
        self.certificate_problem = certificate_problem
        self.timed_out = timed_out
        self.closed = closed


class TlsAlertReceived(ConnectionLost):
    """The peer ended an established connection with a fatal alert.

    A client's refusal of our leaf may arrive like this.
    """

    def __init__(self, alert: str) -> None:
        super().__init__(f"TLS alert received: {alert}")
        self.alert = alert


class TlsRecordsBroken(ConnectionLost):
    """What arrived on an established connection is not what its keys protect, or breaks the protocol."""


class TlsTruncated(ConnectionLost):
    """The connection ended without close_notify: what came before it may be cut short (RFC 8446, section 6.1)."""


@dataclass(frozen=True, slots=True)
class CertificateProblem:
    """What OpenSSL's verification reported first: an X509_V_ERR code, and where.

    `depth` 0 is the peer's own certificate.
    """

    code: int
    depth: int
    certificate: x509.Certificate | None

    @property
    def reason(self) -> str:
        """A word of a closed set."""
        if self.code in _NO_ISSUER:
            return "untrusted_root" if self.depth else "missing_intermediate"
        return CERTIFICATE_REASONS.get(self.code, "invalid")


@dataclass(slots=True)
class OriginVerdict:
    """What a handshake with an origin found out; the connection's application data.

    `verified`: a chain was judged and found good, so it is no resumed session. `problem`: the first that was found,
    when it was not. `staple`: the OCSP response that came, b"" for none. `facts` and `validity`: of the certificate
    that `verification.verify_origin` has found good, where it has.
    """

    verified: bool = False
    problem: CertificateProblem | None = None
    staple: bytes = b""
    facts: dict[str, str] | None = None
    validity: Validity | None = None


def text_of(error: SSL.Error) -> str:
    """The reasons in OpenSSL's error queue, most specific last."""
    if isinstance(error, SSL.SysCallError):
        return "unexpected end"
    if isinstance(error, SSL.ZeroReturnError):
        return "close_notify"
    queue = error.args[0] if error.args else ()
    if isinstance(queue, (list, tuple)):
        reasons = [str(entry[-1]) for entry in queue if isinstance(entry, (list, tuple)) and entry]
        return ", ".join(reasons) or "TLS failed"
    return str(queue)


def peer_alert(error: SSL.Error) -> str | None:
    """The name of the alert that the peer sent, when that is what went wrong."""
    for reason in text_of(error).split(", "):
        found = PEER_ALERT.match(reason)
        if found is not None:
            return found[1].replace(" ", "_")
        if reason in PEER_ALERTS_WITHOUT_THE_WORD:
            return PEER_ALERTS_WITHOUT_THE_WORD[reason]
    return None


def handshake_error(error: Exception, verdict: object) -> TlsHandshakeError:
    """What a failed `do_handshake` means; `verdict` is the connection's application data."""
    if isinstance(error, NoApplicationProtocol):
        return TlsHandshakeError("the client offers no application protocol that we speak", "no_application_protocol")
    if not isinstance(error, SSL.Error):
        return TlsHandshakeError(f"a TLS callback failed: {error!r}", "internal_error")
    alert = peer_alert(error)
    if alert is not None:
        return TlsHandshakeError(f"the peer sent the alert {alert}", alert, from_peer=True)
    if isinstance(error, SSL.ZeroReturnError):
        return TlsHandshakeError("the peer closed during the handshake", "close_notify", from_peer=True, closed=True)
    problem = verdict.problem if isinstance(verdict, OriginVerdict) else None
    reason = problem.reason if problem is not None else None
    return TlsHandshakeError(text_of(error), certificate_problem=reason)
