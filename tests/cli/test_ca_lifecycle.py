"""`netfw ca` from the first CA to the last: rotate, replace, revoke, crl, export, csr, import, check."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from netfw.cli.main import netfw
from netfw.names.host import host_from_text
from netfw.testing.pki import TestAuthority
from netfw.x509.authority import load_authority
from netfw.x509.leaf import issue_leaf
from netfw.x509.reading import certificates_from_pem, fingerprint

ROOT = Path(__file__).parents[2]


class Ca:
    """The verbs, on a configuration of its own."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.directory = config.parent / "ca"
        self.pem, self.key = self.directory / "ca.pem", self.directory / "ca.key"

    def run(self, verb: str, *arguments: object, status: int = 0) -> Result:
        """One verb; its exit status is checked."""
        result = CliRunner().invoke(netfw, ["ca", verb, "--config", str(self.config), *map(str, arguments)])
        assert result.exit_code == status, result.output
        return result

    def data(self, verb: str, *arguments: object, status: int = 0) -> Any:
        """What it says with --json."""
        return json.loads(self.run(verb, *arguments, "--json", status=status).stdout)

    def file(self, name: str) -> Path:
        """One beside the CA."""
        return self.directory / name

    def first(self, name: str = "ca.pem") -> x509.Certificate:
        """The first certificate of a file."""
        return certificates_from_pem(self.file(name).read_bytes())[0]

    def leaf(self) -> x509.Certificate:
        """Signed by the current CA."""
        authority = load_authority(self.pem.read_bytes(), self.key.read_bytes(), datetime.now(UTC))
        key = ec.generate_private_key(ec.SECP256R1())
        return issue_leaf(authority, host_from_text("origin.test"), key, datetime.now(UTC)).certificate


@pytest.fixture
def ca(config: Path) -> Ca:
    """With a CA."""
    made = Ca(config)
    made.run("init")
    return made


@pytest.fixture
def issuing(config: Path) -> Ca:
    """With a root and an issuing CA."""
    made = Ca(config)
    made.run("init", "--issuing", "--name", "Egress")
    return made


