"""netfw.x509.reading"""

from __future__ import annotations

import hashlib
from datetime import datetime

import pytest
from cryptography.hazmat.primitives import serialization

from netfw.testing.pki import DAY, TestAuthority
from netfw.x509.reading import (
    certificates_from_pem,
    fingerprint,
    is_self_issued,
    is_signed_by,
    not_after,
    not_before,
)


def test_dates_have_a_time_zone(now: datetime) -> None:
    """The same instants that went in, comparable with any aware time, under every release."""
    certificate = TestAuthority(not_before=now - DAY, not_after=now + DAY).certificate
    assert (not_before(certificate), not_after(certificate)) == (now - DAY, now + DAY)


def test_a_fingerprint_is_sha_256_of_der() -> None:
    """As `openssl x509 -fingerprint -sha256` prints it, without colons."""
    certificate = TestAuthority().certificate
    der = certificate.public_bytes(serialization.Encoding.DER)
    assert fingerprint(certificate) == hashlib.sha256(der).hexdigest()


def test_pem_is_read_in_order_and_text_between_is_skipped() -> None:
    """As bundles have it."""
    one, two = TestAuthority("One"), TestAuthority("Two")
    text = b"# One\n" + one.certificate_pem + b"\n# Two\r\n" + two.certificate_pem.replace(b"\n", b"\r\n")
    assert certificates_from_pem(text) == (one.certificate, two.certificate)
    assert certificates_from_pem(b"nothing") == ()
    with pytest.raises(ValueError):
        certificates_from_pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----")


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048", "Ed25519"])
def test_who_signed(kind: str) -> None:
    """Issuer by name and by key; the same name with another key did not."""
    root = TestAuthority("Root", key=kind)
    lower = root.subordinate()
    assert is_signed_by(lower.certificate, root.certificate)
    assert is_signed_by(root.certificate, root.certificate)
    assert not is_signed_by(root.certificate, lower.certificate)
    assert not is_signed_by(lower.certificate, TestAuthority("Root", key=kind).certificate)
    assert is_self_issued(root.certificate) and not is_self_issued(lower.certificate)
