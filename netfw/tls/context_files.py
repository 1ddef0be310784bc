"""The files that contexts are made of: certificates, keys, roots and revocation lists.

In here: reading them, and putting them into an `SSL.Context`, with an error that names the file. Not in here: what else
a context allows (`contexts`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto

from netfw.x509.reading import certificates_from_pem

PEM_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
PEM_CRL = re.compile(b"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)


class ContextProblem(ValueError):
    """A file that a context is made of cannot be used; the message names it."""


def use_files(context: SSL.Context, cert_file: Path, key_file: Path) -> bytes:
    """Let the context show this certificate with its chain; the file's content. Raises ContextProblem."""
    pem = contents(cert_file)
    if PEM_CERTIFICATE not in pem:
        raise ContextProblem(f"{cert_file}: there is no PEM certificate in it")
    try:
        context.use_certificate_chain_file(str(cert_file))
    except SSL.Error as error:
        raise ContextProblem(f"{cert_file}: cannot be used as a certificate chain: {_reasons(error)}") from None
    if b"PRIVATE KEY-----" not in contents(key_file):
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
    return pem


def load_roots(context: SSL.Context, path: Path) -> None:
    """Trust the certificates in this PEM file. Raises ContextProblem."""
    if PEM_CERTIFICATE not in contents(path):
        raise ContextProblem(f"{path}: there is no PEM certificate in it")
    try:
        context.load_verify_locations(str(path))
    except SSL.Error as error:
        raise ContextProblem(f"{path}: cannot be used as a trust store: {_reasons(error)}") from None


def load_crls(context: SSL.Context, paths: Sequence[Path]) -> None:
    """Let OpenSSL hold chains against the lists in these files, PEM or DER. Raises ContextProblem."""
    store: Any = context.get_cert_store()
    for path in paths:
        for crl in crls_of(path):
            try:
                store.add_crl(crl)
            except (AttributeError, TypeError):  # pyOpenSSL before 24.3 takes its own class only
                der = crl.public_bytes(serialization.Encoding.DER)
                store.add_crl(crypto.load_crl(crypto.FILETYPE_ASN1, der))  # type: ignore[attr-defined]  # then
    if paths:
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL)


def crls_of(path: Path) -> tuple[x509.CertificateRevocationList, ...]:
    """The lists in a file. Raises ContextProblem, also when there is none."""
    content = contents(path)
    try:
        blocks = PEM_CRL.findall(content)
        if blocks:
            return tuple(x509.load_pem_x509_crl(block + b"\n") for block in blocks)
        return (x509.load_der_x509_crl(content),)
    except ValueError:
        raise ContextProblem(f"{path}: is not a CRL, PEM or DER") from None


def certificates_of(path: Path) -> tuple[x509.Certificate, ...]:
    """The certificates in a PEM file. Raises ContextProblem, also when there is none."""
    try:
        found = certificates_from_pem(contents(path))
    except ValueError:
        raise ContextProblem(f"{path}: a certificate in it cannot be read") from None
    if not found:
        raise ContextProblem(f"{path}: there is no PEM certificate in it")
    return found


def contents(path: Path) -> bytes:
    """A file's content. Raises ContextProblem."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ContextProblem(f"{path}: cannot be read: {error.strerror}") from None


def _reasons(error: SSL.Error) -> str:
    queue = error.args[0] if error.args and isinstance(error.args[0], (list, tuple)) else ()
    texts = [str(entry[-1]) for entry in queue if re.search(r"\w", str(entry[-1]))]
    return ", ".join(dict.fromkeys(texts)) or "OpenSSL gives no reason"
