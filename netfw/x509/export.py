"""What clients are given to trust, in the forms their stores take.

In here: which certificates those are, and bytes for each form. Never a private key. Not in here: files; JKS, which
needs a library of its own (`cli.ca_export`). RFC 7468 rules PEM, RFC 7292 PKCS#12.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from netfw.x509.pkcs12 import trust_store
from netfw.x509.reading import PEM_CERTIFICATE, common_name, fingerprint, is_self_issued


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
    ours = {block for part in parts for block in PEM_CERTIFICATE.findall(part)}
    for block in PEM_CERTIFICATE.findall(system_pem.replace(b"\r\n", b"\n")):
        if block not in ours:
            parts.append(block + b"\n")
            ours.add(block)
    return b"".join(parts)


def pkcs12_store(certificates: Sequence[x509.Certificate], password: bytes) -> bytes:
    """A PKCS#12 trust store, whose entries Java takes as trusted."""
    ders = [certificate.public_bytes(serialization.Encoding.DER) for certificate in certificates]
    return trust_store(ders, aliases(certificates), password.decode("utf-8"))


def system_certificates(pem: bytes) -> int:
    """How many certificates a system's bundle holds."""
    return len(PEM_CERTIFICATE.findall(pem))


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
