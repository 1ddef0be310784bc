"""The files of trust: what is in them, and that Java and OpenSSL read them."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import pkcs12

from netfw.kit.trust_store import certificates_only, der_certificates, pkcs12_store
from netfw.testing.pki import TestAuthority
from netfw.x509.export import pem_bundle
from netfw.x509.reading import certificates_from_pem

ONE, TWO = TestAuthority("One"), TestAuthority("Two", key="RSA-2048")


def test_a_private_key_goes_nowhere() -> None:
    """Some keep both in one file."""
    mixed = b"# comment\r\n" + ONE.certificate_pem + ONE.key_pem + TWO.certificate_pem
    assert certificates_only(mixed) == ONE.certificate_pem + TWO.certificate_pem


def test_the_bundle_has_everything_once() -> None:
    """The CA first, and a root that the system has already is not repeated, whatever its line ends."""
    system = TWO.certificate_pem.replace(b"\n", b"\r\n") + ONE.certificate_pem
    bundle = pem_bundle(certificates_from_pem(ONE.certificate_pem.rstrip()), system)
    assert certificates_from_pem(bundle) == (ONE.certificate, TWO.certificate)
    assert ssl.create_default_context(cadata=bundle.decode()).cert_store_stats()["x509_ca"] == 2


def test_the_store_is_pkcs12() -> None:
    """`cryptography` reads it with the password, finds no key, and refuses it with another one."""
    store = pkcs12_store(der_certificates(pem_bundle([ONE.certificate], TWO.certificate_pem)))
    key, certificate, others = pkcs12.load_key_and_certificates(store, b"changeit")
    assert (key, certificate) == (None, None)
    assert set(others) == {ONE.certificate, TWO.certificate}
    with pytest.raises(ValueError):
        pkcs12.load_key_and_certificates(store, b"another")


def test_java_takes_them_for_trusted(tmp_path: Path) -> None:
    """keytool lists every certificate as a trusted one; without the attribute it would list none."""
    if shutil.which("keytool") is None:
        pytest.skip("program missing: keytool")
    (tmp_path / "store").write_bytes(pkcs12_store((*der_certificates(ONE.certificate_pem + TWO.certificate_pem),)))
    done = subprocess.run(
        ["keytool", "-list", "-keystore", str(tmp_path / "store"), "-storepass", "changeit"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.count("trustedCertEntry") == 2
