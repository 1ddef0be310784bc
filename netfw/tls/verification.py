"""Whether an origin's certificate proves its name, and what is said when it does not.

In here: the check of the name after the handshake and before the first byte (OpenSSL has judged the chain by then),
and the map from TLS failures to the error tree. Not in here: the chain's verdict itself (`contexts` sets it up),
connections (`upstream`). RFC 9525 rules the name: subjectAltName only, no common name, a wildcard is a whole
left-most label.

Facts are canonical: dates, a fingerprint and names in our own spelling. Text that an origin chose goes into `detail`
only.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from cryptography import x509
from OpenSSL import SSL
from service_identity import VerificationError
from service_identity.pyopenssl import verify_hostname, verify_ip_address

from netfw.errors import (
    NetfwError,
    OriginCertificateInvalid,
    OriginClosed,
    OriginConnectTimeout,
    OriginTlsAlert,
    OriginTlsFailure,
)
from netfw.names.host import Host, HostError, parse_host
from netfw.tls.failures import CertificateProblem, TlsHandshakeError
from netfw.x509.reading import fingerprint, not_after, not_before

# service-identity 18.1 takes milliseconds for a hundred names, and a certificate of 100 KiB holds thousands.
MOST_NAMES = 1000
MOST_NAMES_SHOWN = 10

SENTENCES = {
    "expired": "has expired",
    "not_yet_valid": "is not valid yet",
    "self_signed": "is self-signed",
    "untrusted_root": "leads to a root that is not trusted",
    "unknown_issuer": "has an unknown issuer: an intermediate certificate is missing, or its root is not trusted",
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


def verify_origin(connection: SSL.Connection, host: Host) -> None:
    """Check, right after the handshake, that the peer's certificate is for this host.

    Raises `errors.OriginCertificateInvalid`, also for whatever cannot be read.
    """
    peer = connection.get_peer_certificate()
    if peer is None:
        raise _refusal(host, "missing", None)
    try:
        certificate = peer.to_cryptography()
        names, addresses = _alternative_names(certificate)
    except ValueError as error:
        raise _refusal(host, "unreadable", None, detail=str(error)) from None
    # Asked first: service-identity 18.1 would go on to the common name.
    if not (names if host.address is None else addresses):
        raise _refusal(host, "wrong_host" if names or addresses else "no_names", certificate)
    if len(names) + len(addresses) > MOST_NAMES:
        raise _refusal(host, "unreadable", certificate, detail=f"{len(names) + len(addresses)} alternative names")
    try:
        if host.address is None:
            verify_hostname(connection, host.text)
        else:
            verify_ip_address(connection, host.text)
    except VerificationError:
        raise _refusal(host, "wrong_host", certificate) from None
    except Exception as error:  # CertificateError, and what service-identity trips over in odd names
        raise _refusal(host, "unreadable", certificate, detail=repr(error)) from None


def origin_error(error: TlsHandshakeError, host: Host, connection: SSL.Connection | None = None) -> NetfwError:
    """What a failed handshake with an origin means for the exchange.

    `connection` may know the certificate's problem.
    """
    problem = connection.get_app_data() if connection is not None else None
    if error.certificate_problem is not None:
        certificate = problem.certificate if isinstance(problem, CertificateProblem) else None
        refusal = _refusal(host, error.certificate_problem, certificate, detail=error.reason)
        if isinstance(problem, CertificateProblem):
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
    facts = {
        "not_before": not_before(certificate).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "not_after": not_after(certificate).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "sha256": fingerprint(certificate),
    }
    try:
        names, addresses = _alternative_names(certificate)
    except ValueError:
        return facts
    shown = [text for text in map(_canonical, names[:MOST_NAMES]) if text is not None]
    shown += [str(address) for address in addresses[:MOST_NAMES]]
    if shown:
        more = f", and {len(shown) - MOST_NAMES_SHOWN} more" if len(shown) > MOST_NAMES_SHOWN else ""
        facts["names"] = ", ".join(shown[:MOST_NAMES_SHOWN]) + more
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
