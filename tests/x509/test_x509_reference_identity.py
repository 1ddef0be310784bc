"""netfw.x509.reference_identity"""

from __future__ import annotations

from functools import cache
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import crypto
from service_identity.pyopenssl import verify_hostname

from netfw.names.host import host_from_text
from netfw.testing.pki import TestAuthority
from netfw.x509.reading import certificates_from_pem
from netfw.x509.reference_identity import is_certified

LABELS = st.sampled_from(["a", "b", "www", "xn--bcher-kva", "*", "w*", "A", "my-host", "com"])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
HOSTS = st.lists(st.sampled_from(["a", "b", "www", "xn--bcher-kva", "com"]), min_size=1, max_size=4).map(".".join)


@cache
def authority() -> TestAuthority:
    """One for all."""
    return TestAuthority()


@cache
def shown(name: str) -> Any:
    """A certificate for this name alone."""
    pem, _key = authority().issue(other_names=(x509.DNSName(name),))
    return crypto.X509.from_cryptography(certificates_from_pem(pem)[0])


class Connection:
    """As much of a connection as service-identity looks at."""

    def __init__(self, name: str) -> None:
        self._name = name

    def get_peer_certificate(self) -> Any:
        """What the peer has shown."""
        return shown(self._name)


def by_service_identity(name: str, host: str) -> bool:
    """The oracle, over a real certificate; a name that it refuses to read certifies nothing."""
    connection: Any = Connection(name)
    try:
        verify_hostname(connection, host)
    except Exception:
        return False
    return True


@given(name=NAMES, host=HOSTS)
def test_service_identity_says_the_same(name: str, host: str) -> None:
    """For names, wildcards, and wildcards where none may be."""
    assert is_certified(host_from_text(host), [name], []) == by_service_identity(name, host)


@pytest.mark.parametrize(
    ("names", "host", "fits"),
    [
        (["*.example.com"], "a.example.com", True),
        (["*.example.com"], "example.com", False),
        (["*.example.com"], "a.b.example.com", False),
        (["*.com"], "example.com", False),
        (["*"], "com", False),
        ([""], "com", False),
        (["*."], "com", False),
        (["example.com."], "example.com", False),
        (["\u212aelvin.example"], "kelvin.example", False),
        (["192.0.2.7"], "192.0.2.7", False),
        (["EXAMPLE.com"], "example.com", True),
        (["other.example", "example.com"], "example.com", True),
        ([], "example.com", False),
    ],
)
def test_names(names: list[str], host: str, fits: bool) -> None:
    """RFC 9525, sections 6.1 to 6.3."""
    assert is_certified(host_from_text(host), names, []) is fits


def test_addresses() -> None:
    """Octet for octet, and never by way of a name."""
    host = host_from_text("192.0.2.7")
    assert is_certified(host, [], [ip_address("192.0.2.8"), ip_address("192.0.2.7")])
    assert not is_certified(host, [], [ip_address("::ffff:192.0.2.7")])
    assert not is_certified(host_from_text("example.com"), [], [ip_address("192.0.2.7")])
