"""Trust as files: what of a PEM text clients get, and the same as PKCS#12.

In this room: bytes into bytes. Not here: how PKCS#12 is printed (`x509.pkcs12`), the bundle with the system's roots
(`x509.export`), and where the files go (`netfw.cli.env`, `netfw.cli.ca_export`).
"""

from __future__ import annotations

from collections.abc import Sequence

from netfw.kit.setting import STORE_PASSWORD
from netfw.x509.pkcs12 import trust_store
from netfw.x509.reading import PEM_CERTIFICATE, der_of

SYSTEM_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch, Gentoo
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",  # older RHEL, Amazon Linux
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS, the BSDs
)
"""Where systems keep their roots in one file; the first that exists is taken."""


def certificates_only(pem: bytes) -> bytes:
    """The certificates of a PEM text and nothing else of it: a private key beside them goes nowhere."""
    return b"".join(block + b"\n" for block in PEM_CERTIFICATE.findall(pem.replace(b"\r\n", b"\n")))


def der_certificates(pem: bytes) -> tuple[bytes, ...]:
    """Each certificate's DER form."""
    return tuple(der_of(block) for block in PEM_CERTIFICATE.findall(pem))


def pkcs12_store(
    certificates: Sequence[bytes], names: Sequence[str] | None = None, password: str = STORE_PASSWORD
) -> bytes:
    """A trust store of these certificates (DER), numbered where they have no names. The same give the same bytes."""
    numbers = [f"netfw-{number}" for number in range(1, len(certificates) + 1)]
    return trust_store(certificates, names or numbers, password)
