"""The strict profile: all that any client may refuse an authority's certificates for, before a client does.

In here: certificates, key and a moment in; findings out. Not in here: files, their modes and owners (`cli.ca_check`),
and what the proxy itself asks for at its start (`authority.load_authority`), which is less. RFC 5280 rules the
contents; what strict verifiers (OpenSSL's x509_strict, Java, browsers) refuse, the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from netfw.x509.authority import SMALLEST_RSA_KEY, SigningKey, is_pair
from netfw.x509.name_constraints import binds_subject, constraints_of, describe
from netfw.x509.reading import (
    authority_key_identifier,
    common_name,
    is_self_issued,
    is_signed_by,
    not_after,
    not_before,
    subject_key_identifier,
)

CURVES = ("secp256r1", "secp384r1", "secp521r1")
WEAK_HASHES = ("md5", "sha1")
# Days left and what is due then: rolling a CA out takes weeks, a switch takes minutes.
DUE = ((7, "switch to the next CA now"), (30, "the next CA must be with all clients by now"), (60, "begin to rotate"))
LONGEST_SERIAL = 1 << 159
UNDERSTOOD = (
    x509.BasicConstraints,
    x509.KeyUsage,
    x509.ExtendedKeyUsage,
    x509.NameConstraints,
    x509.CertificatePolicies,
    x509.PolicyConstraints,
    x509.InhibitAnyPolicy,
    x509.SubjectAlternativeName,
    x509.SubjectKeyIdentifier,
    x509.AuthorityKeyIdentifier,
)


class Level(Enum):
    """How bad it is."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact that somebody should know. ERROR: some client refuses what this authority signs."""

    level: Level
    text: str


def examine(certificates: Sequence[x509.Certificate], key: SigningKey | None, now: datetime) -> tuple[Finding, ...]:
    """Everything about an authority, the issuing certificate first; `key` None leaves out what needs it."""
    findings: list[Finding] = []
    for place, certificate in enumerate(certificates):
        called = f"certificate {place + 1} ({common_name(certificate)})"
        findings += [
            Finding(finding.level, f"{called} {finding.text}")
            for finding in _of_one(certificate, place, certificates, now)
        ]
    findings += _of_order(certificates)
    if key is not None and certificates and not is_pair(certificates[0], key):
        findings.append(_error("the private key does not belong to the first certificate"))
    return tuple(findings)


def errors(findings: Sequence[Finding]) -> tuple[str, ...]:
    """The texts of those that clients refuse."""
    return tuple(finding.text for finding in findings if finding.level is Level.ERROR)


def days_left(certificates: Sequence[x509.Certificate], now: datetime) -> int:
    """Whole days until the first of them ends; negative when that is over."""
    return (min(not_after(certificate) for certificate in certificates) - now) // timedelta(days=1)


def _error(text: str) -> Finding:
    return Finding(Level.ERROR, text)


def _warning(text: str) -> Finding:
    return Finding(Level.WARNING, text)


def _of_one(
    certificate: x509.Certificate, place: int, certificates: Sequence[x509.Certificate], now: datetime
) -> Iterator[Finding]:
    yield from _of_dates(certificate, now)
    yield from _of_keys(certificate)
    if certificate.version is not x509.Version.v3:
        yield _error("is not of version 3: it can say nothing about what it is for")
    if not 0 < certificate.serial_number < LONGEST_SERIAL:
        yield _error("has a serial number that is not positive or longer than 20 octets")
    if not len(certificate.subject):
        yield _error("has an empty subject, which a CA may not have (RFC 5280, 4.1.2.6)")
    try:
        extensions = certificate.extensions
    except ValueError as error:
        yield _error(f"has extensions that cannot be read: {error}")
        return
    yield from _of_constraints(extensions, place, certificates)
    yield from _of_usage(extensions)
    yield from _of_identifiers(certificate)
    yield from _of_names(certificate)
    for extension in extensions:
        if extension.critical and not isinstance(extension.value, UNDERSTOOD):
            yield _error(f"has the critical extension {extension.oid.dotted_string}, which few clients understand")


def _of_dates(certificate: x509.Certificate, now: datetime) -> Iterator[Finding]:
    end = not_after(certificate)
    if now < not_before(certificate):
        yield _error(f"is not valid before {not_before(certificate):%Y-%m-%d %H:%M} UTC")
    if now > end:
        yield _error(f"expired on {end:%Y-%m-%d}")
        return
    left = (end - now) // timedelta(days=1)
    for days, due in DUE:
        if left < days:
            yield _warning(f"ends on {end:%Y-%m-%d}, in {left} days: {due}")
            return


