"""netfw.tls.verification"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from OpenSSL import SSL

from netfw.errors import (
    NetfwError,
    OriginCertificateInvalid,
    OriginClosed,
    OriginConnectTimeout,
    OriginTlsAlert,
    OriginTlsFailure,
)
from netfw.names.host import host_from_text
from netfw.testing.pki import CLIENT_AUTH, DAY, TestAuthority
from netfw.tls.failures import TlsHandshakeError
from netfw.tls.verification import certificate_facts, origin_error
from netfw.x509.reading import certificates_from_pem, fingerprint

NAME = "www.example.com"
VERSIONS = ["TLSv1_2", "TLSv1_3"]


def origin(bed: Any, pem: tuple[bytes, bytes], host: str = NAME, version: str | None = None) -> tuple[Any, Any]:
    """An origin with this certificate is asked for `host`: (result list, Python's server)."""
    stream, sock = bed.pair()
    peer = bed.peer(sock, bed.server_context(pem=pem, version=version), server=True)
    return bed.secure(bed.upstream(), stream, host), peer


def refused(bed: Any, pem: tuple[bytes, bytes], host: str = NAME, version: str | None = None) -> Any:
    """The error; no byte beyond the handshake reached the origin, and the connection is gone."""
    result, peer = origin(bed, pem, host, version)
    error = bed.failed(result)
    assert isinstance(error, OriginCertificateInvalid)
    assert (error.status, error.token) == (502, "tls_certificate_error")
    bed.until(lambda: peer.socket_end or peer.error)
    assert peer.received == b""
    bed.nothing_waits()
    return error


def accepted(bed: Any, pem: tuple[bytes, bytes], host: str = NAME) -> None:
    result, _peer = origin(bed, pem, host)
    bed.secured(result).abortConnection()
    bed.settle()


# -- every defect has its own word


def defects(bed: Any) -> dict[str, tuple[bytes, bytes]]:
    root = bed.authority
    stranger = TestAuthority("Stranger")
    rsa = TestAuthority("RSA root", key="RSA-2048")
    bed.write("root.pem", root.certificate_pem + rsa.certificate_pem)
    short = root.subordinate("Short key", key="RSA-1024")
    return {
        "expired": root.issue(NAME, expired=True),
        "not_yet_valid": root.issue(NAME, not_yet_valid=True),
        "self_signed": root.issue(NAME, self_signed=True),
        "wrong_host": root.issue("other.example"),
        "no_names": root.issue(common_name=NAME),
        "missing_intermediate": root.subordinate().issue(NAME, with_chain=False),
        "untrusted_root": _with(stranger.issue(NAME), stranger.certificate_pem),
        "weak_key": root.issue(NAME, key="RSA-1024"),
        "weak_key of an issuer": short.issue(NAME),
        "weak_signature": rsa.issue(NAME, sha1=True),
        "wrong_purpose": root.issue(NAME, purpose=CLIENT_AUTH),
        "invalid_authority": root.subordinate("No CA", ca=False).issue(NAME),
    }


def _with(pem: tuple[bytes, bytes], more: bytes) -> tuple[bytes, bytes]:
    return pem[0] + more, pem[1]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "problem",
    [
        "expired", "not_yet_valid", "self_signed", "wrong_host", "no_names", "missing_intermediate", "untrusted_root",
        "weak_key", "weak_key of an issuer", "weak_signature", "wrong_purpose", "invalid_authority",
    ],
)  # fmt: skip
def test_each_defect_is_refused_by_name(bed: Any, problem: str, version: str) -> None:
    """In facts and message, under both versions of TLS; nothing of a request is sent."""
    error = refused(bed, defects(bed)[problem], version=version)
    assert error.facts["problem"] == problem.partition(" ")[0]
    assert error.message.startswith(f"The certificate of {NAME} ")


