"""Trust as files: one PEM bundle of the system's roots and the proxy's CA, and the same as PKCS#12.

In this room: bytes into bytes. Not here: how PKCS#12 is printed (`x509.pkcs12`), where the system's roots are read
from, and where the files go (`netfw.cli.env`).
"""

from __future__ import annotations

import base64

from netfw.kit.setting import STORE_PASSWORD
from netfw.x509.pkcs12 import trust_store
from netfw.x509.reading import PEM_CERTIFICATE

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


def merged_bundle(system: bytes, authority: bytes) -> bytes:
    """The proxy's CA first, then every root of the system that is not the same."""
    seen: dict[bytes, bytes] = {}
    for block in PEM_CERTIFICATE.findall((authority + b"\n" + system).replace(b"\r\n", b"\n")):
        seen.setdefault(_der(block), block)
    return b"".join(block + b"\n" for block in seen.values())


def der_certificates(pem: bytes) -> tuple[bytes, ...]:
    """Each certificate's DER form."""
    return tuple(_der(block) for block in PEM_CERTIFICATE.findall(pem))


def pkcs12_store(certificates: tuple[bytes, ...]) -> bytes:
    """A trust store of these certificates (DER), under `STORE_PASSWORD`. The same certificates give the same bytes."""
    names = [f"netfw-{number}" for number in range(1, len(certificates) + 1)]
    return trust_store(certificates, names, STORE_PASSWORD)


def _der(block: bytes) -> bytes:
    return base64.b64decode(b"".join(block.split(b"\n")[1:-1]))
