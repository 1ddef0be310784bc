"""What clients are given to trust, in the forms their stores take.

In here: which certificates those are, what key stores call them, and PEM. Never a private key. Not in here: files;
PKCS#12 (`pkcs12`); JKS, which needs a library of its own (`cli.ca_export`). RFC 7468 rules PEM.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from netfw.x509.reading import PEM_CERTIFICATE, common_name, der_of, fingerprint, is_self_issued


def anchors(certificates: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """What a client must trust of a chain: its root, or else what is highest in it."""
    roots = tuple(certificate for certificate in certificates if is_self_issued(certificate))
    return roots or tuple(certificates[-1:])


def distinct(certificates: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """Each once, in its first place."""
    found: dict[str, x509.Certificate] = {}
    for certificate in certificates:
        found.setdefault(fingerprint(certificate), certificate)
    return tuple(found.values())


def aliases(certificates: Sequence[x509.Certificate]) -> tuple[str, ...]:
    """A name for each in a key store: its own and the beginning of its fingerprint."""
    return tuple(f"{common_name(certificate)} {fingerprint(certificate)[:8]}".lower() for certificate in certificates)


def pem_bundle(certificates: Sequence[x509.Certificate], system_pem: bytes = b"") -> bytes:
    """PEM: ours, each below a comment that names it, and then the system's that are not among them, as they stand."""
    parts = []
    for certificate in certificates:
        parts.append(f"# {_printable(common_name(certificate))}\n".encode("ascii", "replace"))
        parts.append(certificate.public_bytes(serialization.Encoding.PEM))
    there = {certificate.public_bytes(serialization.Encoding.DER) for certificate in certificates}
    for block in PEM_CERTIFICATE.findall(system_pem.replace(b"\r\n", b"\n")):
        der = der_of(block)
        if der not in there:
            parts.append(block + b"\n")
            there.add(der)
    return b"".join(parts)


def system_certificates(pem: bytes) -> int:
    """How many certificates a system's bundle holds."""
    return len(PEM_CERTIFICATE.findall(pem))


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
