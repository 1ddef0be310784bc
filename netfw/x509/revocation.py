"""What an authority has revoked: the list that we keep, and the CRL made of it (RFC 5280, section 5).

In here: the list as data and as JSON text, the signed CRL. Not in here: files, and the clock. Leaves live for days and
name no place for a CRL, so hardly any client asks for one: it is for revoked issuing CAs, and for who loads it by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509

from netfw.x509.authority import CertificateAuthority, signature_hash
from netfw.x509.reading import (
    authority_key_identifier,
    common_name,
    fingerprint,
    is_self_issued,
    not_after,
    subject_key_identifier,
)

REASONS = {
    "unspecified": None,  # RFC 5280, 5.3.1: by leaving the reason out
    "key-compromise": x509.ReasonFlags.key_compromise,
    "ca-compromise": x509.ReasonFlags.ca_compromise,
    "superseded": x509.ReasonFlags.superseded,
    "cessation": x509.ReasonFlags.cessation_of_operation,
}


@dataclass(frozen=True, slots=True)
class Revoked:
    """One certificate.

    `issuer`: who can put it on a CRL, as the key identifier in hexadecimal. `fingerprint` and `until` are known of CAs
    only; a leaf is its serial number.
    """

    serial: int
    issuer: str
    date: datetime
    reason: str
    name: str = ""
    fingerprint: str | None = None
    until: datetime | None = None
    is_root: bool = False


@dataclass(frozen=True, slots=True)
class RevokedList:
    """Everything revoked, and the number of the last CRL."""

    crl_number: int = 0
    entries: tuple[Revoked, ...] = ()

    def with_entry(self, entry: Revoked) -> RevokedList:
        """The same and this one, unless it is there already."""
        if self.has(entry.issuer, entry.serial):
            return self
        return replace(self, entries=(*self.entries, entry))

    def has(self, issuer: str, serial: int) -> bool:
        """Whether this certificate is revoked."""
        return any((entry.issuer, entry.serial) == (issuer, serial) for entry in self.entries)

    def has_certificate(self, certificate: x509.Certificate) -> bool:
        """Whether this CA certificate is revoked."""
        shown = fingerprint(certificate)
        return any(entry.fingerprint == shown for entry in self.entries)

    def of(self, issuer: str) -> tuple[Revoked, ...]:
        """What this issuer's CRL holds. A root is on none: nobody above it could say so."""
        return tuple(entry for entry in self.entries if entry.issuer == issuer and not entry.is_root)

    def to_json(self) -> str:
        """As it is kept in a file."""
        return json.dumps(
            {"crl_number": self.crl_number, "revoked": [as_data(entry) for entry in self.entries]}, indent=2
        )


def as_data(entry: Revoked) -> dict[str, object]:
    """One entry as JSON shows it."""
    return {
        "serial": f"{entry.serial:x}",
        "issuer": entry.issuer,
        "date": entry.date.isoformat(),
        "reason": entry.reason,
        "name": entry.name,
        "fingerprint": entry.fingerprint,
        "until": entry.until.isoformat() if entry.until is not None else None,
        "root": entry.is_root,
    }


def revoked_list_from_json(text: str) -> RevokedList:
    """Read what `to_json` wrote; raises ValueError."""
    document = json.loads(text)
    try:
        return RevokedList(int(document["crl_number"]), tuple(_entry(data) for data in document["revoked"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a list of revoked certificates: {error}") from None


def _entry(data: dict[str, Any]) -> Revoked:
    if data["reason"] not in REASONS:
        raise ValueError(f"{data['reason']!r} is no reason")
    return Revoked(
        serial=int(data["serial"], 16),
        issuer=data["issuer"],
        date=datetime.fromisoformat(data["date"]),
        reason=data["reason"],
        name=data["name"],
        fingerprint=data["fingerprint"],
        until=datetime.fromisoformat(data["until"]) if data["until"] is not None else None,
        is_root=bool(data["root"]),
    )


def revoked_ca(certificate: x509.Certificate, now: datetime, reason: str) -> Revoked:
    """The entry for a CA's certificate."""
    is_root = is_self_issued(certificate)
    identifier = subject_key_identifier(certificate) if is_root else authority_key_identifier(certificate)
    return Revoked(
        serial=certificate.serial_number,
        issuer=(identifier or b"").hex(),
        date=now.replace(microsecond=0),
        reason=reason,
        name=common_name(certificate),
        fingerprint=fingerprint(certificate),
        until=not_after(certificate),
        is_root=is_root,
    )


def key_identifier(authority: CertificateAuthority) -> str:
    """How entries name this authority as their issuer."""
    return authority.subject_key_identifier.digest.hex()


def create_crl(
    authority: CertificateAuthority, entries: Iterable[Revoked], number: int, now: datetime, days: int
) -> x509.CertificateRevocationList:
    """A CRL of version 2 of these entries, valid for `days` days; `number` must be higher than any before."""
    start = now.replace(microsecond=0)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(start)
        .next_update(start + timedelta(days=days))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority.subject_key_identifier),
            critical=False,
        )
    )
    for entry in entries:
        one = x509.RevokedCertificateBuilder().serial_number(entry.serial).revocation_date(entry.date.astimezone(UTC))
        reason = REASONS[entry.reason]
        if reason is not None:
            one = one.add_extension(x509.CRLReason(reason), critical=False)
        builder = builder.add_revoked_certificate(one.build())
    return builder.sign(authority.private_key, signature_hash(authority.private_key))
