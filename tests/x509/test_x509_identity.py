"""netfw.x509.identity"""

from __future__ import annotations

import pytest
from cryptography import x509

from netfw.testing.pki import TestAuthority
from netfw.x509.identity import identity_of
from netfw.x509.reading import certificates_from_pem, fingerprint

AUTHORITY = TestAuthority()
URI = x509.UniformResourceIdentifier("spiffe://example.org/build")
MAIL = x509.RFC822Name("alice@example.org")


@pytest.mark.parametrize(
    ("names", "others", "common_name", "identity"),
    [
        ((), (), "alice", "alice"),
        (("host.example",), (), "alice", "host.example"),
        (("host.example",), (MAIL,), "alice", "alice@example.org"),
        (("host.example",), (MAIL, URI), "alice", "spiffe://example.org/build"),
        ((), (x509.UniformResourceIdentifier("x:" + "y" * 300),), "alice", "alice"),
    ],
)
def test_which_name_counts(
    names: tuple[str, ...], others: tuple[x509.GeneralName, ...], common_name: str, identity: str
) -> None:
    """URI, mail, host name, common name; one that is too long is none."""
    pem, _key = AUTHORITY.issue(*names, other_names=others, common_name=common_name)
    assert identity_of(certificates_from_pem(pem)[0]) == identity


@pytest.mark.parametrize("common_name", ["al\x1bice", "älice", None])
def test_without_a_usable_name_it_is_the_fingerprint(common_name: str | None) -> None:
    """Unmistakable, and printable."""
    pem, _key = AUTHORITY.issue(common_name=common_name)
    (certificate,) = certificates_from_pem(pem)
    assert identity_of(certificate) == f"sha256:{fingerprint(certificate)}"
