"""netfw.x509.authority"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec

from netfw.testing.pki import DAY, TestAuthority, key_pem_of
from netfw.x509.authority import AuthorityProblem, create_root, load_authority, random_serial
from netfw.x509.reading import certificates_from_pem, not_after, not_before


def problems(certificate: bytes, key: bytes, now: datetime, password: bytes | None = None) -> tuple[str, ...]:
    with pytest.raises(AuthorityProblem) as caught:
        load_authority(certificate, key, now, password)
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


def test_a_new_root_loads_as_authority(now: datetime) -> None:
    """What create_root makes passes every check of load_authority, from its first second to its last day."""
    certificate, key = create_root("Egress CA", now, 3650)
    for moment in (now, now + timedelta(days=3649)):
        authority = load_authority(certificate, key, moment)
        assert authority.certificates == certificates_from_pem(certificate)
        assert authority.chain == ()


def test_a_new_root_says_what_strict_clients_want(now: datetime) -> None:
    """P-256, critical basicConstraints (path length 1) and keyUsage (certificates, CRLs), SKI equal to AKI."""
    (root,) = certificates_from_pem(create_root("Egress CA", now, 30)[0])
    extensions = root.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    identifier = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert constraints.critical and constraints.value == x509.BasicConstraints(True, 1)
    assert usage.critical
    assert usage.value == x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    assert extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == identifier.digest
    assert isinstance(root.public_key(), ec.EllipticCurvePublicKey)
    assert root.public_key().curve.name == "secp256r1"
    assert root.signature_hash_algorithm is not None and root.signature_hash_algorithm.name == "sha256"
    assert root.version is x509.Version.v3
    assert (not_before(root), not_after(root)) == (now - timedelta(hours=1), now + timedelta(days=30))
    assert 0 < root.serial_number < 2**127


def test_openssl_takes_a_new_root_strictly(now: datetime, tmp_path: Path, run: Callable[..., str]) -> None:
    """`openssl verify -x509_strict` accepts it as a trust anchor and as a certificate."""
    path = tmp_path / "root.pem"
    path.write_bytes(create_root("Egress CA", now, 30)[0])
    assert "OK" in run("openssl", "verify", "-x509_strict", "-check_ss_sig", "-CAfile", path, path)


def test_every_problem_is_told_at_once(now: datetime) -> None:
    """Not a CA, no keyCertSign, no SKI, expired and another's key: five problems in one error."""
    bad = TestAuthority(ca=False, certify=False, identifier=False, not_before=now - 9 * DAY, not_after=now - 2 * DAY)
    found = problems(bad.certificate_pem, TestAuthority().key_pem, now)
    assert len(found) == 5
    assert "not a CA" in found[0] and "CA:FALSE" in found[0]
    assert "keyCertSign" in found[1]
    assert "subjectKeyIdentifier" in found[2]
    assert "expired on" in found[3]
    assert "does not belong" in found[4]


def test_a_certificate_without_basic_constraints_is_no_authority(now: datetime) -> None:
    """An old version-1 style root is refused: clients do."""
    authority = TestAuthority(ca=None)
    assert problems(authority.certificate_pem, authority.key_pem, now) == (
        "the first certificate is not a CA: it has no basicConstraints",
    )


def test_without_key_usage_a_key_may_sign(now: datetime) -> None:
    """RFC 5280, 4.2.1.3: an absent keyUsage restricts nothing."""
    authority = TestAuthority(certify=None)
    load_authority(authority.certificate_pem, authority.key_pem, now)


def test_an_authority_of_tomorrow_is_refused_today(now: datetime) -> None:
    """Its date is in the message."""
    authority = TestAuthority(not_before=now + DAY)
    (found,) = problems(authority.certificate_pem, authority.key_pem, now)
    assert f"{now + DAY:%Y-%m-%d}" in found


def test_a_chain_is_issuer_first(now: datetime) -> None:
    """Subordinate then root loads, and only the subordinate is sent to clients; the other order names what is wrong."""
    root = TestAuthority("Root")
    lower = root.subordinate("Lower")
    authority = load_authority(lower.certificate_pem + root.certificate_pem, lower.key_pem, now)
    assert authority.certificate == lower.certificate
    assert authority.chain == (lower.certificate,)
    found = problems(root.certificate_pem + lower.certificate_pem, root.key_pem, now)
    assert found == ("certificate 1 is not signed by certificate 2: put the issuing one first, the root last",)


def test_a_chain_with_the_same_names_but_another_key_is_refused(now: datetime) -> None:
    """The signature counts, not the names."""
    lower = TestAuthority("Root").subordinate()
    (found,) = problems(lower.certificate_pem + TestAuthority("Root").certificate_pem, lower.key_pem, now)
    assert "not signed by" in found


def test_an_expired_intermediate_is_found_in_the_chain(now: datetime) -> None:
    """Every certificate's dates count."""
    root = TestAuthority("Root", not_before=now - 9 * DAY, not_after=now - DAY)
    lower = root.subordinate()
    (found,) = problems(lower.certificate_pem + root.certificate_pem, lower.key_pem, now)
    assert found.startswith("certificate 2 expired on")


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048", "Ed25519"])
def test_kinds_of_keys(kind: str, now: datetime) -> None:
    """EC, RSA and Ed25519 authorities load, also as a chain of two."""
    root = TestAuthority("Root", key=kind)
    lower = root.subordinate(key=kind)
    load_authority(lower.certificate_pem + root.certificate_pem, lower.key_pem, now)


def test_a_short_rsa_key_is_refused(now: datetime) -> None:
    """1024 bits: no client takes what it signs."""
    authority = TestAuthority(key="RSA-1024")
    assert problems(authority.certificate_pem, authority.key_pem, now) == (
        "the RSA key has 1024 bits; clients want 2048 or more",
    )


def test_an_encrypted_key_needs_its_password(now: datetime) -> None:
    """With it: loads. Without, with another, and with one too many: four different texts."""
    authority = TestAuthority()
    encrypted = key_pem_of(authority.key, b"secret")
    load_authority(authority.certificate_pem, encrypted, now, b"secret")
    assert problems(authority.certificate_pem, encrypted, now) == (
        "the private key is encrypted and there is no password",
    )
    assert problems(authority.certificate_pem, encrypted, now, b"other") == (
        "the private key cannot be read with this password",
    )
    assert problems(authority.certificate_pem, authority.key_pem, now, b"secret") == (
        "the private key is not encrypted, but there is a password",
    )


def test_what_is_no_pem_is_said_for_both_files(now: datetime) -> None:
    """Two empty files: two problems."""
    assert problems(b"", b"", now) == ("there is no PEM certificate", "the private key cannot be read")
    assert problems(
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", TestAuthority().key_pem, now
    ) == ("a certificate cannot be read",)


def test_a_dsa_key_cannot_sign_here(now: datetime) -> None:
    """The message says which kinds can."""
    key = key_pem_of(dsa.generate_private_key(1024))
    assert any("use EC, RSA or Ed25519" in problem for problem in problems(TestAuthority().certificate_pem, key, now))


def test_serial_numbers_are_positive_and_fit_in_sixteen_octets() -> None:
    """127 bits of the given randomness; zero, which RFC 5280 forbids, becomes one."""
    assert random_serial(lambda size: b"\xff" * size) == 2**127 - 1
    assert random_serial(lambda size: bytes(size)) == 1
