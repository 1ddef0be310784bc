"""What certificates say, read alike under every supported release of `cryptography` (38 to 50).

In here: PEM (and what else a CA may send) into certificates, validity dates with their time zone, fingerprints, whether
one certificate signed another. Not in here: judging a chain (OpenSSL does that in `tls`), files (bytes come in).
RFC 5280 rules the contents, RFC 7468 the PEM text.
"""

from __future__ import annotations

import base64
import hashlib
import re
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

PEM_CERTIFICATE = re.compile(b"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def certificates_from_pem(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Every certificate of a PEM text, in its order.

    Raises ValueError when one cannot be read; none is an empty tuple.
    """
    # load_pem_x509_certificates came with release 39.
    return tuple(x509.load_pem_x509_certificate(block + b"\n") for block in PEM_CERTIFICATE.findall(pem))


def der_of(block: bytes) -> bytes:
    """The DER form of one certificate in PEM, which need not be one that can be read. Raises ValueError."""
    return base64.b64decode(b"".join(block.split(b"\n")[1:-1]))


def certificates_from_any(content: bytes) -> tuple[x509.Certificate, ...]:
    """Every certificate of what a CA sends: PEM, one DER certificate, or PKCS#7 (a .p7b) in either form.

    Raises ValueError when it is none of these.
    """
    if PEM_CERTIFICATE.search(content):
        return certificates_from_pem(content)
    try:
        return (x509.load_der_x509_certificate(content),)
    except ValueError:
        pass
    load = pkcs7.load_der_pkcs7_certificates
    if b"-----BEGIN PKCS7-----" in content:
        load = pkcs7.load_pem_pkcs7_certificates
    try:
        with warnings.catch_warnings():
            # Many write the set of certificates in another order than DER asks for, OpenSSL too.
            warnings.simplefilter("ignore")
            return tuple(load(content))
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("neither PEM, DER nor PKCS#7 certificates") from None


def common_name(certificate: x509.Certificate) -> str:
    """How to call it in one line: its common name, else its whole subject, else a part of its fingerprint."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    text = str(names[0].value) if names else certificate.subject.rfc4514_string()
    return text or fingerprint(certificate)[:16]


def subject_key_identifier(certificate: x509.Certificate) -> bytes | None:
    """As it stands there; None when it is left out."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except (x509.ExtensionNotFound, ValueError):
        return None


def authority_key_identifier(certificate: x509.Certificate) -> bytes | None:
    """The key identifier of who signed it, as it stands there; None when it is left out."""
    try:
        return certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except (x509.ExtensionNotFound, ValueError):
        return None


def path_length(certificate: x509.Certificate) -> int | None:
    """How many CAs may follow below it; None when there is no bound, or it is no CA."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    except (x509.ExtensionNotFound, ValueError):
        return None


def key_type(certificate: x509.Certificate) -> str:
    """`EC secp256r1`, `RSA 3072`, `Ed25519`, or the name of a class that is used for nothing here."""
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "Ed25519"
    return type(key).__name__.removeprefix("_").removesuffix("PublicKey")


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


@dataclass(frozen=True, slots=True)
class Validity:
    """From the first moment to the last one, in UTC and whole seconds as certificates have them."""

    begins: datetime
    ends: datetime


def validity(certificate: x509.Certificate) -> Validity:
    """When clients take it."""
    return Validity(not_before(certificate), not_after(certificate))


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
    return signature_holds(
        issuer.public_key(),
        certificate.signature,
        certificate.tbs_certificate_bytes,
        certificate.signature_hash_algorithm,
    )


def signature_holds(key: Any, signature: bytes, signed: bytes, algorithm: hashes.HashAlgorithm | None) -> bool:
    """Whether this public key made the signature over these bytes; False as well for a key that we cannot check."""
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


def key_digest(certificate: x509.Certificate) -> bytes:
    """SHA-256 over its public key (SubjectPublicKeyInfo): what pins are compared with (RFC 7469, section 2.4)."""
    spki = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).digest()
