"""netfw.tls.contexts"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL

from netfw.testing.pki import TestAuthority, key_pem_of
from netfw.tls.context_files import ContextProblem
from netfw.tls.contexts import leaf_context, listener_context, upstream_context
from netfw.tls.failures import OriginVerdict

NAME = "proxy.example.com"


def served(bed: Any, context: SSL.Context) -> SSL.Connection:
    connection = SSL.Connection(context, None)
    connection.set_accept_state()
    return connection


def shake(bed: Any, context: SSL.Context, client: ssl.SSLContext, **how: Any) -> tuple[Any, Any]:
    """(start_tls's result, Python's client), turned until one of them knows."""
    stream, sock = bed.pair()
    result = bed.start(stream, served(bed, context))
    peer = bed.peer(sock, client, server=False, name=NAME, **how)
    bed.until(lambda: result)
    bed.until(lambda: peer.secured or peer.error or peer.socket_end)
    return result[0], peer


# -- for listeners


def test_a_listener_shows_its_whole_chain(bed: Any) -> None:
    """A client that knows only the root accepts a certificate of a subordinate."""
    lower = bed.authority.subordinate()
    certificate, key = lower.issue(NAME)
    context = listener_context(bed.write("c.pem", certificate), bed.write("c.key", key))
    _tls, peer = shake(bed, context, bed.client_context())
    assert peer.secured


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048"])
def test_kinds_of_keys_a_listener_may_have(bed: Any, kind: str) -> None:
    """EC and RSA, under both versions of TLS."""
    certificate, key = bed.authority.issue(NAME, key=kind)
    context = listener_context(bed.write("c.pem", certificate), bed.write("c.key", key))
    for version in ("TLSv1_2", "TLSv1_3"):
        assert shake(bed, context, bed.client_context(version))[1].secured


@pytest.mark.parametrize(
    ("certificate", "key", "expected"),
    [
        (None, "good", "c.pem: cannot be read: No such file or directory"),
        (b"", "good", "c.pem: there is no PEM certificate in it"),
        ("key", "good", "c.pem: there is no PEM certificate in it"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "good", "c.pem: cannot be used as a cert"),
        ("good", None, "c.key: cannot be read: No such file or directory"),
        ("good", b"", "c.key: there is no PEM private key in it"),
        ("good", "certificate", "c.key: there is no PEM private key in it"),
        ("good", "other", "c.key: does not belong to the certificate in"),
        ("good", "encrypted", "c.key: cannot be used as a private key: "),
        ("good", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "c.key: cannot be used as a priv"),
    ],
)
def test_files_that_cannot_be_used_are_named(bed: Any, certificate: Any, key: Any, expected: str) -> None:
    """With what is wrong with them; a password is never asked for on the terminal."""
    good_certificate, good_key = bed.authority.issue(NAME)
    content = {
        "good": good_certificate, "key": good_key, "certificate": good_certificate,
        "other": bed.authority.issue(NAME)[1], "encrypted": key_pem_of(bed.authority.key, b"secret"),
    }  # fmt: skip
    files = []
    for name, wanted in (("c.pem", certificate), ("c.key", key)):
        path = bed.directory / name
        if wanted is not None:
            path.write_bytes(good_key if (name, wanted) == ("c.key", "good") else content.get(wanted, wanted))
        files.append(path)
    with pytest.raises(ContextProblem) as caught:
        listener_context(*files)
    assert expected in str(caught.value)
    assert str(bed.directory) in str(caught.value)


def test_a_short_key_is_refused_by_name(bed: Any) -> None:
    """RSA with 1024 bits: security level 2 stops it at start, not at the first client."""
    certificate, key = bed.authority.issue(NAME, key="RSA-1024")
    with pytest.raises(ContextProblem, match="too small"):
        listener_context(bed.write("c.pem", certificate), bed.write("c.key", key))


# -- what all servers have in common


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_versions_are_refused(bed: Any, version: str) -> None:
    """TLS 1.0 and 1.1, however willing the client."""
    client = bed.client_context()
    client.minimum_version = ssl.TLSVersion[version]
    client.maximum_version = ssl.TLSVersion[version]
    client.set_ciphers("ALL:@SECLEVEL=0")
    failure, _peer = shake(bed, listener_context(*bed.listener(NAME)), client)
    assert "protocol" in failure.value.reason or failure.value.from_peer


@pytest.mark.parametrize("suite", ["ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES128-SHA", "AES128-GCM-SHA256"])
def test_only_forward_secret_authenticated_encryption(bed: Any, suite: str) -> None:
    """CBC and RSA key exchange find no shared cipher."""
    client = bed.client_context("TLSv1_2")
    client.set_ciphers(suite + ":@SECLEVEL=0")
    failure, peer = shake(bed, listener_context(*bed.listener(NAME)), client)
    assert "no shared cipher" in failure.value.reason
    assert peer.error is not None


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_clients_may_resume(bed: Any, inner: Any, version: str) -> None:
    """By ticket, with the same context."""
    context = listener_context(*bed.listener(NAME))
    client = bed.client_context(version)
    tls, peer = shake(bed, context, client)
    tls.start(inner())
    tls.write(b"x")
    bed.until(lambda: peer.received)
    _tls, second = shake(bed, context, client, session=peer.tls.session)
    assert second.tls.session_reused


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_session_of_one_host_resumes_for_no_other(bed: Any, inner: Any, leaf_for: Any, version: str) -> None:
    """Not even when a client tries: the handshake is a full one, with the other host's own certificate."""
    client = bed.client_context(version)
    client.check_hostname = False
    tls, peer = shake(bed, leaf_context(leaf_for(bed, "a.example")), client)
    tls.start(inner())
    tls.write(b"x")
    bed.until(lambda: peer.received)
    _tls, second = shake(bed, leaf_context(leaf_for(bed, "b.example")), client, session=peer.tls.session)
    assert second.secured and not second.tls.session_reused
    certificate = second.tls.getpeercert()
    assert certificate["subjectAltName"] == (("DNS", "b.example"),)