def test_what_is_right_is_accepted(bed: Any) -> None:
    """By name, through a subordinate, with RSA; without an extended key usage too."""
    accepted(bed, bed.authority.issue(NAME))
    accepted(bed, bed.authority.subordinate().issue(NAME))
    accepted(bed, bed.authority.issue(NAME, key="RSA-2048"))
    accepted(bed, bed.authority.issue(NAME, purpose=None))


# -- names


@pytest.mark.parametrize(
    ("names", "host", "fits"),
    [
        (["www.example.com"], "www.example.com", True),
        (["WWW.Example.COM"], "www.example.com", True),
        (["example.com"], "www.example.com", False),
        (["www.example.com"], "example.com", False),
        (["*.example.com"], "www.example.com", True),
        (["*.example.com"], "example.com", False),
        (["*.example.com"], "a.b.example.com", False),
        (["other.example", "*.example.com"], "www.example.com", True),
        (["w*.example.com"], "www.example.com", False),
        (["*w.example.com"], "www.example.com", False),
        (["www.*.com"], "www.example.com", False),
        (["*.com"], "example.com", False),
        (["*"], "example.com", False),
        (["xn--bcher-kva.example"], "xn--bcher-kva.example", True),
        (["my_host.example"], "my_host.example", True),
        (["192.0.2.7"], "192.0.2.7", True),
        (["192.0.2.7"], "192.0.2.8", False),
        (["2001:db8::7"], "2001:db8::7", True),
        (["www.example.com"], "192.0.2.7", False),
        (["192.0.2.7"], "www.example.com", False),
        (["www.example.com", "192.0.2.7"], "192.0.2.7", True),
    ],
)
def test_which_names_fit(bed: Any, names: list[str], host: str, fits: bool) -> None:
    """RFC 9525: whole labels, one wildcard label on the left, addresses as addresses."""
    pem = bed.authority.issue(*names)
    if fits:
        accepted(bed, pem, host)
    else:
        assert refused(bed, pem, host).facts["problem"] in ("wrong_host", "unreadable")


def test_an_address_written_as_a_name_does_not_count(bed: Any) -> None:
    """dNSName "192.0.2.7" proves no address (RFC 9525, section 6.2)."""
    pem = bed.authority.issue(other_names=(x509.DNSName("192.0.2.7"),))
    assert refused(bed, pem, "192.0.2.7").facts["problem"] in ("wrong_host", "unreadable")


def test_a_common_name_never_counts(bed: Any) -> None:
    """Neither alone, nor beside names of another kind, nor for an address."""
    only_mail = bed.authority.issue(common_name=NAME, other_names=(x509.RFC822Name("a@www.example.com"),))
    assert refused(bed, only_mail).facts["problem"] == "no_names"
    only_address = bed.authority.issue("192.0.2.7", common_name=NAME)
    assert refused(bed, only_address).facts["problem"] == "wrong_host"
    address = bed.authority.issue(common_name="192.0.2.7")
    assert refused(bed, address, "192.0.2.7").facts["problem"] == "no_names"


def test_a_certificate_with_thousands_of_names_is_refused(bed: Any) -> None:
    """Reading them would stop everybody else."""
    pem = bed.authority.issue(NAME, *(f"h{number}.example" for number in range(1100)))
    assert refused(bed, pem).facts["problem"] == "unreadable"


def test_names_of_other_kinds_neither_help_nor_harm(bed: Any) -> None:
    """An odd URI beside the right name, which some libraries trip over; a URI of the right host alone."""
    accepted(bed, bed.authority.issue(NAME, other_names=(x509.UniformResourceIdentifier("urn:a:b"),)))
    only = bed.authority.issue(other_names=(x509.UniformResourceIdentifier(f"https://{NAME}/"),))
    assert refused(bed, only).facts["problem"] == "no_names"


# -- what is said


