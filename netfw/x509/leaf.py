"""Leaf certificates for intercepted names.

In here: one certificate for one host, signed at once. Not in here: keeping them (`tls.interception`), asking another
process for one (`workers.remote_issuer`). RFC 5280, RFC 9525 and the CA/Browser baseline profile rule the contents; of
the origin's own certificate only the validity is mirrored.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.x509 import Certificate
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from netfw.names.host import Host
from netfw.x509.authority import BACKDATE, LEAF_KEY_USAGE, CertificateAuthority, random_serial, signature_hash
from netfw.x509.reading import Validity

LIFETIME = timedelta(days=3)
# Half a life is no bound for a leaf that mirrors a certificate at its end: it would be made anew again and again.
SOONEST_RENEWAL = timedelta(minutes=1)
# X.520's upper bound; OpenSSL refuses to read longer ones and some clients the whole certificate.
LONGEST_COMMON_NAME = 64

BASIC_CONSTRAINTS = x509.BasicConstraints(ca=False, path_length=None)
EXTENDED_KEY_USAGE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


class OutsideValidity(ValueError):
    """The authority's own validity, or that of the origin's certificate, has ended or not begun: nothing that is signed
    now may be accepted.
    """


# Types of its fields by their names alone: mypyc 1.0 looks for no others.
@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate for one host.

    `chain` goes behind it on the wire; `renew_at` is the middle of its remaining life.
    """

    host: Host
    certificate: Certificate
    chain: tuple[Certificate, ...]
    private_key: EllipticCurvePrivateKey
    validity: Validity
    renew_at: datetime


def renewal(now: datetime, ends: datetime) -> datetime:
    """When a leaf of now is due for renewal: in the middle of its life, no sooner than in a minute."""
    return min(ends, now + max((ends - now) / 2, SOONEST_RENEWAL))


def issue_leaf(
    authority: CertificateAuthority,
    host: Host,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    *,
    within: Validity | None = None,
    organization: str = "netfw",
    lifetime: timedelta = LIFETIME,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> Leaf:
    """Sign a leaf for `host` with this process's leaf `key` (never the authority's own).

    Valid from an hour before `now`, for `lifetime`, and never outside the authority's validity nor `within`, that of
    the origin's certificate: what a client would refuse there, it refuses here. Raises `OutsideValidity`.
    """
    issuer = authority.certificate
    start, end = now - BACKDATE, now + lifetime
    for whose, bounds in (("the authority", authority.validity), ("the origin's certificate", within)):
        if bounds is None:
            continue
        if not bounds.begins <= now < bounds.ends:
            raise OutsideValidity(f"{whose} is valid from {bounds.begins} to {bounds.ends}")
        start, end = max(start, bounds.begins), min(end, bounds.ends)
    # A certificate has whole seconds. To ask it for its dates would have it parsed, which nobody needs here.
    start, end = start.replace(microsecond=0), end.replace(microsecond=0)
    subject = _subject(host, organization)
    public_key, identifier = _public_half(key)
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
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority.subject_key_identifier),
            critical=False,
        )
    )
    certificate = builder.sign(authority.private_key, signature_hash(authority.private_key))
    return Leaf(host, certificate, authority.chain, key, Validity(start, end), renewal(now, end))


@lru_cache(maxsize=64)
def _public_half(key: Any) -> tuple[Any, x509.SubjectKeyIdentifier]:
    """Of a key that serves many leaves."""
    public_key = key.public_key()
    return public_key, x509.SubjectKeyIdentifier.from_public_key(public_key)


def _subject(host: Host, organization: str) -> x509.Name:
    attributes = []
    if organization:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    if len(host.text) <= LONGEST_COMMON_NAME:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, host.text))
    return x509.Name(attributes)
