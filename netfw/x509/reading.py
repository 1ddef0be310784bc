"""What certificates say, read alike under every supported release of `cryptography` (38 to 50).

In here: PEM into certificates, validity dates with their time zone, fingerprints, whether one certificate signed
another. Not in here: judging a chain (OpenSSL does that in `tls`), files (bytes come in). RFC 5280 rules the
contents, RFC 7468 the PEM text.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

PEM_CERTIFICATE = re.compile(b"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def certificates_from_pem(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Every certificate of a PEM text, in its order.

    Raises ValueError when one cannot be read; none is an empty tuple.
    """
    # load_pem_x509_certificates came with release 39.
    return tuple(x509.load_pem_x509_certificate(block + b"\n") for block in PEM_CERTIFICATE.findall(pem))


def not_before(certificate: x509.Certificate) -> datetime:
    """The first moment of its validity, in UTC."""
    try:
        return certificate.not_valid_before_utc
    except AttributeError:  # before release 42 dates came without a zone
        return certificate.not_valid_before.replace(tzinfo=UTC)


def not_after(certificate: x509.Certificate) -> datetime:
    """The last moment of its validity, in UTC."""
    try:
        return certificate.not_valid_after_utc
    except AttributeError:  # before release 42 dates came without a zone
        return certificate.not_valid_after.replace(tzinfo=UTC)


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 over the DER form, lower-case hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def is_self_issued(certificate: x509.Certificate) -> bool:
    """Whether issuer and subject are the same name, as a root's are."""
    return certificate.issuer == certificate.subject


def is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the names fit and the issuer's key made the signature.

    False as well for a key type that we cannot check.
    """
    if certificate.issuer != issuer.subject:
        return False
    key = issuer.public_key()
    algorithm = certificate.signature_hash_algorithm
    signed, signature = certificate.tbs_certificate_bytes, certificate.signature
    try:
        if isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
            key.verify(signature, signed)
        elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm is not None:
            key.verify(signature, signed, ec.ECDSA(algorithm))
        elif isinstance(key, rsa.RSAPublicKey) and algorithm is not None:
            key.verify(signature, signed, padding.PKCS1v15(), algorithm)
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