def test_facts_are_dates_fingerprint_and_canonical_names(bed: Any) -> None:
    """Names that are no host names are left out, long lists are cut, and no text of the subject is there."""
    start, end = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2021, 1, 2, tzinfo=UTC)
    pem, _key = bed.authority.issue(
        "WWW.Example.COM", "*.example.com", "a b<script>", "192.0.2.7", "x" * 64 + ".test",
        common_name="<script>", not_before=start, not_after=end,
    )  # fmt: skip
    (certificate,) = certificates_from_pem(pem)
    assert certificate_facts(certificate) == {
        "not_before": "2020-01-02T03:04:05Z",
        "not_after": "2021-01-02T00:00:00Z",
        "sha256": fingerprint(certificate),
        "names": "www.example.com, *.example.com, 192.0.2.7",
    }
    many, _key = bed.authority.issue(*(f"h{number}.example" for number in range(25)))
    names = certificate_facts(certificates_from_pem(many)[0])["names"]
    assert names.startswith("h0.example, h1.example, ") and names.endswith("h9.example, and 15 more")


def test_an_expired_certificates_dates_are_told(bed: Any) -> None:
    """With the depth at which it stands."""
    end = (datetime.now(UTC) - 3 * DAY).replace(microsecond=0)
    facts = refused(bed, bed.authority.issue(NAME, not_after=end)).facts
    assert facts["not_after"] == end.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert facts["depth"] == "0" and facts["names"] == NAME
    root = TestAuthority("Root")
    bed.write("root.pem", root.certificate_pem)
    lower = root.subordinate("Lower", not_after=end, not_before=end - timedelta(days=9))
    facts = refused(bed, lower.issue(NAME)).facts
    assert (facts["problem"], facts["depth"]) == ("expired", "1")


# -- other failures


@pytest.mark.parametrize(
    ("error", "kind", "status", "token"),
    [
        (TlsHandshakeError("x", timed_out=True), OriginConnectTimeout, 504, "connection_timeout"),
        (TlsHandshakeError("x", closed=True), OriginClosed, 502, "connection_terminated"),
        (TlsHandshakeError("x", "handshake_failure", True), OriginTlsAlert, 502, "tls_alert_received"),
        (TlsHandshakeError("x"), OriginTlsFailure, 502, "tls_protocol_error"),
        (TlsHandshakeError("x", certificate_problem="expired"), OriginCertificateInvalid, 502, "tls_certificate_error"),
    ],
)
def test_handshake_failures_have_their_place_in_the_tree(
    error: TlsHandshakeError, kind: type[NetfwError], status: int, token: str
) -> None:
    """Each with its RFC 9209 token and a sentence that names the host and no text of the origin's."""
    mapped = origin_error(error, host_from_text(NAME))
    assert type(mapped) is kind
    assert (mapped.status, mapped.token) == (status, token)
    assert NAME in mapped.message


def test_an_origin_that_speaks_no_tls(bed: Any) -> None:
    """Plain HTTP on the port: a TLS failure, not a certificate's."""
    stream, sock = bed.pair()
    result = bed.secure(bed.upstream(), stream, NAME)
    sock.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    error = bed.failed(result)
    assert type(error) is OriginTlsFailure


def test_an_origin_that_refuses_us(bed: Any) -> None:
    """Its alert is named."""
    context = bed.server_context(pem=bed.authority.issue(NAME), version="TLSv1_2")
    context.set_ciphers("AES256-SHA:@SECLEVEL=0")
    stream, sock = bed.pair()
    bed.peer(sock, context, server=True)
    error = bed.failed(bed.secure(bed.upstream(), stream, NAME))
    assert isinstance(error, OriginTlsAlert) and error.alert == "handshake_failure"


def test_a_connection_without_a_certificate_is_refused() -> None:
    """Should a handshake ever complete without one."""
    from netfw.tls.verification import verify_origin

    connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    with pytest.raises(OriginCertificateInvalid) as caught:
        verify_origin(connection, host_from_text(NAME), pins=(), now=0.0)
    assert caught.value.facts == {"problem": "missing"}
