"""A trust store as PKCS#12 (RFC 7292): certificates that are trusted, and no key. PURE.

Printed here because Java takes a certificate for trusted only with an attribute of its own, which `cryptography` writes
from release 45 on. Nothing in it is secret: the bags are not encrypted, and the integrity code under a password, which
is mostly the well-known one, is there because Java wants one. Not here: which certificates those are (`export`,
`kit.trust_store`).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

_ITERATIONS = 2048
_DATA = bytes.fromhex("06092a864886f70d010701")
_CERT_BAG = bytes.fromhex("060b2a864886f70d010c0a0103")
_X509_CERTIFICATE = bytes.fromhex("060a2a864886f70d01091601")
_FRIENDLY_NAME = bytes.fromhex("06092a864886f70d010914")
_JAVA_TRUSTED = bytes.fromhex("060c6086480186f966adca7b0101")  # 2.16.840.1.113894.746875.1.1
_ANY_PURPOSE = bytes.fromhex("0604551d2500")
_SHA256 = bytes.fromhex("300d06096086480165030402010500")
_SEQUENCE, _SET, _OCTETS, _BMP_STRING, _EXPLICIT_0 = 0x30, 0x31, 0x04, 0x1E, 0xA0


def trust_store(certificates: Sequence[bytes], names: Sequence[str], password: str) -> bytes:
    """A store of these certificates (DER) under these names. The same input gives the same bytes."""
    bags = b"".join(_bag(certificate, name) for certificate, name in zip(certificates, names, strict=True))
    contents = _der_of(_SEQUENCE, bags)
    safes = _der_of(_SEQUENCE, _content_info(contents))
    # The salt need not be unknown: what the password protects is no secret.
    salt = hashlib.sha256(safes).digest()[:20]
    code = hmac.new(_mac_key(password, salt, _ITERATIONS), safes, hashlib.sha256).digest()
    digest = _der_of(_SEQUENCE, _SHA256 + _der_of(_OCTETS, code))
    mac = _der_of(_SEQUENCE, digest + _der_of(_OCTETS, salt) + _integer(_ITERATIONS))
    return _der_of(_SEQUENCE, _integer(3) + _content_info(safes) + mac)


def _bag(certificate: bytes, name: str) -> bytes:
    friendly = _der_of(_BMP_STRING, name.encode("utf-16-be"))
    attributes = _attribute(_FRIENDLY_NAME, friendly) + _attribute(_JAVA_TRUSTED, _ANY_PURPOSE)
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
