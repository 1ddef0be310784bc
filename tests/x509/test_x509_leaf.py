"""netfw.x509.leaf"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from netfw.names.host import Host, host_from_text
from netfw.testing.pki import DAY, TestAuthority, pem_of
from netfw.x509.authority import CertificateAuthority, create_root, load_authority
from netfw.x509.leaf import Leaf, OutsideValidity, issue_leaf, renewal
from netfw.x509.reading import Validity, is_signed_by, not_after, not_before, validity

KEY = ec.generate_private_key(ec.SECP256R1())
LONG = "a" * 63 + ".example.com"
HOSTS = ["www.example.com", "192.0.2.7", "2001:db8::7", "xn--bcher-kva.example", "my_host.example", LONG]


def authority_of(now: datetime, **how: object) -> CertificateAuthority:
    authority = TestAuthority(**how)  # type: ignore[arg-type]  # passed on
    return load_authority(authority.certificate_pem, authority.key_pem, now)


def leaf_for(text: str, now: datetime, **how: object) -> Leaf:
    return issue_leaf(authority_of(now), host_from_text(text), KEY, now, **how)  # type: ignore[arg-type]  # passed on


def extension(leaf: Leaf, kind: type[x509.ExtensionType]) -> x509.Extension[x509.ExtensionType]:
    return leaf.certificate.extensions.get_extension_for_class(kind)


def test_a_leaf_says_what_rule_14_wants(now: datetime) -> None:
    """v3, CA:FALSE and digitalSignature both critical, serverAuth, SHA-256, a positive serial of at most 127 bits."""
    leaf = leaf_for("www.example.com", now)
    certificate = leaf.certificate
    assert certificate.version is x509.Version.v3
    assert certificate.signature_hash_algorithm is not None
    assert certificate.signature_hash_algorithm.name == "sha256"
    assert 0 < certificate.serial_number < 2**127
    constraints, usage = extension(leaf, x509.BasicConstraints), extension(leaf, x509.KeyUsage)
    assert constraints.critical and constraints.value == x509.BasicConstraints(False, None)
    assert usage.critical
    assert usage.value == x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    assert extension(leaf, x509.ExtendedKeyUsage).value == x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    assert len(list(certificate.extensions)) == 6


def test_key_identifiers(now: datetime) -> None:
    """AKI is the authority's own SKI, whatever made that; SKI is the leaf key's and never the authority's."""
    authority = authority_of(now)
    leaf = issue_leaf(authority, host_from_text("www.example.com"), KEY, now)
    own = leaf.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    upper = leaf.certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert upper.key_identifier == authority.subject_key_identifier.digest
    assert upper.authority_cert_issuer is None and upper.authority_cert_serial_number is None
    assert own == x509.SubjectKeyIdentifier.from_public_key(KEY.public_key())
    assert own != authority.subject_key_identifier


def test_the_leafs_key_is_not_the_authoritys(now: datetime) -> None:
    """It is the key that was given, and its certificate is signed by the authority."""
    authority = authority_of(now)
    leaf = issue_leaf(authority, host_from_text("www.example.com"), KEY, now)
    assert leaf.private_key is KEY
    assert leaf.certificate.public_key() == KEY.public_key() or (
        leaf.certificate.public_key().public_numbers() == KEY.public_key().public_numbers()  # type: ignore[union-attr]
    )
    assert is_signed_by(leaf.certificate, authority.certificate)


@pytest.mark.parametrize("text", HOSTS)
def test_the_host_is_the_only_alternative_name(text: str, now: datetime) -> None:
    """A dNSName for a name, an iPAddress for an address, and nothing else."""
    leaf = leaf_for(text, now)
    host = leaf.host
    expected = x509.DNSName(host.text) if host.address is None else x509.IPAddress(host.address)
    assert extension(leaf, x509.SubjectAlternativeName).value == x509.SubjectAlternativeName([expected])


