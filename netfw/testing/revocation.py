"""Revocation for tests: CRLs and OCSP responses of test authorities, good ones and defective ones.

Not in here: certificates (`pki`), and servers that staple (`stapling`).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from netfw.testing.pki import DAY, TestAuthority, make_key

_DER = serialization.Encoding.DER


def make_crl(
    authority: TestAuthority,
    *revoked: x509.Certificate,
    start: datetime | None = None,
    end: datetime | None = None,
    signer: Any = None,
) -> bytes:
    """The authority's list as PEM; `signer`: another key than its own."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(start or now - DAY)
        .next_update(end or now + 7 * DAY)
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    for certificate in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(now - DAY)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(signer or authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def make_responder(
    authority: TestAuthority, *, purpose: bool = True, end: datetime | None = None
) -> tuple[x509.Certificate, Any]:
    """Who signs responses for the authority: a certificate and its key. `purpose` False: it is not meant for that."""
    key = make_key()
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "OCSP responder")]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 20 * DAY)
        .not_valid_after(end or now + 20 * DAY)
    )
    if purpose:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
    return builder.sign(authority.key, hashes.SHA256()), key


def make_staple(
    certificate: x509.Certificate,
    authority: TestAuthority,
    *,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    start: datetime | None = None,
    end: datetime | None = None,
    endless: bool = False,
    responder: tuple[x509.Certificate, Any] | None = None,
    forged: bool = False,
    algorithm: Any = None,
) -> bytes:
    """A response about the certificate, signed by the authority, or its `responder`; `forged`: its signature is not."""
    now = datetime.now(UTC)
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=certificate,
        issuer=authority.certificate,
        algorithm=algorithm or hashes.SHA1(),
        cert_status=status,
        this_update=start or now - timedelta(hours=1),
        next_update=None if endless else end or now + DAY,
        revocation_time=now - DAY if revoked else None,
        revocation_reason=x509.ReasonFlags.key_compromise if revoked else None,
    )
    if responder is None:
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, authority.certificate)
        signer = authority.key
    else:
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.NAME, responder[0]).certificates([responder[0]])
        signer = responder[1]
    response = builder.sign(signer, hashes.SHA256())
    der = response.public_bytes(_DER)
    if forged:
        signature = response.signature
        der = der.replace(signature, signature[:-1] + bytes([signature[-1] ^ 1]))
    return der


def try_later() -> bytes:
    """What a responder says that cannot say anything now."""
    unsuccessful = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    return unsuccessful.public_bytes(_DER)