def test_a_leaf_is_served_with_its_chain(bed: Any, leaf_for: Any) -> None:
    """Of a subordinate: a client that knows the root only is content."""
    _tls, peer = shake(bed, leaf_context(leaf_for(bed, NAME, subordinate=True)), bed.client_context())
    assert peer.secured


# -- for origins


def test_an_empty_trust_store_is_refused() -> None:
    """Nobody could be verified with it."""
    with pytest.raises(ContextProblem, match="empty"):
        upstream_context([])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot be read"),
        (b"# nothing yet\n", "there is no PEM certificate in it"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be used as a trust store"),
    ],
)
def test_trust_files_that_cannot_be_used_are_named(tmp_path: Path, content: bytes | None, expected: str) -> None:
    """Also when another one is fine."""
    good, bad = tmp_path / "good.pem", tmp_path / "bad.pem"
    good.write_bytes(TestAuthority().certificate_pem)
    if content is not None:
        bad.write_bytes(content)
    with pytest.raises(ContextProblem, match=expected) as caught:
        upstream_context([good, bad])
    assert str(bad) in str(caught.value)


def test_the_systems_roots_are_the_default() -> None:
    """Building it needs no file of ours."""
    assert isinstance(upstream_context(None), SSL.Context)


def test_every_trust_file_counts(bed: Any) -> None:
    """Two authorities, two files: origins of both are believed."""
    other = TestAuthority("Other root")
    context = upstream_context([bed.root_file, bed.write("other.pem", other.certificate_pem)])
    for authority in (bed.authority, other):
        stream, sock = bed.pair()
        bed.peer(sock, bed.server_context(pem=authority.issue("o.example")), server=True)
        connection = SSL.Connection(context, None)
        connection.set_connect_state()
        bed.secured(bed.start(stream, connection))


@pytest.mark.parametrize(("suite", "accepted"), [("ECDHE-RSA-AES128-SHA256", True), ("AES128-GCM-SHA256", False)])
def test_towards_origins_only_forward_secrecy(bed: Any, suite: str, accepted: bool) -> None:
    """CBC with SHA-2 is still spoken; RSA key exchange is not."""
    server = bed.server_context(pem=bed.authority.issue("o.example", key="RSA-2048"), version="TLSv1_2")
    server.set_ciphers(suite)
    stream, sock = bed.pair()
    bed.peer(sock, server, server=True)
    connection = SSL.Connection(upstream_context([bed.root_file]), None)
    connection.set_connect_state()
    result = bed.start(stream, connection)
    if accepted:
        assert bed.secured(result).connection.get_cipher_name() == suite
    else:
        assert bed.failed(result).alert == "handshake_failure"


def test_strictness_is_a_choice(bed: Any) -> None:
    """A root without subjectKeyIdentifier and keyUsage, as private ones are: believed by default, not when strict."""
    root = TestAuthority("Old root", identifier=False, certify=None)
    trust = bed.write("old.pem", root.certificate_pem)
    for strict in (False, True):
        stream, sock = bed.pair()
        bed.peer(sock, bed.server_context(pem=root.issue("o.example")), server=True)
        connection = SSL.Connection(upstream_context([trust], strict=strict), None)
        connection.set_app_data(OriginVerdict())
        connection.set_connect_state()
        result = bed.start(stream, connection)
        if strict:
            assert bed.failed(result).certificate_problem is not None
        else:
            bed.secured(result)