@pytest.mark.parametrize(
    ("text", "organization", "expected", "critical"),
    [
        ("www.example.com", "netfw", ["netfw", "www.example.com"], False),
        ("www.example.com", "", ["www.example.com"], False),
        (LONG, "netfw", ["netfw"], False),
        (LONG, "", [], True),
        ("a" * 52 + ".example.com", "", ["a" * 52 + ".example.com"], False),
    ],
)
def test_subjects(text: str, organization: str, expected: list[str], critical: bool, now: datetime) -> None:
    """The common name is there up to 64 characters; without a subject the alternative name is critical (RFC 5280)."""
    leaf = leaf_for(text, now, organization=organization)
    assert [attribute.value for attribute in leaf.certificate.subject] == expected
    assert extension(leaf, x509.SubjectAlternativeName).critical is critical


def test_validity_is_an_hour_ago_to_three_days(now: datetime) -> None:
    """And renewal is due in the middle of what is left."""
    leaf = leaf_for("www.example.com", now)
    assert not_before(leaf.certificate) == now - timedelta(hours=1)
    assert not_after(leaf.certificate) == leaf.validity.ends == now + timedelta(days=3)
    assert leaf.renew_at == now + timedelta(hours=36)


def test_validity_stays_within_the_authoritys(now: datetime) -> None:
    """A young authority and one about to end clamp both dates."""
    start, end = now - timedelta(minutes=5), now + timedelta(hours=5)
    leaf = issue_leaf(authority_of(now, not_before=start, not_after=end), host_from_text("www.example.com"), KEY, now)
    assert (not_before(leaf.certificate), not_after(leaf.certificate)) == (start, end)
    assert leaf.renew_at == now + timedelta(hours=2, minutes=30)


def test_validity_stays_within_every_certificate_of_the_chain(now: datetime) -> None:
    """A root that ends before its subordinate ends the leaf."""
    root = TestAuthority("Root", not_after=now + DAY)
    lower = root.subordinate()
    authority = load_authority(lower.certificate_pem + root.certificate_pem, lower.key_pem, now)
    assert issue_leaf(authority, host_from_text("www.example.com"), KEY, now).validity.ends == now + DAY


def test_validity_mirrors_the_origins_certificate(now: datetime) -> None:
    """Both dates, where they are narrower than ours; whoever would refuse that one now refuses this one."""
    authority, host = authority_of(now), host_from_text("www.example.com")
    for begins, ends in ((now - DAY, now + DAY), (now - timedelta(minutes=2), now + 90 * DAY)):
        leaf = issue_leaf(authority, host, KEY, now, within=Validity(begins, ends))
        start, end = max(begins, now - timedelta(hours=1)), min(ends, now + timedelta(days=3))
        assert validity(leaf.certificate) == leaf.validity == Validity(start, end)
    for outside in (Validity(now - DAY, now), Validity(now + timedelta(seconds=1), now + DAY)):
        with pytest.raises(OutsideValidity, match="the origin's certificate is valid from"):
            issue_leaf(authority, host, KEY, now, within=outside)


@given(seconds=st.integers(1, 3 * 86400))
def test_renewing_a_leaf_that_cannot_live_longer_ends(seconds: int) -> None:
    """It comes to a dozen times or so until the end, never to one for each that asks."""
    moment, ends = MOMENT, MOMENT + timedelta(seconds=seconds)
    times = 0
    while moment < ends:
        due = renewal(moment, ends)
        assert moment < due <= ends
        assert due == ends or due - moment >= timedelta(minutes=1)
        moment, times = due, times + 1
    assert times <= 14


def test_an_expired_authority_issues_nothing(now: datetime) -> None:
    """Neither after its end nor before its beginning."""
    authority = authority_of(now)
    for moment in (now + 40 * DAY, now - 5 * DAY):
        with pytest.raises(OutsideValidity):
            issue_leaf(authority, host_from_text("www.example.com"), KEY, moment)


