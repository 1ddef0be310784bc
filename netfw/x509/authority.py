"""The certificate authority that signs intercepted names: make one, load one, and say everything that is wrong with it.

In here: bytes in, objects or a list of problems out. Not in here: files and their modes (`config` reads them), leaves
(`leaf`). RFC 5280, section 4.2.1, rules what a CA certificate must carry; the strict checks of OpenSSL 3 and Python
3.13 (both want a subject key identifier and a critical key usage) decide what we make.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Union

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from netfw.x509.reading import Validity, certificates_from_pem, is_self_issued, is_signed_by, not_after, not_before

SigningKey = Union[ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey]

# A root of ours signs leaves, and one subordinate (a worker site's own CA) that signs leaves.
ROOT_PATH_LENGTH = 1
SMALLEST_RSA_KEY = 2048
BACKDATE = timedelta(hours=1)


class AuthorityProblem(ValueError):
    """Why certificates and key cannot be used as an authority: all reasons at once, in `problems`."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class CertificateAuthority:
    """Who signs. What its certificates say is read once: every leaf needs it.

    `certificates`: the issuing one first, then those that lead from it to the root; the root may be left out.
    """

    certificates: tuple[x509.Certificate, ...]
    private_key: SigningKey

    @property
    def certificate(self) -> x509.Certificate:
        """The issuing certificate."""
        return self.certificates[0]

    @cached_property
    def subject_key_identifier(self) -> x509.SubjectKeyIdentifier:
        """The issuing certificate's own, as it stands there: leaves must point to exactly these bytes."""
        return self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value

    @cached_property
    def validity(self) -> Validity:
        """When what it signs is taken: not before the issuing certificate, and as long as all of them."""
        return Validity(not_before(self.certificate), min(map(not_after, self.certificates)))

    @cached_property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """What a server sends behind a leaf: every certificate but a root, which clients have already."""
        return tuple(certificate for certificate in self.certificates if not is_self_issued(certificate))


def random_serial(random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> int:
    """A positive serial number of 127 random bits: at most 16 octets in DER, never zero."""
    return (int.from_bytes(random_bytes(16), "big") >> 1) or 1


def create_root(common_name: str, now: datetime, days: int, password: bytes | None = None) -> tuple[bytes, bytes]:
    """A new P-256 root: (certificate PEM, PKCS#8 key PEM, encrypted when there is a password).

    It is valid from an hour before `now` until `days` days after it.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = build_ca_certificate(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]),
        key,
        issuer=None,
        start=now - BACKDATE,
        end=now + timedelta(days=days),
        path_length=ROOT_PATH_LENGTH,
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private_key_pem(key, password)


def build_ca_certificate(
    name: x509.Name,
    key: SigningKey,
    *,
    issuer: CertificateAuthority | None,
    start: datetime,
    end: datetime,
    path_length: int,
) -> x509.Certificate:
    """A CA certificate for `key`, signed by `issuer`, or by the key itself where that is None."""
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    signer = key if issuer is None else issuer.private_key
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(random_serial())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(CA_KEY_USAGE, critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                identifier if issuer is None else issuer.subject_key_identifier
            ),
            critical=False,
        )
        .sign(signer, signature_hash(signer))
    )


def signature_hash(key: SigningKey) -> hashes.SHA256 | None:
    """What a signature by this key is made over; Ed25519 has its own."""
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def private_key_pem(key: SigningKey, password: bytes | None = None) -> bytes:
    """PKCS#8, encrypted when there is a password."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def load_authority(
    certificate_pem: bytes, key_pem: bytes, now: datetime, password: bytes | None = None
) -> CertificateAuthority:
    """Read an authority and check it; raises AuthorityProblem with every problem found.

    `certificate_pem` holds the issuing certificate first, then its chain towards the root.
    """
    problems: list[str] = []
    certificates: tuple[x509.Certificate, ...] = ()
    try:
        certificates = certificates_from_pem(certificate_pem)
        if not certificates:
            problems.append("there is no PEM certificate")
    except ValueError:
        problems.append("a certificate cannot be read")
    key = read_private_key(key_pem, password, problems)
    if certificates:
        problems += _problems_of_issuer(certificates[0])
        problems += _problems_of_chain(certificates)
        problems += _problems_of_dates(certificates, now)
        if key is not None and not is_pair(certificates[0], key):
            problems.append("the private key does not belong to the first certificate")
    if problems or key is None:
        raise AuthorityProblem(tuple(problems))
    return CertificateAuthority(certificates, key)


def _key_usage(*, sign: bool, certify: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certify,
        crl_sign=certify,
        encipher_only=False,
        decipher_only=False,
    )


CA_KEY_USAGE = _key_usage(sign=False, certify=True)
LEAF_KEY_USAGE = _key_usage(sign=True, certify=False)


def read_private_key(pem: bytes, password: bytes | None, problems: list[str]) -> SigningKey | None:
    """The key, or None with the reason in `problems`, where a weakness of a key that can be read goes as well."""
    try:
        key = serialization.load_pem_private_key(pem, password)
    except TypeError:  # cryptography's word for both
        problems.append(
            "the private key is encrypted and there is no password"
            if password is None
            else "the private key is not encrypted, but there is a password"
        )
        return None
    except (ValueError, UnsupportedAlgorithm):
        problems.append("the private key cannot be read" + (" with this password" if password is not None else ""))
        return None
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < SMALLEST_RSA_KEY:
            problems.append(f"the RSA key has {key.key_size} bits; clients want {SMALLEST_RSA_KEY} or more")
        return key
    if isinstance(key, (ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey)):
        return key
    problems.append("the private key is of a kind that cannot sign certificates here; use EC, RSA or Ed25519")
    return None


def is_pair(certificate: x509.Certificate, key: SigningKey) -> bool:
    """Whether the certificate was made for this key."""
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    der = serialization.Encoding.DER
    return certificate.public_key().public_bytes(der, spki) == key.public_key().public_bytes(der, spki)


def _problems_of_issuer(certificate: x509.Certificate) -> list[str]:
    problems = []
    try:
        extensions = certificate.extensions
    except ValueError:
        return ["the first certificate's extensions cannot be read"]
    try:
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        problems.append("the first certificate is not a CA: it has no basicConstraints")
    else:
        if not constraints.ca:
            problems.append("the first certificate is not a CA: basicConstraints say CA:FALSE")
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        pass  # RFC 5280 4.2.1.3: without the extension the key is not restricted
    else:
        if not usage.key_cert_sign:
            problems.append("the first certificate's keyUsage lacks keyCertSign")
    try:
        extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        problems.append("the first certificate has no subjectKeyIdentifier, which strict clients want")
    if not certificate.subject:
        problems.append("the first certificate's subject is empty")
    return problems


def _problems_of_chain(certificates: tuple[x509.Certificate, ...]) -> list[str]:
    problems = []
    for place, (lower, upper) in enumerate(zip(certificates, certificates[1:], strict=False), start=1):
        if not is_signed_by(lower, upper):
            problems.append(
                f"certificate {place} is not signed by certificate {place + 1}:"
                " put the issuing one first, the root last"
            )
    return problems


def _problems_of_dates(certificates: tuple[x509.Certificate, ...], now: datetime) -> list[str]:
    problems = []
    for place, certificate in enumerate(certificates, start=1):
        if now > not_after(certificate):
            problems.append(f"certificate {place} expired on {not_after(certificate):%Y-%m-%d}")
        if now < not_before(certificate):
            problems.append(f"certificate {place} is not valid before {not_before(certificate):%Y-%m-%d %H:%M} UTC")
    return problems
