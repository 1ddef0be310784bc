"""Leaf certificates for intercepted names.

In here: one certificate for one host, signed at once. Not in here: keeping them (`leaf_cache`), asking another
process for one (`tls.issuer`). RFC 5280, RFC 9525 and the CA/Browser baseline profile rule the contents; nothing of
the origin's own certificate is copied.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from netfw.names.host import Host
from netfw.x509.authority import BACKDATE, LEAF_KEY_USAGE, CertificateAuthority, random_serial
from netfw.x509.reading import not_after, not_before

LIFETIME = timedelta(days=3)
# X.520's upper bound; OpenSSL refuses to read longer ones and some clients the whole certificate.
LONGEST_COMMON_NAME = 64

BASIC_CONSTRAINTS = x509.BasicConstraints(ca=False, path_length=None)
EXTENDED_KEY_USAGE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


class AuthorityExpired(ValueError):
    """The authority's own validity has ended (or not begun): nothing it signs now would be accepted."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate for one host.

    `chain` goes behind it on the wire; `renew_at` is the middle of its remaining life.
    """

    host: Host
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    private_key: ec.EllipticCurvePrivateKey
    not_after: datetime
    renew_at: datetime

    @property
    def not_before(self) -> datetime:
        """Clients take it from here on."""
        return not_before(self.certificate)


def issue_leaf(
    authority: CertificateAuthority,
    host: Host,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    *,
    organization: str = "netfw",
    lifetime: timedelta = LIFETIME,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> Leaf:
    """Sign a leaf for `host` with this process's leaf `key` (never the authority's own).

    Valid from an hour before `now`, for `lifetime`, and never outside the authority's validity.
    """
    issuer = authority.certificate
    end = min(now + lifetime, *(not_after(certificate) for certificate in authority.certificates))
    start = max(now - BACKDATE, not_before(issuer))
    if end <= now or start > now:
        raise AuthorityExpired(f"the authority is valid from {not_before(issuer)} to {not_after(issuer)}")
    subject = _subject(host, organization)
    public_key = key.public_key()
    general_name = x509.DNSName(host.text) if host.address is None else x509.IPAddress(host.address)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject)
        .public_key(public_key)
        .serial_number(random_serial(random_bytes))
        .not_valid_before(start)
        .not_valid_after(end)
        # RFC 5280 4.2.1.6: without a subject the alternative name must be critical.
        .add_extension(x509.SubjectAlternativeName([general_name]), critical=not len(subject))
        .add_extension(BASIC_CONSTRAINTS, critical=True)
        .add_extension(LEAF_KEY_USAGE, critical=True)
        .add_extension(EXTENDED_KEY_USAGE, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority.subject_key_identifier),
            critical=False,
        )
    )
    signer = authority.private_key
    certificate = builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    # A certificate has whole seconds. To ask it for its end would have it parsed, which nobody needs here.
    return Leaf(host, certificate, authority.chain(), key, end.replace(microsecond=0), now + (end - now) / 2)


def _subject(host: Host, organization: str) -> x509.Name:
    attributes = []
    if organization:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    if len(host.text) <= LONGEST_COMMON_NAME:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, host.text))
    return x509.Name(attributes)
