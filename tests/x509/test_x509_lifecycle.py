"""netfw.x509.subordinate, name_constraints, revocation, export"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from ipaddress import ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from netfw.names.host import host_from_text
from netfw.testing.pki import DAY, TestAuthority
from netfw.x509.authority import CA_KEY_USAGE, CertificateAuthority, build_ca_certificate, create_root, load_authority
from netfw.x509.export import aliases, anchors, distinct, pem_bundle
from netfw.x509.leaf import issue_leaf
from netfw.x509.name_constraints import describe, refusal
from netfw.x509.pkcs12 import trust_store
from netfw.x509.reading import certificates_from_any, certificates_from_pem, is_signed_by, not_after, path_length
from netfw.x509.revocation import (
    REASONS,
    Revoked,
    RevokedList,
    create_crl,
    key_identifier,
    revoked_ca,
    revoked_list_from_json,
)
from netfw.x509.subordinate import (
    KEY_TYPES,
    ChainProblem,
    chain_for,
    chain_pem,
    create_issuing,
    create_key,
    create_request,
)


@pytest.fixture
def root(now: datetime) -> CertificateAuthority:
    """One of ours."""
    return load_authority(*create_root("Root", now, 3650), now)


def test_an_issuing_ca_is_bound_to_leaves_and_to_its_root(root: CertificateAuthority, now: datetime) -> None:
    """Path length 0, the root's key identifier, and no day longer than the root."""
    certificate, key = create_issuing(root, "Issuing", now, 9999)
    issuing = load_authority(certificate, key, now)
    lower, upper = issuing.certificates
    assert upper == root.certificate
    assert is_signed_by(lower, upper)
    assert path_length(lower) == 0
    assert not_after(lower) == not_after(upper)
    assert issuing.chain == (lower,)


def test_openssl_takes_a_leaf_below_an_issuing_ca(
    root: CertificateAuthority, now: datetime, tmp_path: Path, run: Callable[..., str]
) -> None:
    """`openssl verify -x509_strict` with the root as the only anchor."""
    issuing = load_authority(*create_issuing(root, "Issuing", now, 30), now)
    leaf = issue_leaf(issuing, host_from_text("origin.test"), ec.generate_private_key(ec.SECP256R1()), now)
    (tmp_path / "root.pem").write_bytes(chain_pem([root.certificate]))
    (tmp_path / "chain.pem").write_bytes(chain_pem(leaf.chain))
    (tmp_path / "leaf.pem").write_bytes(chain_pem([leaf.certificate]))
    arguments = ("-x509_strict", "-purpose", "sslserver", "-verify_hostname", "origin.test", "-CAfile")
    files = (tmp_path / "root.pem", "-untrusted", tmp_path / "chain.pem", tmp_path / "leaf.pem")
    assert "OK" in run("openssl", "verify", *arguments, *files)


def test_an_encrypted_key_needs_its_password(now: datetime) -> None:
    """The key that create_root makes with one."""
    certificate, key = create_root("Root", now, 30, b"secret")
    assert b"ENCRYPTED" in key
    load_authority(certificate, key, now, b"secret")


@pytest.mark.parametrize("kind", KEY_TYPES)
def test_a_request_says_what_is_wanted(kind: str) -> None:
    """CA, path length 0, critical keyUsage, and the key's own signature."""
    request = x509.load_pem_x509_csr(create_request("Egress", "Example", create_key(kind)))
    assert request.is_signature_valid
    constraints = request.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value) == (True, x509.BasicConstraints(True, 0))
    usage = request.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical and usage.value.key_cert_sign and usage.value.crl_sign
    assert [part.value for part in request.subject] == ["Example", "Egress"]


def test_a_chain_is_found_in_any_order() -> None:
    """Issuing, intermediate, root; what does not belong there is left out."""
    top = TestAuthority("Top")
    middle = top.subordinate("Middle")
    lower = middle.subordinate("Lower")
    stranger = TestAuthority("Top")
    offered = [stranger.certificate, top.certificate, lower.certificate, middle.certificate]
    assert chain_for(lower.key, offered) == (lower.certificate, middle.certificate, top.certificate)
    with pytest.raises(ChainProblem):
        chain_for(TestAuthority().key, offered)