def _of_keys(certificate: x509.Certificate) -> Iterator[Finding]:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < SMALLEST_RSA_KEY:
            yield _error(f"has an RSA key of {key.key_size} bits; clients want {SMALLEST_RSA_KEY} or more")
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in CURVES:
            yield _error(f"has a key on the curve {key.curve.name}; clients take P-256, P-384 and P-521")
    elif isinstance(key, ed25519.Ed25519PublicKey):
        yield _warning("has an Ed25519 key, which browsers and Java before 15 do not take")
    else:
        yield _error("has a key of a kind that clients do not take")
    try:
        algorithm: hashes.HashAlgorithm | None = certificate.signature_hash_algorithm
    except Exception:  # cryptography's UnsupportedAlgorithm, and ValueError for what it cannot read
        yield _error(f"is signed by an unknown algorithm, {certificate.signature_algorithm_oid.dotted_string}")
        return
    if algorithm is not None and algorithm.name in WEAK_HASHES:
        if is_self_issued(certificate):
            yield _warning(f"is signed over {algorithm.name.upper()}; nobody checks a root's signature, but some look")
        else:
            yield _error(f"is signed over {algorithm.name.upper()}, which clients refuse")


def _of_constraints(
    extensions: x509.Extensions, place: int, certificates: Sequence[x509.Certificate]
) -> Iterator[Finding]:
    try:
        found = extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        yield _error("has no basicConstraints: it is no CA")
        return
    if not found.value.ca:
        yield _error("is no CA: its basicConstraints say CA:FALSE")
        return
    if not found.critical:
        yield _error("has basicConstraints that are not critical (RFC 5280, 4.2.1.9); strict clients refuse it")
    # Self-issued certificates do not count (RFC 5280, 4.2.1.9).
    below = sum(not is_self_issued(certificate) for certificate in certificates[:place])
    allowed = found.value.path_length
    if allowed is not None and allowed < below:
        yield _error(f"allows {allowed} CAs below it (path length), and there are {below}")


def _of_usage(extensions: x509.Extensions) -> Iterator[Finding]:
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage)
    except x509.ExtensionNotFound:
        yield _error("has no keyUsage; strict clients want keyCertSign in it")
    else:
        if not usage.value.key_cert_sign:
            yield _error("has a keyUsage without keyCertSign: it may not sign certificates")
        if not usage.value.crl_sign:
            yield _warning("has a keyUsage without cRLSign: it may not sign a list of what is revoked (`netfw ca crl`)")
        if not usage.critical:
            yield _error("has a keyUsage that is not critical (RFC 5280, 4.2.1.3)")
    try:
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(purposes):
        yield _error("has an extendedKeyUsage without serverAuth: servers' certificates below it are refused")


def _of_identifiers(certificate: x509.Certificate) -> Iterator[Finding]:
    if subject_key_identifier(certificate) is None:
        yield _error("has no subjectKeyIdentifier, which strict clients want")
    if authority_key_identifier(certificate) is None and not is_self_issued(certificate):
        yield _error("has no authorityKeyIdentifier, which strict clients want")


def _of_names(certificate: x509.Certificate) -> Iterator[Finding]:
    try:
        constraints = constraints_of(certificate)
    except ValueError as error:
        yield _error(f"has name constraints that cannot be read: {error}")
        return
    if constraints is None:
        return
    for line in describe(constraints):
        yield _warning(f"is bound by name constraints ({line}): interception of hosts outside of them fails at clients")
    if binds_subject(constraints):
        yield _error("permits only subjects below a directory name, which the leaves' subject, O=netfw, is not")


def _of_order(certificates: Sequence[x509.Certificate]) -> Iterator[Finding]:
    for place, (lower, upper) in enumerate(zip(certificates, certificates[1:], strict=False), start=1):
        if not is_signed_by(lower, upper):
            order = "put the issuing one first, the root last"
            yield _error(f"certificate {place} is not signed by certificate {place + 1}: {order}")
            continue
        pointed, own = authority_key_identifier(lower), subject_key_identifier(upper)
        if pointed is not None and own is not None and pointed != own:
            yield _error(f"certificate {place} points to another key than certificate {place + 1} has (AKI and SKI)")
        if not_after(lower) > not_after(upper):
            yield _warning(f"certificate {place} is to outlive certificate {place + 1}, which signed it: it will not")
    if certificates:
        top = certificates[-1]
        if not is_self_issued(top):
            issuer = top.issuer.rfc4514_string()
            yield Finding(Level.NOTE, f"the chain ends below {issuer}: that is what clients must trust")
        elif not is_signed_by(top, top):
            yield _error(f"certificate {len(certificates)} names itself as its issuer, but another key signed it")
