"""The only place that builds an `SSL.Context`.

In here: three kinds of context and what all of them have in common: TLS 1.2 or 1.3, no compression, no renegotiation,
security level 2, HTTP/1.1 by ALPN. Not in here: which context serves whom (`interception`, `upstream`), names
(`verification`). RFC 9325 rules versions and ciphers, RFC 7301 ALPN.

A pyOpenSSL context is frozen once a connection was made with it: everything is set here, at once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL, crypto

from netfw.tls.failures import VERIFIED, CertificateProblem, NoApplicationProtocol
from netfw.x509.leaf import Leaf

HTTP_1_1 = b"http/1.1"
# Forward secrecy and authenticated encryption only; TLS 1.3's suites are so by themselves.
SERVER_CIPHERS = b"@SECLEVEL=2:ECDHE+AESGCM:ECDHE+CHACHA20"
# Towards origins as CPython's ssl module: forward secrecy always, CBC with SHA-2 after all AEAD suites.
UPSTREAM_CIPHERS = (
    b"@SECLEVEL=2:ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:DHE+AESGCM:DHE+CHACHA20:DHE+AES"
    b":!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"
)
OPTIONS = (
    SSL.OP_NO_COMPRESSION
    | SSL.OP_NO_RENEGOTIATION  # type: ignore[attr-defined]  # the stubs lack it
    | SSL.OP_NO_SSLv2
    | SSL.OP_NO_SSLv3
)
# Longer chains are an attack on whoever verifies them; OpenSSL's own bound is 100.
VERIFY_DEPTH = 10


class ContextProblem(ValueError):
    """A file that a context is made of cannot be used; the message names it."""


def listener_context(cert_file: Path, key_file: Path) -> SSL.Context:
    """For a listener that clients reach over TLS: PEM files, the listener's own certificate first, then its chain."""
    context = _server_context()
    pem = _contents(cert_file)
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        raise ContextProblem(f"{cert_file}: there is no PEM certificate in it")
    try:
        context.use_certificate_chain_file(str(cert_file))
    except SSL.Error as error:
        raise ContextProblem(f"{cert_file}: cannot be used as a certificate chain: {_reasons(error)}") from None
    if b"PRIVATE KEY-----" not in _contents(key_file):
        raise ContextProblem(f"{key_file}: there is no PEM private key in it")
    # Without this OpenSSL would ask for a password on the terminal.
    context.set_passwd_cb(lambda *_arguments: b"")
    try:
        context.use_privatekey_file(str(key_file))
    except SSL.Error as error:
        if "mismatch" in _reasons(error):
            raise ContextProblem(f"{key_file}: does not belong to the certificate in {cert_file}") from None
        raise ContextProblem(f"{key_file}: cannot be used as a private key: {_reasons(error)}") from None
    try:
        context.check_privatekey()
    except SSL.Error:
        raise ContextProblem(f"{key_file}: does not belong to the certificate in {cert_file}") from None
    context.set_session_id(hashlib.sha256(pem).digest())
    return context


def leaf_context(leaf: Leaf) -> SSL.Context:
    """For clients inside an intercepted CONNECT to the leaf's host.

    Tickets are sealed with keys of this context alone and name its host, so a session of one host resumes for no other.
    """
    context = _server_context()
    _use_certificate(context, leaf.certificate)
    _use_private_key(context, leaf.private_key)
    for certificate in leaf.chain:
        _add_chain_certificate(context, certificate)
    context.set_session_id(hashlib.sha256(leaf.host.text.encode("ascii")).digest())
    return context


def upstream_context(trust: Sequence[Path] | None, *, strict: bool = False) -> SSL.Context:
    """For connections to origins: verified by the system's roots (None), or by those in these PEM files and no others.

    `strict` adds OpenSSL's X509_STRICT, which some public roots and many private ones do not pass.
    """
    context = _context(SSL.TLS_CLIENT_METHOD, UPSTREAM_CIPHERS)
    if trust is None:
        context.set_default_verify_paths()
    elif not trust:
        raise ContextProblem("the trust store is empty: no origin could be verified")
    for path in trust or ():
        if b"-----BEGIN CERTIFICATE-----" not in _contents(path):
            raise ContextProblem(f"{path}: there is no PEM certificate in it")
        try:
            context.load_verify_locations(str(path))
        except SSL.Error as error:
            raise ContextProblem(f"{path}: cannot be used as a trust store: {_reasons(error)}") from None
    if strict:
        context.get_cert_store().set_flags(crypto.X509StoreFlags.X509_STRICT)
    context.set_verify(SSL.VERIFY_PEER, _note_verdict)
    context.set_verify_depth(VERIFY_DEPTH)
    context.set_alpn_protos([HTTP_1_1])
    # Sessions are kept by `upstream`, under everything that authorised them.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    return context


def _context(method: int, ciphers: bytes) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(OPTIONS)
    # Idle connections give their 34 KiB of record buffers back.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_cipher_list(ciphers)
    return context


def _server_context() -> SSL.Context:
    context = _context(SSL.TLS_SERVER_METHOD, SERVER_CIPHERS)
    context.set_alpn_select_callback(_select_protocol)
    # Tickets only: OpenSSL's cache of sessions would hold up to 20,480 of them a context.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    return context


def _select_protocol(_connection: SSL.Connection, offered: Sequence[bytes]) -> bytes:
    if HTTP_1_1 in offered:
        return HTTP_1_1
    # pyOpenSSL turns an exception, and nothing else, into the fatal alert no_application_protocol.
    raise NoApplicationProtocol(offered)


def _note_verdict(connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, ok: int) -> bool:
    """OpenSSL's verdict stands. What it was stays with the connection, as its application data.

    VERIFIED: a chain was judged and found good, so this is no resumed session. A CertificateProblem: the first that was
    found, for `verification` to explain.
    """
    if ok:
        if depth == 0:
            connection.set_app_data(VERIFIED)
        return True
    if not isinstance(connection.get_app_data(), CertificateProblem):
        try:
            readable = certificate.to_cryptography()
        except ValueError:
            readable = None
        connection.set_app_data(CertificateProblem(code, depth, readable))
    return False


def _use_certificate(context: Any, certificate: x509.Certificate) -> None:
    try:
        context.use_certificate(certificate)
    except TypeError:  # pyOpenSSL before 24.3 takes its own class only
        context.use_certificate(crypto.X509.from_cryptography(certificate))


def _add_chain_certificate(context: Any, certificate: x509.Certificate) -> None:
    try:
        context.add_extra_chain_cert(certificate)
    except TypeError:  # pyOpenSSL before 24.3 takes its own class only
        context.add_extra_chain_cert(crypto.X509.from_cryptography(certificate))


def _use_private_key(context: Any, key: ec.EllipticCurvePrivateKey) -> None:
    try:
        context.use_privatekey(key)
    except TypeError:  # pyOpenSSL before 24.3 takes its own class only
        context.use_privatekey(_as_pkey(key))


@lru_cache(maxsize=8)
def _as_pkey(key: Any) -> crypto.PKey:
    # OpenSSL 3.0 takes 0.2 ms to decode a key, and all leaves of a process have the same.
    return crypto.PKey.from_cryptography_key(key)


def _contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ContextProblem(f"{path}: cannot be read: {error.strerror}") from None


def _reasons(error: SSL.Error) -> str:
    queue = error.args[0] if error.args and isinstance(error.args[0], (list, tuple)) else ()
    texts = [str(entry[-1]) for entry in queue if re.search(r"\w", str(entry[-1]))]
    return ", ".join(dict.fromkeys(texts)) or "OpenSSL gives no reason"
