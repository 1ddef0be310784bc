"""An issuing CA below a root: certified by a root of ours, or asked of an enterprise's.

In here: keys, the certificate of an issuing CA, the request for one (RFC 2986), and the order of a chain that comes
back. Not in here: judging what came back (`profile`), files. RFC 5280 rules the contents.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from netfw.x509.authority import (
    BACKDATE,
    CA_KEY_USAGE,
    CertificateAuthority,
    SigningKey,
    build_ca_certificate,
    is_pair,
    private_key_pem,
    signature_hash,
)
from netfw.x509.reading import is_self_issued, is_signed_by, not_after, not_before

# It signs leaves and nothing else.
ISSUING_PATH_LENGTH = 0
KEY_TYPES = ("p256", "p384", "rsa3072")


class ChainProblem(ValueError):
    """Why certificates do not make a chain for a key."""


def create_key(kind: str = "p256") -> SigningKey:
    """A new key, of one of KEY_TYPES. What an RSA key signs takes the proxy thirty times as long."""
    if kind == "rsa3072":
        return rsa.generate_private_key(65537, 3072)
    return ec.generate_private_key({"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}[kind])


def create_issuing(
    root: CertificateAuthority, common_name: str, now: datetime, days: int, password: bytes | None = None
) -> tuple[bytes, bytes]:
    """A new P-256 CA below `root`: (its certificate and those above it as PEM, PKCS#8 key PEM).

    Its validity never leaves the root's.
    """
    key = create_key()
    certificate = build_ca_certificate(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]),
        key,
        issuer=root,
        start=max(now - BACKDATE, not_before(root.certificate)),
        end=min(now + timedelta(days=days), *(not_after(above) for above in root.certificates)),
        path_length=ISSUING_PATH_LENGTH,
    )
    return chain_pem((certificate, *root.certificates)), private_key_pem(key, password)


def create_request(common_name: str, organization: str | None, key: SigningKey) -> bytes:
    """A certificate signing request, PEM, that says what the certificate must: CA, path length 0, critical keyUsage.

    Many CAs take only name and key from a request and the rest from a template of their own.
    """
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization is not None:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name(attributes))
        .add_extension(x509.BasicConstraints(ca=True, path_length=ISSUING_PATH_LENGTH), critical=True)
        .add_extension(CA_KEY_USAGE, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, signature_hash(key))
        .public_bytes(serialization.Encoding.PEM)
    )


def chain_for(key: SigningKey, certificates: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """The certificate of this key, then who signed it, and so on up: in whatever order they came, the rest left out.

    Raises ChainProblem when none is this key's.
    """
    own = [certificate for certificate in certificates if is_pair(certificate, key)]
    if not own:
        raise ChainProblem("none of the certificates is for this key: was it made from another request?")
    # Of several for one key, the one that lives longest.
    chain = [max(own, key=not_after)]
    while not is_self_issued(chain[-1]):
        left = [certificate for certificate in certificates if certificate not in chain]
        above = [certificate for certificate in left if is_signed_by(chain[-1], certificate)]
        if not above:
            break
        chain.append(max(above, key=not_after))
    return tuple(chain)


def chain_pem(certificates: Sequence[x509.Certificate]) -> bytes:
    """One PEM text, in this order."""
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)