def test_serial_numbers_come_from_the_given_randomness(now: datetime) -> None:
    """And differ when that does."""
    assert leaf_for("www.example.com", now, random_bytes=lambda size: b"\x02" * size).certificate.serial_number == (
        int.from_bytes(b"\x02" * 16, "big") >> 1
    )
    assert leaf_for("a.test", now).certificate.serial_number != leaf_for("a.test", now).certificate.serial_number


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048", "Ed25519"])
@pytest.mark.parametrize("text", ["www.example.com", "192.0.2.7", "2001:db8::7", LONG])
def test_openssl_takes_a_leaf_strictly(
    kind: str, text: str, now: datetime, tmp_path: Path, run: Callable[..., str]
) -> None:
    """With -x509_strict, as a TLS server, for the host, by authorities with every kind of key."""
    authority = authority_of(now, key=kind)
    leaf = issue_leaf(authority, host_from_text(text), KEY, now)
    (tmp_path / "root.pem").write_bytes(pem_of(authority.certificate))
    (tmp_path / "leaf.pem").write_bytes(pem_of(leaf.certificate))
    check = ("-verify_hostname", text) if leaf.host.address is None else ("-verify_ip", text)
    run(
        "openssl", "verify", "-x509_strict", "-auth_level", "2", "-purpose", "sslserver", *check,
        "-CAfile", tmp_path / "root.pem", tmp_path / "leaf.pem",
    )  # fmt: skip


@pytest.mark.parametrize("text", ["www.example.com", LONG])
def test_openssl_takes_a_leaf_of_our_own_root(
    text: str, now: datetime, tmp_path: Path, run: Callable[..., str]
) -> None:
    """What `create_root` makes may sign, and a leaf with an empty subject is fine too."""
    certificate, key = create_root("Egress CA", now, 30)
    leaf = issue_leaf(load_authority(certificate, key, now), host_from_text(text), KEY, now, organization="")
    (tmp_path / "root.pem").write_bytes(certificate)
    (tmp_path / "leaf.pem").write_bytes(pem_of(leaf.certificate))
    run(
        "openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", text,
        "-CAfile", tmp_path / "root.pem", tmp_path / "leaf.pem",
    )  # fmt: skip


@pytest.mark.parametrize("text", ["www.example.com", "192.0.2.7"])
def test_gnutls_takes_a_leaf_through_a_subordinate(
    text: str, now: datetime, tmp_path: Path, run: Callable[..., str]
) -> None:
    """certtool verifies leaf, subordinate and root as a chain, for the host and for servers."""
    root = TestAuthority("Root")
    lower = root.subordinate()
    authority = load_authority(lower.certificate_pem + root.certificate_pem, lower.key_pem, now)
    leaf = issue_leaf(authority, host_from_text(text), KEY, now)
    (tmp_path / "root.pem").write_bytes(root.certificate_pem)
    (tmp_path / "chain.pem").write_bytes(b"".join(map(pem_of, (leaf.certificate, *leaf.chain))))
    said = run(
        "certtool", "--verify", "--verify-profile", "high", "--verify-hostname", text,
        "--verify-purpose", "1.3.6.1.5.5.7.3.1", "--load-ca-certificate", tmp_path / "root.pem",
        "--infile", tmp_path / "chain.pem",
    )  # fmt: skip
    assert "Verified. The certificate is trusted." in said


LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@given(labels=st.lists(LABEL, min_size=1, max_size=8))
def test_any_host_name_gets_a_certificate(labels: list[str]) -> None:
    """Names of every length get a leaf that names them and nothing else."""
    text = ".".join([*labels, "test"])
    moment = datetime.fromisoformat("2030-01-01T00:00:00+00:00")
    leaf = issue_leaf(PROPERTY_AUTHORITY, Host(text, None), KEY, moment)
    (name,) = leaf.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert name == x509.DNSName(text)
    common = leaf.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert [attribute.value for attribute in common] == ([text] if len(text) <= 64 else [])


MOMENT = datetime.fromisoformat("2030-01-01T00:00:00+00:00")
PROPERTY_AUTHORITY = load_authority(*create_root("Egress CA", MOMENT, 30), MOMENT)
