"""Certificates for tests: authorities, subordinates, and server certificates with every defect there is a word for.

In here: PEM bytes and objects, made afresh. Not in here: files, servers (`origins`), what the proxy itself issues
(`netfw.x509`), of which nothing is used here, so that one cannot hide the other's mistakes.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
DAY = timedelta(days=1)

_PEM = serialization.Encoding.PEM


def make_key(kind: str = "P-256") -> Any:
    """A private key: "P-256", "P-384", "Ed25519", or "RSA-" and its bits."""
    if kind.startswith("RSA-"):
        return rsa.generate_private_key(65537, int(kind[4:]))
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key({"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}[kind])


def pem_of(certificate: x509.Certificate) -> bytes:
    """The certificate as PEM."""
    return certificate.public_bytes(_PEM)


def key_pem_of(key: Any, password: bytes | None = None) -> bytes:
    """The private key as PKCS#8 PEM, encrypted when there is a password."""
    encryption: Any = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    return bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, encryption))


def _name(common_name: str | None) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])


def _usage(*, certify: bool) -> x509.KeyUsage:
    return x509.KeyUsage(not certify, False, False, False, False, certify, certify, False, False)


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)


class TestAuthority:
    """A certificate authority: a root, or a subordinate of `issuer`. The defects are for tests of `load_authority`."""

    __test__ = False  # pytest: not a test, in spite of its name

    def __init__(
        self,
        common_name: str = "Test CA",
        *,
        issuer: TestAuthority | None = None,
        key: str = "P-256",
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        ca: bool | None = True,
        path_length: int | None = None,
        certify: bool | None = True,
        identifier: bool = True,
    ) -> None:
        """`ca` and `certify` None leave basicConstraints and keyUsage out; `identifier` False does so with the SKI."""
        self.issuer = issuer
        self.key = make_key(key)
        public_key = self.key.public_key()
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(common_name))
            .issuer_name(issuer.certificate.subject if issuer is not None else _name(common_name))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before or now - DAY)
            .not_valid_after(not_after or now + 30 * DAY)
        )
        if ca is not None:
            builder = builder.add_extension(x509.BasicConstraints(ca, path_length if ca else None), critical=True)
        if certify is not None:
            builder = builder.add_extension(_usage(certify=certify), critical=True)
        if identifier:
            builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        signer = issuer.key if issuer is not None else self.key
        if issuer is not None:
            builder = builder.add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
            )
        self.certificate: x509.Certificate = builder.sign(signer, _digest(signer))

    @property
    def certificate_pem(self) -> bytes:
        """This authority's own certificate."""
        return pem_of(self.certificate)

    @property
    def key_pem(self) -> bytes:
        """Its private key, not encrypted."""
        return key_pem_of(self.key)

    @property
    def chain_pem(self) -> bytes:
        """Its certificate and those of its issuers, up to the root and without it; nothing for a root."""
        return b"" if self.issuer is None else self.certificate_pem + self.issuer.chain_pem

    def subordinate(self, common_name: str = "Subordinate CA", **how: Any) -> TestAuthority:
        """Another authority, certified by this one."""
        return TestAuthority(common_name, issuer=self, **how)

    def issue(
        self,
        *names: str,
        common_name: str | None = None,
        expired: bool = False,
        not_yet_valid: bool = False,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        key: str = "P-256",
        sha1: bool = False,
        purpose: x509.ObjectIdentifier | None = SERVER_AUTH,
        other_names: tuple[x509.GeneralName, ...] = (),
        with_chain: bool = True,
        self_signed: bool = False,
        must_staple: bool = False,
    ) -> tuple[bytes, bytes]:
        """A server certificate for these names and addresses: (certificate and chain, private key), both PEM.

        Without names there is no subjectAltName, whatever `common_name` says. `with_chain` False leaves the
        intermediate certificates out. `self_signed` has the certificate's own key sign it. `sha1` needs an authority
        with an RSA key. `must_staple`: it is to be believed with an OCSP response only.
        """
        leaf_key = make_key(key)
        public_key = leaf_key.public_key()
        now = datetime.now(UTC)
        start = not_before or (now + DAY if not_yet_valid else now - 20 * DAY)
        end = not_after or (now - DAY if expired else now + 20 * DAY)
        signer = leaf_key if self_signed else self.key
        subject = _name(common_name or (names[0] if names and len(names[0]) <= 64 else None))
        alternative = [_general_name(name) for name in names] + list(other_names)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if self_signed else self.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(_usage(certify=False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )
        if alternative:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=not subject)
        if must_staple:
            builder = builder.add_extension(x509.TLSFeature([x509.TLSFeatureType.status_request]), critical=False)
        if purpose is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        certificate = builder.sign(signer, _digest(signer))
        if sha1:
            certificate = _with_sha1(certificate, signer)
        chain = self.chain_pem if with_chain and not self_signed else b""
        return pem_of(certificate) + chain, key_pem_of(leaf_key)


def _digest(signer: Any) -> Any:
    return None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def _with_sha1(certificate: x509.Certificate, signer: rsa.RSAPrivateKey) -> x509.Certificate:
    """The same certificate signed over SHA-1, which `cryptography` makes no more. Both identifiers are equally long."""
    sha256_with_rsa, sha1_with_rsa = bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105")
    der = certificate.public_bytes(serialization.Encoding.DER).replace(sha256_with_rsa, sha1_with_rsa)
    to_be_signed = certificate.tbs_certificate_bytes.replace(sha256_with_rsa, sha1_with_rsa)
    signature = signer.sign(to_be_signed, padding.PKCS1v15(), hashes.SHA1())
    return x509.load_der_x509_certificate(der.replace(certificate.signature, signature))


def random_name() -> str:
    """A host name that no other test uses."""
    return f"h{os.urandom(6).hex()}.test"
