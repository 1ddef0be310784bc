"""netfw.x509.profile"""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from netfw.testing.pki import DAY, TestAuthority
from netfw.x509.authority import CA_KEY_USAGE, create_root, load_authority
from netfw.x509.profile import Level, days_left, errors, examine
from netfw.x509.reading import certificates_from_pem
from netfw.x509.subordinate import create_issuing


def made(now: datetime, *extensions: tuple[x509.ExtensionType, bool]) -> x509.Certificate:
    """A root with these extensions and no others."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Odd CA")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - DAY)
        .not_valid_after(now + 400 * DAY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key, hashes.SHA256())


CONSTRAINTS = (x509.BasicConstraints(True, 0), True)
USAGE = (CA_KEY_USAGE, True)


def test_what_we_make_has_no_finding(now: datetime) -> None:
    """Neither a root nor an issuing CA below it."""
    certificate, key = create_root("Root", now, 3650)
    root = load_authority(certificate, key, now)
    assert examine(root.certificates, root.private_key, now) == ()
    lower = load_authority(*create_issuing(root, "Issuing", now, 730), now)
    assert examine(lower.certificates, lower.private_key, now) == ()
    assert days_left(lower.certificates, now) == 730


@pytest.mark.parametrize(
    ("left", "word"), [(61, None), (59, "begin to rotate"), (29, "must be with all clients"), (6, "switch to the next")]
)
def test_the_end_is_announced(left: int, word: str | None, now: datetime) -> None:
    """60, 30 and 7 days before, more urgently each time, and never as an error."""
    (certificate,) = certificates_from_pem(create_root("Root", now, left)[0])
    findings = examine([certificate], None, now)
    assert errors(findings) == ()
    assert [finding.level for finding in findings] == ([Level.WARNING] if word else [])
    assert word is None or word in findings[0].text


def test_what_is_expired_is_an_error(now: datetime) -> None:
    """And so is what is not valid yet."""
    (certificate,) = certificates_from_pem(create_root("Root", now, 10)[0])
    assert "expired on" in errors(examine([certificate], None, now + 11 * DAY))[0]
    assert "is not valid before" in errors(examine([certificate], None, now - DAY))[0]
    assert days_left([certificate], now + 11 * DAY) == -1


@pytest.mark.parametrize(
    ("extensions", "word"),
    [
        ([USAGE], "no basicConstraints"),
        ([(x509.BasicConstraints(False, None), True), USAGE], "CA:FALSE"),
        ([(x509.BasicConstraints(True, 0), False), USAGE], "not critical"),
        ([CONSTRAINTS], "no keyUsage"),
        ([CONSTRAINTS, (CA_KEY_USAGE, False)], "keyUsage that is not critical"),
        ([CONSTRAINTS, USAGE, (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)], "serverAuth"),
        (
            [CONSTRAINTS, USAGE, (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)],
            "critical extension 1.2.3.4",
        ),
    ],
)
def test_what_strict_clients_refuse_is_an_error(
    extensions: list[tuple[x509.ExtensionType, bool]], word: str, now: datetime
) -> None:
    """One error, which names it."""
    (found,) = errors(examine([made(now, *extensions)], None, now))
    assert word in found
    assert "Odd CA" in found


def test_without_an_identifier_strict_clients_refuse(now: datetime) -> None:
    """RFC 5280, 4.2.1.2: a CA must have one."""
    bad = TestAuthority(identifier=False)
    assert any("subjectKeyIdentifier" in text for text in errors(examine([bad.certificate], bad.key, now)))


def test_a_path_length_that_is_too_short_is_found(now: datetime) -> None:
    """A root that allows no CA below it, with one below it."""
    root = TestAuthority("Root", path_length=0)
    lower = root.subordinate("Lower")
    (found,) = errors(examine([lower.certificate, root.certificate], lower.key, now))
    assert "allows 0 CAs below it (path length), and there are 1" in found
    enough = TestAuthority("Root", path_length=1)
    assert errors(examine([enough.subordinate().certificate, enough.certificate], None, now)) == ()


def test_the_wrong_order_and_the_wrong_key_are_found(now: datetime) -> None:
    """Root first: not signed by what follows, and not the key's."""
    root = TestAuthority("Root")
    lower = root.subordinate("Lower")
    found = errors(examine([root.certificate, lower.certificate], lower.key, now))
    assert any("put the issuing one first" in text for text in found)
    assert any("does not belong" in text for text in found)


def test_a_short_rsa_key_is_an_error_and_an_ed25519_key_a_warning(now: datetime) -> None:
    """Browsers do not take the latter; other clients do."""
    weak = TestAuthority(key="RSA-1024")
    assert any("1024 bits" in text for text in errors(examine([weak.certificate], weak.key, now)))
    odd = TestAuthority(key="Ed25519", not_after=now + 400 * DAY)
    findings = examine([odd.certificate], odd.key, now)
    assert errors(findings) == ()
    assert "Ed25519" in findings[0].text


def test_name_constraints_are_told(now: datetime) -> None:
    """As a warning for names, as an error for subjects that no leaf has."""
    bound = x509.NameConstraints([x509.DNSName("corp.example")], None)
    findings = examine([made(now, CONSTRAINTS, USAGE, (bound, True))], None, now)
    assert [finding.level for finding in findings] == [Level.WARNING]
    assert "only names in: corp.example" in findings[0].text
    subject = x509.NameConstraints([x509.DirectoryName(x509.Name([]))], None)
    assert any(
        "subject" in text for text in errors(examine([made(now, CONSTRAINTS, USAGE, (subject, True))], None, now))
    )


def test_a_chain_without_its_root_names_it(now: datetime) -> None:
    """That is what clients must have."""
    root = TestAuthority("Enterprise Root")
    lower = root.subordinate("Lower", not_after=now + 20 * DAY)
    findings = examine([lower.certificate], lower.key, now + timedelta(0))
    assert any(finding.level is Level.NOTE and "Enterprise Root" in finding.text for finding in findings)
