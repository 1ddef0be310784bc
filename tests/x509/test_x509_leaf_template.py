"""netfw.x509.leaf_template"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from netfw.names.host import Host, host_from_text
from netfw.testing.pki import TestAuthority
from netfw.x509.authority import LEAF_KEY_USAGE, CertificateAuthority, load_authority, signature_hash
from netfw.x509.leaf import BASIC_CONSTRAINTS, EXTENDED_KEY_USAGE, issue_leaf, model_leaf
from netfw.x509.leaf_template import LeafTemplate

KEY = ec.generate_private_key(ec.SECP256R1())
NOW = datetime.fromisoformat("2030-01-01T00:00:00+00:00")
KINDS = ["P-256", "P-384", "RSA-2048", "Ed25519"]


def authority_of(kind: str, name: str = "Egress CA") -> CertificateAuthority:
    authority = TestAuthority(name, key=kind)
    return load_authority(authority.certificate_pem, authority.key_pem, datetime.now(UTC))


AUTHORITIES = {kind: authority_of(kind) for kind in KINDS}
# Another name, of characters that need several octets and are long enough for a length of two.
AUTHORITIES["long"] = authority_of("P-256", "Prüfstelle " * 5)


def built(authority: CertificateAuthority, host: Host, serial: int, start: datetime, end: datetime, organization: str,
          common_name: bool) -> x509.Certificate:  # fmt: skip
    """By the library's builder, with every field given anew."""
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    if common_name:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, host.text))
    name = x509.DNSName(host.text) if host.address is None else x509.IPAddress(host.address)
    identifier = authority.subject_key_identifier
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name(attributes))
        .issuer_name(authority.certificate.subject)
        .public_key(KEY.public_key())
        .serial_number(serial)
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([name]), critical=not attributes)
        .add_extension(BASIC_CONSTRAINTS, critical=True)
        .add_extension(LEAF_KEY_USAGE, critical=True)
        .add_extension(EXTENDED_KEY_USAGE, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(KEY.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(authority.private_key, signature_hash(authority.private_key))
    )


LABEL = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", fullmatch=True)
NAMES = st.lists(LABEL, min_size=1, max_size=8).map(".".join).filter(lambda text: len(text) <= 253)
ADDRESSES = st.ip_addresses().map(lambda address: Host(str(address), address))
TIMES = st.datetimes(datetime(1950, 1, 1), datetime(2399, 1, 1), timezones=st.just(UTC))


@given(
    which=st.sampled_from(sorted(AUTHORITIES)),
    host=st.one_of(NAMES.map(lambda text: Host(text, None)), ADDRESSES),
    serial=st.integers(1, 2**127 - 1),
    start=TIMES,
    life=st.timedeltas(timedelta(seconds=1), timedelta(days=900)),
    organization=st.sampled_from(["netfw", "", "O" * 64, "Bücher"]),
)
def test_what_is_printed_is_what_the_builder_prints(
    which: str, host: Host, serial: int, start: datetime, life: timedelta, organization: str
) -> None:
    """Byte for byte, for hosts of every kind and length, years on both sides of 2050, and every authority."""
    authority = AUTHORITIES[which]
    start = start.replace(microsecond=0)
    end = (start + life).replace(microsecond=0)
    common_name = len(host.text) <= 64
    template = LeafTemplate(model_leaf(authority, KEY, organization))
    printed = template.to_be_signed(host, serial, start, end, common_name=common_name)
    expected = built(authority, host, serial, start, end, organization, common_name)
    assert printed == expected.tbs_certificate_bytes
    assert template.signed(printed, expected.signature) == expected.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize("kind", KINDS)
def test_templates_are_kept_with_their_authority(kind: str) -> None:
    """One for each key and organization, and never more than so many."""
    authority = authority_of(kind)
    host, now = host_from_text("www.example.com"), datetime.now(UTC)
    for _ in range(2):
        issue_leaf(authority, host, KEY, now)
        issue_leaf(authority, host, KEY, now, organization="other")
    assert len(authority.leaf_templates) == 2
    for number in range(70):
        issue_leaf(authority, host, KEY, now, organization=str(number))
    assert 0 < len(authority.leaf_templates) <= 64


def test_what_is_no_leaf_is_no_model() -> None:
    """A root's own certificate has no alternative name, one with other fields is refused outright."""
    root = TestAuthority("Root")
    with pytest.raises(ValueError):
        LeafTemplate(root.certificate)
