"""netfw.tls.issuer"""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from zope.interface.verify import verifyObject

from netfw.interfaces import ICertificateIssuer
from netfw.names.host import host_from_text
from netfw.testing.deferreds import failure_of, result_of
from netfw.testing.pki import TestAuthority
from netfw.tls.issuer import LocalIssuer
from netfw.x509.authority import CertificateAuthority, load_authority
from netfw.x509.leaf import OutsideValidity

A, B = host_from_text("a.example"), host_from_text("b.example")


@pytest.fixture
def authority() -> CertificateAuthority:
    made = TestAuthority()
    return load_authority(made.certificate_pem, made.key_pem, datetime.now(UTC))


def test_it_is_an_issuer(authority: CertificateAuthority) -> None:
    """Whose Deferreds have fired."""
    issuer = LocalIssuer(authority)
    assert verifyObject(ICertificateIssuer, issuer)
    assert result_of(issuer.issue(A)).host == A


def test_one_key_for_all(authority: CertificateAuthority) -> None:
    """It is the issuer's own, neither the authority's nor another issuer's; each leaf is new."""
    issuer = LocalIssuer(authority)
    one, again, other = (result_of(issuer.issue(host)) for host in (A, A, B))
    assert one.certificate.serial_number != again.certificate.serial_number
    assert one.private_key is other.private_key
    assert one.private_key is not authority.private_key
    assert result_of(LocalIssuer(authority).issue(A)).private_key is not one.private_key


def test_a_leaf_of_later_ends_later(authority: CertificateAuthority) -> None:
    """By the clock that was given; never outside what the origin's certificate says."""
    now = [time.time()]
    issuer = LocalIssuer(authority, seconds=lambda: now[0])
    old = result_of(issuer.issue(A))
    now[0] = old.renew_at.timestamp() + 1
    new = result_of(issuer.issue(A))
    assert new.validity.ends > old.validity.ends
    assert result_of(issuer.issue(A, old.validity)).validity.ends == old.validity.ends


def test_the_subject_is_configurable(authority: CertificateAuthority) -> None:
    """Its organization."""
    leaf = result_of(LocalIssuer(authority, organization="Example Corp").issue(A))
    assert [attribute.value for attribute in leaf.certificate.subject] == ["Example Corp", "a.example"]


def test_an_expired_authority_fails_the_deferred(authority: CertificateAuthority) -> None:
    """And raises nothing at the caller."""
    issuer = LocalIssuer(authority, seconds=lambda: time.time() + 90 * 86400)
    failure_of(issuer.issue(A), OutsideValidity)
