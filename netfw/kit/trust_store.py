"""Trust as files: one PEM bundle of the system's roots and the proxy's CA, and the same as PKCS#12.

In this room: bytes into bytes. Not here: where the system's roots are read from, and where the files go
(`netfw.cli.env`).

PKCS#12 (RFC 7292) is printed here because Java takes a certificate for trusted only with an attribute of its own,
which `cryptography` writes from release 45 on. Nothing in it is secret: the bags are not encrypted, and the integrity
code under the well-known password is there because Java wants one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from netfw.kit.setting import STORE_PASSWORD
from netfw.x509.reading import PEM_CERTIFICATE

SYSTEM_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch, Gentoo
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",  # older RHEL, Amazon Linux
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS, the BSDs
)
"""Where systems keep their roots in one file; the first that exists is taken."""

_ITERATIONS = 2048
_DATA = bytes.fromhex("06092a864886f70d010701")
_CERT_BAG = bytes.fromhex("060b2a864886f70d010c0a0103")
_X509_CERTIFICATE = bytes.fromhex("060a2a864886f70d01091601")
_FRIENDLY_NAME = bytes.fromhex("06092a864886f70d010914")
_JAVA_TRUSTED = bytes.fromhex("060c6086480186f966adca7b0101")  # 2.16.840.1.113894.746875.1.1
_ANY_PURPOSE = bytes.fromhex("0604551d2500")
_SHA256 = bytes.fromhex("300d06096086480165030402010500")
_SEQUENCE, _SET, _OCTETS, _BMP_STRING, _EXPLICIT_0 = 0x30, 0x31, 0x04, 0x1E, 0xA0


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
    bags = b"".join(_bag(certificate, number) for number, certificate in enumerate(certificates, 1))
    contents = _der_of(_SEQUENCE, bags)
    safes = _der_of(_SEQUENCE, _content_info(contents))
    # The salt need not be unknown: everybody knows the password.
    salt = hashlib.sha256(safes).digest()[:20]
    code = hmac.new(_mac_key(STORE_PASSWORD, salt, _ITERATIONS), safes, hashlib.sha256).digest()
    digest = _der_of(_SEQUENCE, _SHA256 + _der_of(_OCTETS, code))
    mac = _der_of(_SEQUENCE, digest + _der_of(_OCTETS, salt) + _integer(_ITERATIONS))
    return _der_of(_SEQUENCE, _integer(3) + _content_info(safes) + mac)


def _der(block: bytes) -> bytes:
    return base64.b64decode(b"".join(block.split(b"\n")[1:-1]))


def _bag(certificate: bytes, number: int) -> bytes:
    name = f"netfw-{number}".encode("utf-16-be")
    attributes = _attribute(_FRIENDLY_NAME, _der_of(_BMP_STRING, name)) + _attribute(_JAVA_TRUSTED, _ANY_PURPOSE)
    wrapped = _der_of(_EXPLICIT_0, _der_of(_OCTETS, certificate))
    value = _der_of(_EXPLICIT_0, _der_of(_SEQUENCE, _X509_CERTIFICATE + wrapped))
    return _der_of(_SEQUENCE, _CERT_BAG + value + _der_of(_SET, attributes))


def _attribute(identifier: bytes, value: bytes) -> bytes:
    return _der_of(_SEQUENCE, identifier + _der_of(_SET, value))


def _content_info(content: bytes) -> bytes:
    return _der_of(_SEQUENCE, _DATA + _der_of(_EXPLICIT_0, _der_of(_OCTETS, content)))


def _integer(value: int) -> bytes:
    return _der_of(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _der_of(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 128:
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 128 + size]) + length.to_bytes(size, "big") + content


def _mac_key(password: str, salt: bytes, iterations: int) -> bytes:
    """RFC 7292 appendix B.2 with SHA-256 and ID 3. One block of output is all that is needed."""
    block = 64
    secret = (password + "\0").encode("utf-16-be")
    value = bytes([3]) * block + _filled(salt, block) + _filled(secret, block)
    for _ in range(iterations):
        value = hashlib.sha256(value).digest()
    return value


def _filled(text: bytes, block: int) -> bytes:
    size = -(-len(text) // block) * block
    return (text * (size // len(text) + 1))[:size]
