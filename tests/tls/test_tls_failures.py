"""netfw.tls.failures"""

from __future__ import annotations

import pytest
from OpenSSL import SSL

from netfw.tls.failures import CertificateProblem, OriginVerdict, handshake_error, peer_alert, text_of


def error(*reasons: str) -> SSL.Error:
    return SSL.Error([("SSL routines", "", reason) for reason in reasons])


@pytest.mark.parametrize(
    ("reason", "alert"),
    [
        ("tlsv1 alert unknown ca", "unknown_ca"),
        ("sslv3 alert bad certificate", "bad_certificate"),
        ("ssl/tls alert bad certificate", "bad_certificate"),
        ("tlsv13 alert certificate required", "certificate_required"),
        ("tlsv1 alert no application protocol", "no_application_protocol"),
        ("tlsv1 unrecognized name", "unrecognized_name"),
        ("certificate verify failed", None),
        ("unknown alert type", None),
        ("tls invalid ecpointformat list", None),
        ("wrong version number", None),
    ],
)
def test_alerts_of_the_peer_are_told_from_our_own_findings(reason: str, alert: str | None) -> None:
    """By OpenSSL's wording, of 3.0 and of later releases."""
    assert peer_alert(error(reason)) == alert
    assert peer_alert(error("something else", reason)) == alert


def test_every_kind_of_error_has_a_text() -> None:
    """Also those without a queue."""
    assert text_of(error("a", "b")) == "a, b"
    assert text_of(SSL.Error([])) == "TLS failed"
    assert text_of(SSL.Error()) == "TLS failed"
    assert text_of(SSL.SysCallError(-1, "Unexpected EOF")) == "unexpected end"
    assert text_of(SSL.ZeroReturnError()) == "close_notify"


def test_a_certificates_problem_comes_with_our_own_refusal_only() -> None:
    """An alert of the peer's is its business, whatever we thought of its certificate."""
    verdict = OriginVerdict(problem=CertificateProblem(10, 0, None))
    assert handshake_error(error("certificate verify failed"), verdict).certificate_problem == "expired"
    assert handshake_error(error("tlsv1 alert unknown ca"), verdict).certificate_problem is None
    unknown = OriginVerdict(problem=CertificateProblem(999, 0, None))
    assert handshake_error(error("certificate verify failed"), unknown).certificate_problem == "invalid"


def test_other_exceptions_fail_the_handshake_too() -> None:
    """What a callback raised is ours: internal_error."""
    failure = handshake_error(RuntimeError("a mistake"), None)
    assert (failure.alert, failure.from_peer) == ("internal_error", False)
    closed = handshake_error(SSL.ZeroReturnError(), None)
    assert closed.closed and closed.from_peer
