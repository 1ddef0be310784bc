"""What the leaves of one authority and one key have in common, in DER. PURE.

In here: printing a leaf's to-be-signed part around what differs (serial number, validity, host), and putting the
signature to it. Not in here: what a leaf says (`leaf` makes the model that everything else is taken from). X.690 rules
the encoding, RFC 5280 what stands where.

A certificate builder encodes ten fields for each leaf of which three differ, and costs five times as much as signing.
The tests hold each byte of what is printed here against what the builder prints.
"""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from netfw.names.host import Host

_INTEGER, _BIT_STRING, _OCTET_STRING, _OBJECT = 0x02, 0x03, 0x04, 0x06
_UTF8_STRING, _UTC_TIME, _GENERALIZED_TIME = 0x0C, 0x17, 0x18
_SEQUENCE, _SET = 0x30, 0x31
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87  # the choices of GeneralName
_COMMON_NAME = b"\x06\x03\x55\x04\x03"
_ALTERNATIVE_NAME = b"\x06\x03\x55\x1d\x11"
_CRITICAL = b"\x01\x01\xff"
# The fields of TBSCertificate (RFC 5280, section 4.1), all of which a leaf of ours has.
_SIGNATURE, _ISSUER, _SUBJECT, _PUBLIC_KEY, _EXTENSIONS = 2, 3, 5, 6, 7
_FIELDS = 8


class LeafTemplate:
    """Made of a model: a leaf whose subject has a common name, and whose first extension is the alternative name."""

    def __init__(self, model: x509.Certificate) -> None:
        certificate = _parts(model.public_bytes(serialization.Encoding.DER))
        fields = _parts(certificate[0])
        if len(fields) != _FIELDS:
            raise ValueError("a model has other fields than a leaf")
        *organization, common_name = _parts(fields[_SUBJECT])
        (extensions,) = _parts(fields[_EXTENSIONS])
        alternative, *others = _parts(extensions)
        if _COMMON_NAME not in common_name or _ALTERNATIVE_NAME not in alternative:
            raise ValueError("a model has what differs elsewhere than a leaf")
        self._version = fields[0]
        self._algorithm = fields[_SIGNATURE]
        self._issuer = fields[_ISSUER]
        self._public_key = fields[_PUBLIC_KEY]
        self._subject = b"".join(organization)
        self._extensions = b"".join(others)

    def to_be_signed(self, host: Host, serial: int, start: datetime, end: datetime, *, common_name: bool) -> bytes:
        """For this host, with times in UTC; without `common_name` the subject does not name it."""
        name = host.text.encode("ascii")
        subject = self._subject
        if common_name:
            attribute = _value(_SEQUENCE, _COMMON_NAME + _value(_UTF8_STRING, name))
            subject += _value(_SET, attribute)
        if host.address is None:
            names = _value(_SEQUENCE, _value(_DNS_NAME, name))
        else:
            names = _value(_SEQUENCE, _value(_IP_ADDRESS, host.address.packed))
        # RFC 5280 4.2.1.6: without a subject the alternative name must be critical.
        head = _ALTERNATIVE_NAME if subject else _ALTERNATIVE_NAME + _CRITICAL
        alternative = _value(_SEQUENCE, head + _value(_OCTET_STRING, names))
        extensions = _value(_SEQUENCE, alternative + self._extensions)
        return _value(
            _SEQUENCE,
            self._version
            + _value(_INTEGER, serial.to_bytes(serial.bit_length() // 8 + 1, "big"))
            + self._algorithm
            + self._issuer
            + _value(_SEQUENCE, _time(start) + _time(end))
            + _value(_SEQUENCE, subject)
            + self._public_key
            + _value(0xA3, extensions),
        )

    def signed(self, to_be_signed: bytes, signature: bytes) -> bytes:
        """The certificate."""
        return _value(_SEQUENCE, to_be_signed + self._algorithm + _value(_BIT_STRING, b"\0" + signature))


def _value(tag: int, content: bytes) -> bytes:
    """One value: its tag, its length in the shortest form, its content."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    if length < 0x100:
        return bytes((tag, 0x81, length)) + content
    if length < 0x10000:
        return bytes((tag, 0x82, length >> 8, length & 0xFF)) + content
    raise ValueError("longer than a certificate can be")


def _time(moment: datetime) -> bytes:
    """RFC 5280 4.1.2.5: two digits of the year until 2049, four from 2050 on."""
    rest = f"{moment.month:02}{moment.day:02}{moment.hour:02}{moment.minute:02}{moment.second:02}Z"
    if 1950 <= moment.year < 2050:
        return _value(_UTC_TIME, f"{moment.year % 100:02}{rest}".encode("ascii"))
    return _value(_GENERALIZED_TIME, f"{moment.year:04}{rest}".encode("ascii"))


def _parts(value: bytes) -> list[bytes]:
    """The values that stand in a constructed one. It is DER that we made: nothing else is looked out for."""
    at, end = _content(value, 0)
    parts = []
    while at < end:
        after = _content(value, at)[1]
        parts.append(value[at:after])
        at = after
    return parts


def _content(value: bytes, at: int) -> tuple[int, int]:
    """Where the content of the value at `at` begins and ends. Tags of more than one octet do not occur."""
    length = value[at + 1]
    at += 2
    if length & 0x80:
        size = length & 0x7F
        length = int.from_bytes(value[at : at + size], "big")
        at += size
    return at, at + length
