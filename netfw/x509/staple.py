"""What an OCSP response that a server staples says of its certificate: RFC 6960, section 3.2, and RFC 6066, section 8.

In here: bytes, two certificates and a time in, a verdict out. Not in here: asking for a staple and what is refused for
it (`tls`), CRLs (OpenSSL reads those). A response counts only when the issuer itself, or whom it appointed (by a
certificate of its own for OCSP signing), signed it, when it is about this certificate, and when it is of now.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from netfw.x509.reading import is_signed_by, not_after, not_before, signature_holds

SKEW = timedelta(minutes=5)
"""How far a responder's clock may be from ours."""
LONGEST_WITHOUT_END = timedelta(days=7)
"""A response that names no next update counts for so long: clients of the Web give none more than ten days."""
MOST_CERTIFICATES = 8
_WEAK = (hashes.MD5, hashes.SHA1)


class StapleProblem(ValueError):
    """Why the certificate must not be believed. `reason`: revoked, stale_staple or bad_staple."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def must_staple(certificate: x509.Certificate) -> bool:
    """Whether its issuer wants it believed with a staple only (RFC 7633)."""
    try:
        # Asked of every origin's certificate, most of which have none: the library would raise, which costs more.
        for extension in certificate.extensions:
            if isinstance(extension.value, x509.TLSFeature):
                return x509.TLSFeatureType.status_request in extension.value
    except ValueError:
        pass
    return False


def judge_staple(staple: bytes, certificate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> bool:
    """Whether the staple says that the certificate is good; False: it says nothing, as without one.

    Raises StapleProblem. A responder's error (try later) is a response that nobody signed: whoever could put it there
    could leave the staple out, so it counts as none.
    """
    try:
        response = ocsp.load_der_ocsp_response(staple)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return False
        _check_signature(response, issuer, now)
        answer = _answer_for(response, certificate, issuer)
        status = answer.certificate_status
        if status is ocsp.OCSPCertStatus.REVOKED:
            when = _aware(answer, "revocation_time")
            raise StapleProblem("revoked", f"revoked on {when:%Y-%m-%d}" if when is not None else "revoked")
        _check_dates(answer, now)
    except StapleProblem:
        raise
    except (ValueError, UnsupportedAlgorithm, TypeError) as error:
        raise StapleProblem("bad_staple", str(error)) from None
    if status is not ocsp.OCSPCertStatus.GOOD:
        raise StapleProblem("bad_staple", "the responder does not know the certificate")
    return True


def _check_signature(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: datetime) -> None:
    algorithm = response.signature_hash_algorithm
    if isinstance(algorithm, _WEAK):
        raise StapleProblem("bad_staple", f"signed over {algorithm.name}")
    if len(response.certificates) > MOST_CERTIFICATES:
        raise StapleProblem("bad_staple", f"{len(response.certificates)} certificates in it")
    detail = "signed by somebody unknown"
    for signer in (issuer, *response.certificates):
        if not _is_named(response, signer):
            continue
        if not _same_key(signer, issuer):
            refusal = _no_delegate(signer, issuer, now)
            if refusal is not None:
                detail = refusal
                continue
        if signature_holds(signer.public_key(), response.signature, response.tbs_response_bytes, algorithm):
            return
        detail = "its signature does not hold"
    raise StapleProblem("bad_staple", detail)


def _is_named(response: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    """Whether the response says that this one signed it, by name or by key."""
    if response.responder_name is not None:
        return response.responder_name == signer.subject
    return response.responder_key_hash == x509.SubjectKeyIdentifier.from_public_key(_key(signer)).digest


def _no_delegate(signer: x509.Certificate, issuer: x509.Certificate, now: datetime) -> str | None:
    """Why the issuer has not appointed this one to sign for it (RFC 6960, section 4.2.2.2), or None."""
    if not is_signed_by(signer, issuer):
        return "signed by somebody whom the issuer did not certify"
    try:
        purposes = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        purposes = None
    if purposes is None or ExtendedKeyUsageOID.OCSP_SIGNING not in purposes:
        return "signed by somebody whom the issuer did not appoint for it"
    if not not_before(signer) - SKEW <= now <= not_after(signer):
        return "signed by somebody whose certificate is not valid now"
    return None


def _answer_for(response: ocsp.OCSPResponse, certificate: x509.Certificate, issuer: x509.Certificate) -> Any:
    """The one of its answers that is about this certificate of this issuer."""
    for answer in response.responses:
        if answer.serial_number != certificate.serial_number:
            continue
        # The library's own form of a question, for the hashes of the issuer's name and key.
        asked = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, _sha(answer.hash_algorithm)).build()
        if (asked.issuer_name_hash, asked.issuer_key_hash) == (answer.issuer_name_hash, answer.issuer_key_hash):
            return answer
    raise StapleProblem("bad_staple", "it is about another certificate")


def _sha(algorithm: hashes.HashAlgorithm) -> Any:
    if isinstance(algorithm, hashes.MD5):
        raise StapleProblem("bad_staple", "it names certificates by MD5")
    return algorithm


def _check_dates(answer: Any, now: datetime) -> None:
    begins, ends = _aware(answer, "this_update"), _aware(answer, "next_update")
    assert begins is not None  # it is no optional member
    if begins > now + SKEW:
        raise StapleProblem("stale_staple", f"it is valid from {begins:%Y-%m-%d %H:%M} UTC on")
    if (ends if ends is not None else begins + LONGEST_WITHOUT_END) < now - SKEW:
        raise StapleProblem("stale_staple", f"it is of {begins:%Y-%m-%d %H:%M} UTC and out of date")


def _aware(answer: Any, name: str) -> datetime | None:
    """A time of an answer, in UTC."""
    try:
        when: datetime | None = getattr(answer, f"{name}_utc")
    except AttributeError:  # before release 43 times came without a zone
        when = getattr(answer, name)
    return when.replace(tzinfo=UTC) if when is not None else None


def _key(certificate: x509.Certificate) -> Any:
    return certificate.public_key()


def _same_key(one: x509.Certificate, other: x509.Certificate) -> bool:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    der = serialization.Encoding.DER
    return one.public_key().public_bytes(der, form) == other.public_key().public_bytes(der, form)