@pytest.fixture
def tool() -> Callable[..., str]:
    """`tool(program, *arguments, status=0)`: what it prints; skips when it is missing."""

    def run(program: str, *arguments: object, status: int = 0) -> str:
        if shutil.which(program) is None:
            pytest.skip(f"program missing: {program}")
        done = subprocess.run(
            [program, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def mode(path: Path) -> int:
    """Its permissions."""
    return stat.S_IMODE(path.stat().st_mode)


# init


def test_init_issuing_makes_a_root_and_a_ca_below_it(issuing: Ca, tool: Callable[..., str]) -> None:
    """The chain is issuing first, the root is a file of its own, both keys are their owner's; OpenSSL agrees."""
    lower, upper = certificates_from_pem(issuing.pem.read_bytes())
    assert upper == issuing.first("ca.root.pem")
    assert lower.issuer == upper.subject
    assert mode(issuing.key) == mode(issuing.file("ca.root.key")) == 0o600
    assert issuing.data("show")["chain"] == ["Egress issuing", "Egress"]
    assert issuing.data("show")["path length"] == 0
    (note,) = issuing.data("check")["findings"]
    assert (note["level"], "ca.root.key is on this machine" in note["text"]) == ("note", True)
    assert "OK" in tool("openssl", "verify", "-x509_strict", "-CAfile", issuing.file("ca.root.pem"), issuing.pem)
    verify = ("--verify", "--load-ca-certificate", issuing.file("ca.root.pem"), "--infile", issuing.pem)
    assert "Chain verification output: Verified." in tool("certtool", *verify)
    assert CliRunner().invoke(netfw, ["check", str(issuing.config)]).exit_code == 0


def test_an_encrypted_key_is_read_with_its_password(config: Path) -> None:
    """By `check`, `show` and the proxy's own check, once the configuration names the file; not without."""
    ca = Ca(config)
    password = config.parent / "password"
    password.write_text("secret\n")
    password.chmod(0o600)
    ca.run("init", "--password-file", password)
    assert b"ENCRYPTED" in ca.key.read_bytes()
    assert "there is no password" in ca.run("show", status=1).output
    config.write_text(config.read_text().replace("ca/ca.key}", "ca/ca.key, password_file: password}"))
    assert ca.data("show")["problems"] == []
    assert ca.data("check")["in_order"]
    assert CliRunner().invoke(netfw, ["check", str(config)]).exit_code == 0
    ca.run("rotate")
    assert b"ENCRYPTED" in ca.file("ca.next.key").read_bytes()
    password.chmod(0o644)
    assert "chmod 0600" in ca.run("check", status=1).output
    assert CliRunner().invoke(netfw, ["check", str(config)]).exit_code == 1


def test_init_with_a_password_file_that_is_not_there_writes_nothing(config: Path) -> None:
    """And says how to make one."""
    ca = Ca(config)
    assert "openssl rand" in ca.run("init", "--password-file", config.parent / "none", status=1).output
    assert not ca.directory.exists()


def test_a_key_in_hardware_is_refused(config: Path, tmp_path: Path) -> None:
    """By every verb and by the proxy's own check; no file gets that name."""
    config.write_text(config.read_text().replace("ca/ca.key", '"pkcs11:token=egress;object=ca"'))
    ca = Ca(config)
    for verb in ("init", "csr", "rotate", "check"):
        assert "PKCS#11" in ca.run(verb, status=1).output
    assert CliRunner().invoke(netfw, ["check", str(config)]).exit_code == 1
    assert not any(path.name.startswith("pkcs11") for path in tmp_path.rglob("*"))


# check


def test_check_finds_what_is_wrong_with_files(ca: Ca) -> None:
    """A key for the world, a directory that others may write to, a certificate that others may change."""
    ca.key.chmod(0o640)
    ca.pem.chmod(0o666)
    ca.directory.chmod(0o777)
    texts = [finding["text"] for finding in ca.data("check", status=1)["findings"]]
    assert len(texts) == 3
    assert any("private key is its owner's" in text for text in texts)
    assert any("may write to" in text and "ca.pem" in text for text in texts)


def test_check_counts_the_days(ca: Ca) -> None:
    """As a monitor asks."""
    assert ca.data("check", "--days", 30)["days_left"] == 3649
    assert not ca.data("check", "--days", 4000, status=1)["in_order"]
    ca.run("init", "--force", "--days", 20)
    (warning,) = ca.data("check")["findings"]
    assert (warning["level"], "20 days" in warning["text"] or "19 days" in warning["text"]) == ("warning", True)


def test_check_finds_anothers_key(ca: Ca) -> None:
    """Certificate and key must be a pair."""
    ca.run("rotate")
    shutil.copy(ca.file("ca.next.key"), ca.key)
    assert "does not belong" in ca.run("check", status=1).output
    assert ca.data("check", "--next")["in_order"]


def test_check_and_the_proxy_agree_about_a_password_too_many(ca: Ca) -> None:
    """The key is not encrypted, and a password file is named: the proxy does not start, so this is not in order."""
    password = ca.config.parent / "password"
    password.write_text("secret\n")
    password.chmod(0o600)
    assert "not encrypted" in ca.run("check", "--password-file", password, status=1).output


def test_check_names_a_key_that_is_gone(ca: Ca) -> None:
    """With its directory, too."""
    arguments = ("--certificate", ca.pem, "--private-key", ca.config.parent / "gone" / "ca.key")
    result = CliRunner().invoke(netfw, ["ca", "check", *map(str, arguments)])
    assert (result.exit_code, "does not exist" in result.output) == (1, True)


@pytest.mark.parametrize(("host", "status"), [("www.corp.example", 0), ("other.example", 1), ("not a host", 2)])
def test_check_says_whether_a_host_may_be_signed_for(ca: Ca, host: str, status: int, tool: Callable[..., str]) -> None:
    """By the CA's name constraints, which are told in any case."""
    config = ca.file("openssl.cnf")
    config.write_text("[req]\ndistinguished_name=n\n[n]\n")
    tool(
        "openssl", "req", "-x509", "-config", config, "-newkey", "rsa:2048", "-nodes", "-keyout", ca.key,
        "-out", ca.pem, "-days", "400", "-subj", "/CN=Bound", "-addext", "basicConstraints=critical,CA:TRUE",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-addext", "subjectKeyIdentifier=hash",
        "-addext", "nameConstraints=critical,permitted;DNS:corp.example",
    )  # fmt: skip
    output = ca.run("check", "--host", host, status=status).output
    assert status == 2 or "name constraints (only names in: corp.example)" in output


# rotate


def test_rotate_makes_the_next_and_switches_to_it(ca: Ca) -> None:
    """The current stays until the switch, then it is the previous; the bundle holds both all the time."""
    before, key = ca.first(), ca.key.read_bytes()
    assert ca.data("rotate")["clients_need_it"]
    assert ca.first() == before
    assert mode(ca.file("ca.next.key")) == 0o600
    following = ca.first("ca.next.pem")
    bundle = certificates_from_pem(ca.run("export").stdout_bytes)
    assert bundle == (before, following)
    ca.run("rotate", "--switch")
    assert ca.first() == following
    assert ca.data("check")["in_order"]
    assert (ca.first("ca.previous.pem"), ca.file("ca.previous.key").read_bytes()) == (before, key)
    assert mode(ca.key) == mode(ca.file("ca.previous.key")) == 0o600
    assert not ca.file("ca.next.pem").exists() and not ca.file("ca.next.key").exists()
    assert certificates_from_pem(ca.run("export").stdout_bytes) == (following, before)


def test_rotate_replaces_no_next_without_force(ca: Ca) -> None:
    """Clients may have it already; with --force a copy stays."""
    ca.run("rotate")
    following = ca.first("ca.next.pem")
    assert "exists already" in ca.run("rotate", status=1).output
    assert len(ca.data("rotate", "--force")["kept"]) == 2
    assert ca.first("ca.next.pem") != following


def test_a_switch_without_a_next_changes_nothing(ca: Ca) -> None:
    """It names the verb that makes one."""
    before = ca.pem.read_bytes()
    assert "netfw ca rotate" in ca.run("rotate", "--switch", status=1).output
    assert ca.pem.read_bytes() == before
    assert ca.run("rotate", "--switch", "--name", "x", status=2)


def test_a_switch_that_was_cut_off_is_ended_by_another(ca: Ca) -> None:
    """The key has come and its certificate has not: the proxy would not start, and the same command mends it."""
    ca.run("rotate")
    following = ca.first("ca.next.pem")
    ca.file("ca.next.key").replace(ca.key)
    assert ca.run("show", status=1)
    ca.run("rotate", "--switch")
    assert ca.first() == following
    assert ca.data("check")["in_order"]


def test_a_second_rotation_keeps_the_first_previous(ca: Ca) -> None:
    """Under a name with the date."""
    first = ca.first()
    for _ in range(2):
        ca.run("rotate")
        last = ca.data("rotate", "--switch")
    assert len(last["kept"]) == 2
    assert certificates_from_pem(Path(last["kept"][0]).read_bytes()) == (first,)


def test_below_a_root_clients_need_nothing_new(issuing: Ca, tool: Callable[..., str]) -> None:
    """The next one is signed by the same root; without the root's key the ways out are told."""
    assert not issuing.data("rotate")["clients_need_it"]
    issuing.run("rotate", "--switch")
    assert "OK" in tool("openssl", "verify", "-x509_strict", "-CAfile", issuing.file("ca.root.pem"), issuing.pem)
    safe = issuing.config.parent / "safe.key"
    issuing.file("ca.root.key").replace(safe)
    message = issuing.run("rotate", status=1).output
    assert all(word in message for word in ("--root-key", "csr --next", "--new-root"))
    assert not issuing.file("ca.next.key").exists()
    issuing.run("rotate", "--root-key", safe)
    assert issuing.data("check", "--next")["in_order"]


def test_another_root_signs_no_next_one(issuing: Ca) -> None:
    """A root that lies there from earlier times: clients do not trust it."""
    other = issuing.config.parent / "other"
    arguments = ("--certificate", other / "ca.pem", "--private-key", other / "ca.key")
    assert CliRunner().invoke(netfw, ["ca", "init", *map(str, arguments)]).exit_code == 0
    roots = ("--root-certificate", other / "ca.pem", "--root-key", other / "ca.key")
    assert "did not sign the current CA" in issuing.run("rotate", *roots, status=1).output
    assert "did not sign the current CA" in issuing.run("replace", "--yes", *roots, status=1).output


def test_a_new_root_comes_and_goes_with_its_issuing_ca(issuing: Ca) -> None:
    """Both are switched; clients are given both roots before."""
    old = issuing.first("ca.root.pem")
    assert issuing.data("rotate", "--new-root")["clients_need_it"]
    new = issuing.first("ca.root.next.pem")
    assert certificates_from_pem(issuing.run("export").stdout_bytes) == (old, new)
    issuing.run("rotate", "--switch")
    assert issuing.first("ca.root.pem") == new
    assert issuing.first("ca.root.previous.pem") == old
    assert issuing.data("check")["in_order"]


# replace


def test_replace_makes_another_and_revokes_all_that_lay_there(ca: Ca) -> None:
    """The current and the next: who has read one key has read the other. Nothing revoked is exported."""
    ca.run("rotate")
    old, following = ca.first(), ca.first("ca.next.pem")
    done = ca.data("replace", "--yes")
    assert ca.first() not in (old, following)
    assert ca.data("check")["in_order"]
    assert {entry["fingerprint"] for entry in done["revoked"]} == {fingerprint(old), fingerprint(following)}
    assert {entry["reason"] for entry in done["revoked"]} == {"ca-compromise"}
    assert certificates_from_pem(ca.run("export").stdout_bytes) == (ca.first(),)
    assert not ca.file("ca.next.key").exists()
    assert all(Path(path).exists() and mode(Path(path)) in (0o600, 0o644) for path in done["kept"])
    assert len(done["kept"]) == 4
    assert any("trust store" in step for step in done["steps"])


def test_replace_asks(ca: Ca) -> None:
    """No answer is no."""
    before = ca.pem.read_bytes()
    assert "Abort" in ca.run("replace", status=1).output
    assert ca.pem.read_bytes() == before
    assert not ca.file("ca.revoked.json").exists()


def test_what_was_replaced_is_not_taken_back(ca: Ca) -> None:
    """A revoked CA in the next's place is not switched to, and in the current's place it is not in order."""
    old = (ca.pem.read_bytes(), ca.key.read_bytes())
    ca.run("replace", "--yes")
    ca.file("ca.next.pem").write_bytes(old[0])
    ca.file("ca.next.key").write_bytes(old[1])
    ca.file("ca.next.key").chmod(0o600)
    assert "it is revoked" in ca.run("rotate", "--switch", status=1).output
    ca.pem.write_bytes(old[0])
    ca.key.write_bytes(old[1])
    assert "list of what is revoked" in ca.run("check", status=1).output
    assert "is revoked and is not exported" in ca.run("export", status=1).output


def test_replace_below_a_root_writes_the_roots_crl(issuing: Ca, tool: Callable[..., str]) -> None:
    """OpenSSL refuses the old issuing CA by it, and takes the new one."""
    old = issuing.config.parent / "old.pem"
    shutil.copy(issuing.pem, old)
    done = issuing.data("replace", "--yes")
    assert "--new-root" in done["steps"][0]
    check = ("openssl", "verify", "-x509_strict", "-crl_check", "-CRLfile", f"{done['crl']}.pem", "-CAfile")
    root = issuing.file("ca.root.pem")
    assert "OK" in tool(*check, root, issuing.pem)
    assert "certificate revoked" in tool(*check, root, old, status=2)
    assert certificates_from_pem(issuing.run("export").stdout_bytes) == (issuing.first("ca.root.pem"),)


def test_replace_with_a_new_root_replaces_both(issuing: Ca) -> None:
    """The root's key may have been read where the issuing one's was."""
    old = issuing.first("ca.root.pem")
    done = issuing.data("replace", "--yes", "--new-root")
    assert fingerprint(old) in {entry["fingerprint"] for entry in done["revoked"]}
    assert issuing.first("ca.root.pem") != old
    assert done["crl"] is None
    assert issuing.data("check")["in_order"]


# revoke, crl


def test_a_revoked_leaf_is_on_the_crl(ca: Ca, tool: Callable[..., str]) -> None:
    """By its serial number or its file, once; OpenSSL finds the CRL's signature good."""
    leaf, other = ca.leaf(), ca.leaf()
    serial = f"{leaf.serial_number:032X}"
    ca.run("revoke", ":".join(serial[place : place + 2] for place in range(0, 32, 2)), "--reason", "key-compromise")
    file = ca.file("leaf.pem")
    file.write_bytes(other.public_bytes(Encoding.PEM))
    assert ca.data("revoke", "--leaf", file)["new"]
    assert not ca.data("revoke", "--leaf", file)["new"]
    made = ca.data("crl")
    assert (made["number"], len(made["revoked"])) == (1, 2)
    crl = x509.load_der_x509_crl(Path(made["der"]).read_bytes())
    assert {entry.serial_number for entry in crl} == {leaf.serial_number, other.serial_number}
    assert "verify OK" in tool("openssl", "crl", "-in", made["pem"], "-noout", "-CAfile", ca.pem)
    assert "exists already" in ca.run("crl", status=1).output
    assert ca.data("crl", "--force")["number"] == 2


def test_certtool_reads_the_crl(ca: Ca, tool: Callable[..., str]) -> None:
    """GnuTLS is another reader."""
    ca.run("revoke", "0A")
    made = ca.data("crl")
    assert "ca" in tool("certtool", "--crl-info", "--infile", made["pem"]).lower()


def test_revoking_the_previous_root_takes_it_out_of_what_is_exported(ca: Ca) -> None:
    """No CRL can hold a root, and that is said."""
    assert "put away by a switch" in ca.run("revoke", "--previous", status=1).output
    ca.run("rotate")
    ca.run("rotate", "--switch")
    assert "No CRL can hold a root" in ca.run("revoke", "--previous", "--reason", "superseded").output
    assert certificates_from_pem(ca.run("export").stdout_bytes) == (ca.first(),)
    assert ca.data("crl")["revoked"] == []


def test_the_previous_issuing_ca_is_on_the_roots_crl(issuing: Ca) -> None:
    """Signed by the root, not by the issuing CA."""
    old = issuing.first()
    issuing.run("rotate")
    issuing.run("rotate", "--switch")
    issuing.run("revoke", "--previous", "--reason", "superseded")
    assert issuing.data("crl")["revoked"] == []
    (entry,) = issuing.data("crl", "--root")["revoked"]
    assert int(entry["serial"], 16) == old.serial_number


@pytest.mark.parametrize("arguments", [[], ["xyz"], ["0"], ["f" * 41], ["0A", "--previous"]])
def test_revoke_wants_one_serial_number(ca: Ca, arguments: list[str]) -> None:
    """Wrong usage: nothing is written."""
    ca.run("revoke", *arguments, status=2)
    assert not ca.file("ca.revoked.json").exists()


def test_anothers_leaf_is_not_revoked(ca: Ca) -> None:
    """Its own CA must."""
    file = ca.file("leaf.pem")
    file.write_bytes(TestAuthority().issue("origin.test")[0])
    assert "was not signed by" in ca.run("revoke", "--leaf", file, status=1).output


def test_a_broken_list_stops_everything_that_needs_it(ca: Ca) -> None:
    """Going on without it would trust again what was revoked."""
    ca.file("ca.revoked.json").write_text("{}")
    for verb in (["export"], ["crl"], ["revoke", "0A"], ["check"]):
        assert "cannot be understood" in ca.run(*verb, status=1).output


# export


def test_export_forms(ca: Ca, tool: Callable[..., str]) -> None:
    """DER and PKCS#12 are read by others; none holds the key; nothing is overwritten without --force."""
    der, p12 = ca.file("out.cer"), ca.file("out.p12")
    ca.run("export", "--format", "der", "-o", der)
    assert x509.load_der_x509_certificate(der.read_bytes()) == ca.first()
    ca.run("export", "--format", "p12", "-o", p12)
    store = pkcs12.load_pkcs12(p12.read_bytes(), b"changeit")
    assert (store.key, [entry.certificate for entry in store.additional_certs]) == (None, [ca.first()])
    assert "BEGIN CERTIFICATE" in tool("openssl", "pkcs12", "-in", p12, "-passin", "pass:changeit", "-nokeys")
    assert "exists already" in ca.run("export", "-o", der, status=1).output
    ca.run("export", "-o", der, "--force")
    assert certificates_from_pem(der.read_bytes()) == (ca.first(),)


def test_java_takes_the_pkcs12_store(ca: Ca, tool: Callable[..., str]) -> None:
    """As a trusted entry."""
    p12 = ca.file("out.p12")
    ca.run("export", "--format", "p12", "-o", p12)
    listed = tool("keytool", "-list", "-keystore", p12, "-storepass", "changeit", "-storetype", "PKCS12")
    assert "trustedCertEntry" in listed


def test_java_takes_the_pem(ca: Ca, tool: Callable[..., str]) -> None:
    """As the help tells."""
    pem, store = ca.file("out.pem"), ca.file("store.p12")
    ca.run("export", "-o", pem)
    arguments = ("-noprompt", "-alias", "netfw", "-file", pem, "-keystore", store, "-storepass", "changeit")
    assert "added" in tool("keytool", "-importcert", *arguments)


def test_jks_needs_a_library_and_says_which(ca: Ca, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, with the ways around it."""
    monkeypatch.setitem(sys.modules, "jks", None)
    assert "pyjks" in ca.run("export", "--format", "jks", "-o", ca.file("out.jks"), status=1).output
    assert not ca.file("out.jks").exists()


def test_java_takes_the_jks_store(ca: Ca, tool: Callable[..., str]) -> None:
    """Where the library is; where it is not, the verb ends with status 1."""
    store = ca.file("out.jks")
    if importlib.util.find_spec("jks") is None:
        ca.run("export", "--format", "jks", "-o", store, status=1)
        return
    ca.run("export", "--format", "jks", "-o", store)
    assert "trustedCertEntry" in tool("keytool", "-list", "-keystore", store, "-storepass", "changeit")


def test_a_bundle_is_the_systems_with_ours(ca: Ca) -> None:
    """In one file; the current and the next one."""
    system = ca.file("system.pem")
    system.write_bytes(TestAuthority("Public").certificate_pem)
    ca.run("rotate")
    bundle = ca.file("bundle.pem")
    ca.run("export", "--bundle", "--system-roots", system, "-o", bundle)
    public = certificates_from_pem(system.read_bytes())
    assert certificates_from_pem(bundle.read_bytes()) == (ca.first(), ca.first("ca.next.pem"), *public)
    assert "--system-roots" in ca.run("export", "--bundle", "--system-roots", ca.file("none"), status=1).output


def test_export_needs_no_key(ca: Ca) -> None:
    """Whoever hands certificates out need not be the proxy's user; the verbs that need it end with status 1."""
    ca.key.chmod(0)
    places = ("--certificate", ca.pem, "--private-key", ca.key)
    assert CliRunner().invoke(netfw, ["ca", "export", *map(str, places)]).exit_code == 0
    ca.key.unlink()
    assert CliRunner().invoke(netfw, ["ca", "crl", *map(str, places)]).exit_code == 1


def test_export_usage(ca: Ca) -> None:
    """Two formats, or JSON without a file, are wrong usage."""
    ca.run("export", "--bundle", "--format", "der", status=2)
    ca.run("export", "--json", status=2)
    assert "netfw ca rotate" in ca.run("rotate", "--help").output
    ca.run("export", "--only", "next", status=1)


# csr, import


def openssl_root(directory: Path, tool: Callable[..., str]) -> tuple[Path, Path]:
    """An enterprise's root, made by openssl."""
    certificate, key = directory / "enterprise.pem", directory / "enterprise.key"
    tool(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "400",
        "-subj", "/O=Example/CN=Enterprise Root", "-addext", "basicConstraints=critical,CA:TRUE",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    return certificate, key


def sign(
    directory: Path, tool: Callable[..., str], root: tuple[Path, Path], request: Path, constraints: str, usage: str
) -> Path:
    """What the root makes of a request."""
    extensions, signed = directory / "extensions", directory / "signed.pem"
    extensions.write_text(
        f"basicConstraints={constraints}\nkeyUsage={usage}\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    tool(
        "openssl", "x509", "-req", "-in", request, "-CA", root[0], "-CAkey", root[1], "-CAcreateserial",
        "-days", "300", "-sha256", "-extfile", extensions, "-out", signed,
    )  # fmt: skip
    return signed


GOOD = ("critical,CA:TRUE,pathlen:0", "critical,keyCertSign,cRLSign")


def test_an_enterprise_root_signs_our_request(config: Path, tool: Callable[..., str]) -> None:
    """csr, openssl, import: stored issuing first, in order for `check`, and OpenSSL takes it strictly."""
    ca = Ca(config)
    ca.run("csr", "--name", "Egress CA", "--organization", "Example")
    assert mode(ca.key) == 0o600
    assert "verify OK" in tool("openssl", "req", "-in", ca.file("ca.csr"), "-noout", "-verify")
    root = openssl_root(config.parent, tool)
    signed = sign(config.parent, tool, root, ca.file("ca.csr"), *GOOD)
    stored = ca.data("import", signed, root[0])
    assert [one["name"] for one in stored["chain"]] == ["Egress CA", "Enterprise Root"]
    assert ca.data("check")["in_order"]
    assert "OK" in tool("openssl", "verify", "-x509_strict", "-CAfile", root[0], ca.pem)
    assert CliRunner().invoke(netfw, ["check", str(config)]).exit_code == 0
    assert "exists already" in ca.run("import", signed, root[0], status=1).output
    assert certificates_from_pem(ca.run("export").stdout_bytes) == certificates_from_pem(root[0].read_bytes())


def test_a_rotation_below_an_enterprise_root(config: Path, tool: Callable[..., str]) -> None:
    """csr --next, import --next, rotate --switch; the current CA works until then."""
    ca = Ca(config)
    ca.run("csr")
    root = openssl_root(config.parent, tool)
    ca.run("import", sign(config.parent, tool, root, ca.file("ca.csr"), *GOOD), root[0])
    before = ca.first()
    ca.run("csr", "--next", "--name", "Egress 2")
    ca.run("import", "--next", sign(config.parent, tool, root, ca.file("ca.next.csr"), *GOOD), root[0])
    assert ca.first() == before
    ca.run("rotate", "--switch")
    assert ca.data("show")["chain"] == ["Egress 2", "Enterprise Root"]
    assert ca.first("ca.previous.pem") == before


@pytest.mark.parametrize(
    ("constraints", "usage", "word"),
    [
        ("critical,CA:FALSE", GOOD[1], "CA:FALSE"),
        ("CA:TRUE,pathlen:0", GOOD[1], "not critical"),
        (GOOD[0], "critical,digitalSignature", "keyCertSign"),
    ],
)
def test_what_was_signed_wrongly_is_not_stored(
    config: Path, tool: Callable[..., str], constraints: str, usage: str, word: str
) -> None:
    """As a server's certificate, for instance: that is what many templates make."""
    ca = Ca(config)
    ca.run("csr")
    root = openssl_root(config.parent, tool)
    signed = sign(config.parent, tool, root, ca.file("ca.csr"), constraints, usage)
    assert word in " ".join(ca.data("import", signed, root[0], status=1)["problems"])
    assert word in ca.run("import", signed, root[0], status=1).output
    assert not ca.pem.exists()


def test_a_certificate_for_another_key_is_not_stored(config: Path) -> None:
    """It was made from another request."""
    ca = Ca(config)
    ca.run("csr")
    other = ca.file("other.pem")
    other.write_bytes(TestAuthority().certificate_pem)
    assert "another request" in ca.run("import", other, status=1).output
    other.write_text("hello")
    assert "neither PEM, DER nor PKCS#7" in ca.run("import", other, status=1).output


def test_csr_leaves_a_key_alone(ca: Ca) -> None:
    """It may be the one in use."""
    before = ca.key.read_bytes()
    ca.run("csr", status=1)
    assert ca.key.read_bytes() == before
    assert not ca.file("ca.csr").exists()


# files


def test_nothing_is_left_behind_by_a_write_that_fails(ca: Ca) -> None:
    """No temporary file, no half of a pair."""
    ca.file("ca.next.pem").symlink_to(ca.file("elsewhere"))
    ca.run("rotate", status=1)
    assert not ca.file("ca.next.key").exists() and not ca.file("elsewhere").exists()
    assert [path.name for path in ca.directory.iterdir() if path.name.startswith(".")] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_root_leaves_the_new_files_to_the_owner_of_the_old(ca: Ca) -> None:
    """The proxy's own user goes on reading them."""
    for path in (ca.pem, ca.key):
        os.chown(path, 65534, 65534)
    ca.run("rotate")
    ca.run("rotate", "--switch")
    assert {path.stat().st_uid for path in (ca.pem, ca.key)} == {65534}


def test_the_command_itself(config: Path, tmp_path: Path) -> None:
    """As a program: exit statuses 0, 1 and 2, a key with its mode under any umask, data on standard output alone."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}

    def run(*arguments: object) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "netfw.cli.main", "ca", *map(str, arguments)]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, timeout=60, umask=0)

    places = ("--certificate", "x/ca.pem", "--private-key", "x/ca.key")
    assert run("init", *places).returncode == 0
    assert mode(tmp_path / "x" / "ca.key") == 0o600
    assert run("init", *places).returncode == 1
    assert run("init", "--days", "no", *places).returncode == 2
    assert run("frobnicate").returncode == 2
    done = run("export", "--format", "der", *places)
    x509.load_der_x509_certificate(done.stdout)
    assert json.loads(run("check", "--json", *places).stdout)["days_left"] == 3649
    assert b"Below an enterprise's root" in run("--help").stdout