def test_what_cas_send_is_read(now: datetime, tmp_path: Path, run: Callable[..., str]) -> None:
    """PEM, DER, and PKCS#7 in both forms; anything else is refused."""
    root = TestAuthority("Root")
    both = (root.subordinate().certificate, root.certificate)
    assert certificates_from_any(chain_pem(both)) == both
    assert certificates_from_any(root.certificate.public_bytes(Encoding.DER)) == (root.certificate,)
    (tmp_path / "both.pem").write_bytes(chain_pem(both))
    for form in ("PEM", "DER"):
        files = ("-certfile", tmp_path / "both.pem", "-out", tmp_path / form)
        run("openssl", "crl2pkcs7", "-nocrl", "-outform", form, *files)
        assert set(certificates_from_any((tmp_path / form).read_bytes())) == set(both)
    for content in (b"", b"hello", b"\x30\x03\x02\x01\x01"):
        with pytest.raises(ValueError, match=r"neither|certificate"):
            certificates_from_any(content)


def constrained(
    permitted: list[x509.GeneralName] | None, excluded: list[x509.GeneralName] | None, now: datetime
) -> CertificateAuthority:
    """A root that may sign for some names only."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Bound")])
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - DAY).not_valid_after(now + DAY)
        .add_extension(x509.BasicConstraints(True, 0), critical=True)
        .add_extension(CA_KEY_USAGE, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.NameConstraints(permitted, excluded), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    return CertificateAuthority((certificate,), key)


NET = x509.IPAddress(ip_network("10.0.0.0/8"))


@pytest.mark.parametrize(
    ("permitted", "excluded", "host", "is_fine"),
    [
        ([x509.DNSName("corp.example")], None, "corp.example", True),
        ([x509.DNSName("corp.example")], None, "www.corp.example", True),
        ([x509.DNSName("corp.example")], None, "mycorp.example", False),
        ([x509.DNSName(".corp.example")], None, "corp.example", False),
        ([x509.DNSName(".corp.example")], None, "a.corp.example", True),
        ([x509.DNSName("corp.example")], None, "192.0.2.1", False),
        ([x509.DNSName("corp.example")], None, "2001:db8::1", True),
        ([x509.DNSName("corp.example"), NET], None, "10.0.0.1", False),
        ([NET], None, "10.1.2.3", True),
        ([NET], None, "192.0.2.1", False),
        ([NET], None, "2001:db8::1", False),
        ([NET], None, "any.example", True),
        (None, [x509.DNSName("bank.example")], "www.bank.example", False),
        (None, [x509.DNSName("bank.example")], "shop.example", True),
        (None, [x509.DNSName("")], "shop.example", False),
        (None, [NET], "10.0.0.1", False),
    ],
)
def test_name_constraints(
    permitted: list[x509.GeneralName] | None,
    excluded: list[x509.GeneralName] | None,
    host: str,
    is_fine: bool,
    now: datetime,
    tmp_path: Path,
    run: Callable[..., str],
) -> None:
    """RFC 5280, 4.2.1.10: a kind that is not named is not bound. OpenSSL says the same of a leaf for the host.

    But a bound on DNS names holds for IPv4 addresses too: OpenSSL reads the leaf's common name as one.
    """
    authority = constrained(permitted, excluded, now)
    assert (refusal(authority.certificates, host_from_text(host)) is None) is is_fine
    constraints = authority.certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    assert describe(constraints)
    leaf = issue_leaf(authority, host_from_text(host), ec.generate_private_key(ec.SECP256R1()), now)
    (tmp_path / "ca.pem").write_bytes(chain_pem(authority.certificates))
    (tmp_path / "leaf.pem").write_bytes(chain_pem([leaf.certificate]))
    arguments = ("openssl", "verify", "-x509_strict", "-CAfile", tmp_path / "ca.pem", tmp_path / "leaf.pem")
    if is_fine:
        run(*arguments)
        return
    with pytest.raises(AssertionError, match="subtree violation"):
        run(*arguments)


MOMENTS = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(None)).map(
    lambda moment: moment.astimezone()
)
ENTRIES = st.builds(
    Revoked,
    serial=st.integers(1, 2**159 - 1),
    issuer=st.sampled_from(["aa", "bb"]),
    date=MOMENTS,
    reason=st.sampled_from(list(REASONS)),
    name=st.text(),
    fingerprint=st.none() | st.just("00"),
    until=st.none() | MOMENTS,
    is_root=st.booleans(),
)


@given(st.lists(ENTRIES, max_size=4), st.integers(0, 2**63))
def test_the_list_reads_what_it_wrote(entries: list[Revoked], number: int) -> None:
    """Whatever is in it."""
    revoked = RevokedList(number)
    for entry in entries:
        revoked = revoked.with_entry(entry)
    assert revoked_list_from_json(revoked.to_json()) == revoked


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"crl_number": 1, "revoked": [{}]}', '{"crl_number":0,"revoked":7}'])
def test_what_is_no_list_is_refused(text: str) -> None:
    """A ValueError, whatever is wrong."""
    with pytest.raises(ValueError, match=r"."):
        revoked_list_from_json(text)


def test_a_root_is_on_no_crl(root: CertificateAuthority, now: datetime) -> None:
    """It is on the list, so that it is exported no more."""
    revoked = RevokedList().with_entry(revoked_ca(root.certificate, now, "ca-compromise"))
    assert revoked.has_certificate(root.certificate)
    assert revoked.of(key_identifier(root)) == ()


def test_openssl_refuses_what_a_crl_holds(
    root: CertificateAuthority, now: datetime, tmp_path: Path, run: Callable[..., str]
) -> None:
    """A revoked issuing CA fails `openssl verify -crl_check_all`; another passes; the number is there."""
    gone = load_authority(*create_issuing(root, "Gone", now, 30), now).certificate
    here = load_authority(*create_issuing(root, "Here", now, 30), now).certificate
    crl = create_crl(root, [revoked_ca(gone, now, "ca-compromise")], 41, now, 7)
    assert crl.is_signature_valid(root.certificate.public_key())
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 41
    (tmp_path / "root.pem").write_bytes(chain_pem([root.certificate]))
    (tmp_path / "crl.pem").write_bytes(crl.public_bytes(Encoding.PEM))
    (tmp_path / "gone.pem").write_bytes(chain_pem([gone]))
    (tmp_path / "here.pem").write_bytes(chain_pem([here]))
    arguments = ("openssl", "verify", "-x509_strict", "-crl_check", "-CRLfile", tmp_path / "crl.pem")
    assert "OK" in run(*arguments, "-CAfile", tmp_path / "root.pem", tmp_path / "here.pem")
    with pytest.raises(AssertionError, match="certificate revoked"):
        run(*arguments, "-CAfile", tmp_path / "root.pem", tmp_path / "gone.pem")


def test_the_anchor_of_a_chain_is_its_root() -> None:
    """Or what is highest, where the root is left out."""
    root = TestAuthority("Root")
    lower = root.subordinate()
    assert anchors([lower.certificate, root.certificate]) == (root.certificate,)
    assert anchors([lower.certificate]) == (lower.certificate,)
    assert distinct([root.certificate, lower.certificate, root.certificate]) == (root.certificate, lower.certificate)


def test_a_bundle_holds_each_certificate_once() -> None:
    """Ours first, then the system's."""
    one, two = TestAuthority("One"), TestAuthority("Two")
    bundle = pem_bundle([one.certificate], two.certificate_pem + one.certificate_pem)
    assert certificates_from_pem(bundle) == (one.certificate, two.certificate)
    assert bundle.startswith(b"# One\n")


def test_a_pkcs12_store_holds_certificates_and_no_key() -> None:
    """Under names that tell them apart."""
    one, two = TestAuthority("Same"), TestAuthority("Same")
    both = [one.certificate, two.certificate]
    ders = [certificate.public_bytes(Encoding.DER) for certificate in both]
    store = pkcs12.load_pkcs12(trust_store(ders, aliases(both), "changeit"), b"changeit")
    assert store.key is None
    assert {entry.certificate for entry in store.additional_certs} == {one.certificate, two.certificate}
    assert len({entry.friendly_name for entry in store.additional_certs}) == 2


def test_a_ca_below_another_keeps_its_given_dates(root: CertificateAuthority, now: datetime) -> None:
    """build_ca_certificate adds nothing to what it is told."""
    key = create_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Lower")])
    made = build_ca_certificate(name, key, issuer=root, start=now, end=now + DAY, path_length=0)
    assert (made.issuer, not_after(made)) == (root.certificate.subject, now + DAY)
