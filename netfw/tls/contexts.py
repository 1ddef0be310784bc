"""The only place that builds an `SSL.Context`.

In here: three kinds of context and what all of them have in common: TLS 1.2 or 1.3, no compression, no renegotiation,
security level 2, HTTP/1.1 by ALPN. Not in here: which context serves whom (`interception`, `upstream`), names
(`verification`). RFC 9325 rules versions and ciphers, RFC 7301 ALPN.

A pyOpenSSL context is frozen once a connection was made with it: everything is set here, at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL, crypto

from netfw.tls.context_files import ContextProblem, certificates_of, load_crls, load_roots, use_files
from netfw.tls.failures import CertificateProblem, NoApplicationProtocol, OriginVerdict
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
MOST_AUTHORITIES_NAMED = 32


def listener_context(
    cert_file: Path,
    key_file: Path,
    *,
    client_ca: Path | None = None,
    client_crls: Sequence[Path] = (),
    client_required: bool = True,
) -> SSL.Context:
    """For a listener that clients reach over TLS: PEM files, the listener's own certificate first, then its chain.

    With `client_ca` clients are asked for a certificate of one of these authorities, and without one they are refused
    where it is `client_required`. Such a listener resumes no session: a certificate is judged each time.
    """
    context = _server_context()
    pem = use_files(context, cert_file, key_file)
    context.set_session_id(hashlib.sha256(pem).digest())
    if client_ca is not None:
        authorities = certificates_of(client_ca)
        load_roots(context, client_ca)
        # Named to clients, so that they choose the certificate that is wanted.
        for certificate in authorities[:MOST_AUTHORITIES_NAMED]:
            _add_client_authority(context, certificate)
        load_crls(context, client_crls)
        mode = SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if client_required else 0)
        context.set_verify(mode, verdict_on(bool(client_crls)))
        context.set_verify_depth(VERIFY_DEPTH)
        context.set_options(SSL.OP_NO_TICKET)
    return context


def leaf_context(leaf: Leaf) -> SSL.Context:
    """For clients inside an intercepted CONNECT to the leaf's host.

    Tickets are sealed with keys of this context alone and name its host, so a session of one host resumes for no other.
    """
    context = _leafless_context(leaf)
    _use_certificate(context, leaf.certificate)
    context.set_session_id(hashlib.sha256(leaf.host.text.encode("ascii")).digest())
    return context


def shared_context(leaf: Leaf) -> SSL.Context:
    """For clients of any host whose leaf has this one's key and chain: see `leaf_connection`.

    Nothing is resumed here, neither by ticket nor by session: what one host's client was given would be good for
    another's. (TLS 1.3 sends tickets all the same; they name sessions, and none is kept.)
    """
    context = _leafless_context(leaf)
    context.set_options(SSL.OP_NO_TICKET)
    return context


def leaf_connection(context: SSL.Context, leaf: Leaf) -> SSL.Connection:
    """A connection of a `shared_context` that shows this leaf."""
    connection = SSL.Connection(context, None)
    _use_certificate(connection, leaf.certificate)
    return connection


def _leafless_context(leaf: Leaf) -> SSL.Context:
    context = _server_context()
    _use_private_key(context, leaf.private_key)
    for certificate in leaf.chain:
        _add_chain_certificate(context, certificate)
    return context


def upstream_context(
    trust: Sequence[Path] | None,
    *,
    roots: Sequence[Path] = (),
    crls: Sequence[Path] = (),
    strict: bool = False,
    minimum: int = SSL.TLS1_2_VERSION,
    pinned: bool = False,
    client_certificate: tuple[Path, Path] | None = None,
) -> SSL.Context:
    """For connections to origins: verified by the system's roots (None), or by those in these PEM files and no others.

    Args:
        roots: more of them, in PEM files.
        crls: files of revocation lists. A certificate whose issuer has a list here must not be on it.
        strict: OpenSSL's X509_STRICT, which some public roots and many private ones do not pass.
        minimum: the lowest version of TLS.
        pinned: whether the chain need not lead to a root. Who asks for this compares the key: see `verification`.
        client_certificate: certificate and key to show to origins that ask, PEM files.
    """
    context = _context(SSL.TLS_CLIENT_METHOD, UPSTREAM_CIPHERS)
    context.set_min_proto_version(minimum)
    if trust is None:
        context.set_default_verify_paths()
    elif not trust:
        raise ContextProblem("the trust store is empty: no origin could be verified")
    for path in (*(trust or ()), *roots):
        load_roots(context, path)
    if strict:
        context.get_cert_store().set_flags(crypto.X509StoreFlags.X509_STRICT)
    load_crls(context, crls)
    if client_certificate is not None:
        use_files(context, *client_certificate)
    context.set_verify(SSL.VERIFY_PEER, verdict_on(bool(crls), pinned=pinned))
    context.set_verify_depth(VERIFY_DEPTH)
    context.set_alpn_protos([HTTP_1_1])
    context.set_ocsp_client_callback(_note_staple)
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


# X509_V_ERR_*: an issuer without a list here, and the ways in which a chain ends at no root that is trusted.
_NO_CRL = 3
_NO_ROOT = frozenset({2, 18, 19, 20, 21})
Verdict = Callable[[SSL.Connection, crypto.X509, int, int, int], bool]


def verdict_on(has_crls: bool, *, pinned: bool = False) -> Verdict:
    """What OpenSSL asks of each certificate. Its verdict stands, but for these two.

    An issuer without a list is none whose certificates are revoked: lists are given for some issuers, not for all. And
    a key that is pinned needs no root. What was found stays with the connection: see `failures.OriginVerdict`.
    """
    excused = (_NO_ROOT if pinned else frozenset()) | ({_NO_CRL} if has_crls else frozenset())

    def note(connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, ok: int) -> bool:
        verdict = connection.get_app_data()
        if ok:
            if depth == 0 and isinstance(verdict, OriginVerdict):
                verdict.verified = True
            return True
        if code in excused:
            return True
        if isinstance(verdict, OriginVerdict) and verdict.problem is None:
            try:
                readable = certificate.to_cryptography()
            except ValueError:
                readable = None
            verdict.problem = CertificateProblem(code, depth, readable)
        return False

    return note


def _note_staple(connection: SSL.Connection, staple: bytes, _data: object) -> bool:
    """Keep it for `verification`: by then the chain is known."""
    verdict = connection.get_app_data()
    if isinstance(verdict, OriginVerdict):
        verdict.staple = staple
    return True


def _use_certificate(shows: Any, certificate: x509.Certificate) -> None:
    """`shows`: a context or a connection."""
    try:
        shows.use_certificate(certificate)
    except TypeError:  # pyOpenSSL before 24.3 takes its own class only
        shows.use_certificate(crypto.X509.from_cryptography(certificate))


def _add_client_authority(context: Any, certificate: x509.Certificate) -> None:
    try:
        context.add_client_ca(certificate)
    except TypeError:  # pyOpenSSL before 24.3 takes its own class only
        context.add_client_ca(crypto.X509.from_cryptography(certificate))


# The chain and the key are the same for all leaves of a process. To turn them into OpenSSL's own objects takes up to a
# millisecond, and pyOpenSSL does it anew each time unless it is given objects of its own classes, which it would
# rather not be: it may refuse them one day, or warn of that.
_REFUSES_ITS_OWN = (TypeError, DeprecationWarning)


def _add_chain_certificate(context: Any, certificate: x509.Certificate) -> None:
    try:
        context.add_extra_chain_cert(_as_x509(certificate))
    except _REFUSES_ITS_OWN:
        context.add_extra_chain_cert(certificate)


def _use_private_key(context: Any, key: ec.EllipticCurvePrivateKey) -> None:
    try:
        context.use_privatekey(_as_pkey(key))
    except _REFUSES_ITS_OWN:
        context.use_privatekey(key)


@lru_cache(maxsize=16)
def _as_x509(certificate: x509.Certificate) -> crypto.X509:
    return crypto.X509.from_cryptography(certificate)


@lru_cache(maxsize=8)
def _as_pkey(key: Any) -> crypto.PKey:
    return crypto.PKey.from_cryptography_key(key)
