"""Whether an origin's certificate proves its name, and what is said when it does not.

In here: the checks of name, pin and staple after the handshake and before the first byte (OpenSSL has judged the chain
by then), and the map from TLS failures to the error tree. Not in here: the chain's verdict itself (`contexts` sets it
up), connections (`upstream`), how names are compared (`x509.reference_identity`) and staples read (`x509.staple`).

Facts are canonical: dates, a fingerprint and names in our own spelling. Text that an origin chose goes into `detail`
only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address

from cryptography import x509
from OpenSSL import SSL, crypto

from netfw.errors import (
    NetfwError,
    OriginCertificateInvalid,
    OriginClosed,
    OriginConnectTimeout,
    OriginTlsAlert,
    OriginTlsFailure,
)
from netfw.names.host import Host, HostError, parse_host
from netfw.tls.failures import OriginVerdict, TlsHandshakeError
from netfw.x509.reading import Validity, fingerprint, key_digest, validity
from netfw.x509.reference_identity import is_certified
from netfw.x509.staple import StapleProblem, judge_staple, must_staple

# A certificate of 100 KiB holds thousands; whoever needs more than this has several certificates.
MOST_NAMES = 1000
MOST_NAMES_SHOWN = 10

SENTENCES = {
    "expired": "has expired",
    "not_yet_valid": "is not valid yet",
    "self_signed": "is self-signed",
    "untrusted_root": "leads to a root that is not trusted",
    "missing_intermediate": "came without that of its issuer: an intermediate is missing, or its root is not trusted",
    "pin_mismatch": "has another key than those that are pinned for this host",
    "revoked": "is revoked",
    "crl_expired": "cannot be checked: its issuer's revocation list is out of date",
    "crl_unusable": "cannot be checked: its issuer's revocation list cannot be used",
    "bad_staple": "came with a statement on its revocation (OCSP) that cannot be believed",
    "stale_staple": "came with a statement on its revocation (OCSP) that is not of now",
    "missing_staple": "came without the statement on its revocation (OCSP) that it promises",
    "wrong_host": "is not for this host",
    "no_names": "has no subject alternative name",
    "unreadable": "cannot be read",
    "missing": "is missing",
    "weak_key": "has a key, or an issuer's key, that is too short",
    "weak_signature": "has a signature that is too weak",
    "wrong_purpose": "is not meant for servers",
    "invalid_authority": "was issued by something that is not a certificate authority",
    "bad_signature": "has a signature that is not valid",
    "rejected": "is rejected by the trust store",
    "name_not_permitted": "has a name that its issuer may not certify",
    "invalid": "is not valid",
}


def verify_origin(connection: SSL.Connection, host: Host, *, pins: Collection[bytes], now: float) -> None:
    """Check, right after the handshake, that the peer's certificate is for this host, and not revoked.

    `pins`: digests of the keys of which it must have one, empty for any; `now`: seconds since the epoch. Raises
    `errors.OriginCertificateInvalid`, also for whatever cannot be read.
    """
    peer = connection.get_peer_certificate()
    if peer is None:
        raise _refusal(host, "missing", None)
    try:
        der = crypto.dump_certificate(crypto.FILETYPE_ASN1, peer)
        certificate = x509.load_der_x509_certificate(der)
        names, addresses = _alternative_names(certificate)
        if pins and key_digest(certificate) not in pins:
            raise _refusal(host, "pin_mismatch", certificate)
    except ValueError as error:
        raise _refusal(host, "unreadable", None, detail=str(error)) from None
    if len(names) + len(addresses) > MOST_NAMES:
        raise _refusal(host, "unreadable", certificate, detail=f"{len(names) + len(addresses)} alternative names")
    if not is_certified(host, names, addresses):
        raise _refusal(host, "wrong_host" if names or addresses else "no_names", certificate)
    valid = validity(certificate)
    if valid.ends.timestamp() < now:
        # OpenSSL has looked at it, but not in a resumed session.
        raise _refusal(host, "expired", certificate)
    verdict = connection.get_app_data()
    if isinstance(verdict, OriginVerdict):
        if verdict.verified:
            _check_staple(connection, verdict, certificate, host, now)
        # Said here, where the certificate has been read: to read it costs more than to compare its name.
        verdict.facts = _facts(hashlib.sha256(der).hexdigest(), valid, names, addresses)
        verdict.validity = valid


def _check_staple(
    connection: SSL.Connection, verdict: OriginVerdict, certificate: x509.Certificate, host: Host, now: float
) -> None:
    """What the origin stapled. In a resumed session nothing is: its certificate was checked when it was earned."""
    is_good = False
    if verdict.staple:
        try:
            chain = connection.get_verified_chain() or ()
            # Without an issuer nobody can speak for it: it is a root itself, or pinned.
            if len(chain) > 1:
                when = datetime.fromtimestamp(now, UTC)
                is_good = judge_staple(verdict.staple, certificate, chain[1].to_cryptography(), when)
        except StapleProblem as problem:
            raise _refusal(host, problem.reason, certificate, detail=problem.detail) from None
        except ValueError as error:
            raise _refusal(host, "unreadable", certificate, detail=str(error)) from None
    if not is_good and must_staple(certificate):
        raise _refusal(host, "missing_staple", certificate)


def origin_error(error: TlsHandshakeError, host: Host, connection: SSL.Connection | None = None) -> NetfwError:
    """What a failed handshake with an origin means for the exchange.

    `connection` may know the certificate's problem.
    """
    verdict = connection.get_app_data() if connection is not None else None
    if error.certificate_problem is not None:
        problem = verdict.problem if isinstance(verdict, OriginVerdict) else None
        certificate = problem.certificate if problem is not None else None
        refusal = _refusal(host, error.certificate_problem, certificate, detail=error.reason)
        if problem is not None:
            refusal.facts["depth"] = str(problem.depth)
        return refusal
    if error.timed_out:
        return OriginConnectTimeout(f"The TLS handshake with {host.text} took too long.")
    if error.closed:
        return OriginClosed(f"{host.text} closed the connection during the TLS handshake.", detail=error.reason)
    if error.from_peer:
        return OriginTlsAlert(f"{host.text} refused the TLS handshake.", alert=error.alert or "", detail=error.reason)
    return OriginTlsFailure(f"The TLS handshake with {host.text} failed.", detail=error.reason)


def certificate_facts(certificate: x509.Certificate) -> dict[str, str]:
    """What may be said to anybody: validity, fingerprint, and the host names that are host names."""
    try:
        names, addresses = _alternative_names(certificate)
    except ValueError:
        names, addresses = [], []
    return _facts(fingerprint(certificate), validity(certificate), names, addresses)


def _facts(
    sha256: str, valid: Validity, names: list[str], addresses: list[IPv4Address | IPv6Address]
) -> dict[str, str]:
    facts = {
        "not_before": valid.begins.isoformat()[:19] + "Z",
        "not_after": valid.ends.isoformat()[:19] + "Z",
        "sha256": sha256,
    }
    # Only so many are looked at: this is done for every connection.
    looked_at = 2 * MOST_NAMES_SHOWN
    shown = [text for text in map(_canonical, names[:looked_at]) if text is not None]
    shown += [str(address) for address in addresses[:looked_at]]
    if shown:
        more = len(shown) - MOST_NAMES_SHOWN + max(len(names) - looked_at, 0) + max(len(addresses) - looked_at, 0)
        facts["names"] = ", ".join(shown[:MOST_NAMES_SHOWN]) + (f", and {more} more" if more > 0 else "")
    return facts


def _refusal(
    host: Host, reason: str, certificate: x509.Certificate | None, *, detail: str = ""
) -> OriginCertificateInvalid:
    facts = {"problem": reason}
    if certificate is not None:
        facts |= certificate_facts(certificate)
    message = f"The certificate of {host.text} {SENTENCES.get(reason, SENTENCES['invalid'])}."
    return OriginCertificateInvalid(message, detail=detail, facts=facts)


def _alternative_names(certificate: x509.Certificate) -> tuple[list[str], list[IPv4Address | IPv6Address]]:
    """dNSName and iPAddress entries; raises ValueError when the extensions cannot be read."""
    try:
        value = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [], []
    except x509.DuplicateExtension as error:
        raise ValueError(str(error)) from None
    addresses = [
        address
        for address in value.get_values_for_type(x509.IPAddress)
        if isinstance(address, (IPv4Address, IPv6Address))
    ]
    return value.get_values_for_type(x509.DNSName), addresses


def _canonical(name: str) -> str | None:
    wildcard, name = name.startswith("*."), name.removeprefix("*.")
    try:
        host = parse_host(name.encode("ascii"))
    except (HostError, UnicodeEncodeError):
        return None
    return "*." + host.text if wildcard else host.text
