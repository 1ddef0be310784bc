"""`netfw ca export`: what clients are to trust, in the form that their store takes. Never a key."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from netfw.cli.ca_files import (
    FILE,
    PUBLIC,
    SECRET,
    Places,
    current_time,
    places_options,
    read_certificates,
    read_file,
    read_revoked,
    refuse_existing,
    write_file,
)
from netfw.cli.config_option import json_option
from netfw.cli.screen import print_json
from netfw.config.preflight import read_password
from netfw.kit.setting import STORE_PASSWORD
from netfw.kit.trust_store import SYSTEM_ROOTS, pkcs12_store
from netfw.x509.authority import AuthorityProblem
from netfw.x509.export import aliases, anchors, distinct, pem_bundle, system_certificates
from netfw.x509.reading import common_name, fingerprint, is_self_issued, not_after

FORMATS = ("pem", "der", "p12", "jks", "bundle")
BINARY = ("der", "p12", "jks")
WORDS = ("current", "next", "previous")


@click.command("export")
@places_options
@click.option("--format", "form", type=click.Choice(FORMATS), default="pem", show_default=True)
@click.option("--bundle", is_flag=True, help="The same as --format bundle.")
@click.option("--only", type=click.Choice(WORDS), help="One of them. Default: all that are there and not revoked.")
@click.option("--output", "-o", type=FILE, help="The file. Default: standard output.")
@click.option("--system-roots", type=FILE, help="What `bundle` adds. Default: the system's.")
@click.option("--store-password-file", type=FILE, help="The password of a p12 or jks store. Default: changeit.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@json_option
def export_command(
    places: Places,
    form: str,
    bundle: bool,
    only: str | None,
    output: Path | None,
    system_roots: Path | None,
    store_password_file: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write what clients are to trust. Never the key.

    \b
    pem     update-ca-certificates, NODE_EXTRA_CA_CERTS, browsers     netfw ca export -o netfw.crt
    bundle  with the system's roots: SSL_CERT_FILE, REQUESTS_CA_BUNDLE, curl --cacert, git, pip
                                                                      netfw ca export --bundle -o bundle.pem
    der     one certificate: Windows, Android, Apple                  netfw ca export --format der -o netfw.cer
    p12     a trust store for Java 9 and newer                        netfw ca export --format p12 -o trust.p12
    jks     a trust store for older Java; needs the package pyjks     netfw ca export --format jks -o trust.jks

    During a rotation the current CA and the next one are written, and after the switch the previous one as well, until
    `netfw ca revoke --previous`: whoever trusts all of them notices nothing. Of a chain it is the root that is written.
    """
    if bundle:
        if form not in ("pem", "bundle"):
            raise click.UsageError(f"--bundle is a format of its own, and so is --format {form}: name one")
        form = "bundle"
    if as_json and output is None:
        raise click.UsageError("--json needs --output FILE: both would go to standard output")
    if output is None and form in BINARY and sys.stdout.isatty():
        raise click.UsageError(f"{form} is nothing for a terminal: name a file with --output")
    now = current_time()
    if output is not None:
        output = output.absolute()
        refuse_existing([output], force=force)
    trusted = _trusted(places, only, now)
    remarks = []
    top = trusted[0]
    if not is_self_issued(top):
        remarks.append(
            f"{common_name(top)} is not a root; clients need the root above it, {top.issuer.rfc4514_string()}, which"
            " they may have already. OpenSSL takes nothing else as a trust anchor."
        )
    if form == "der" and len(trusted) > 1:
        remarks.append(f"DER holds one certificate: {common_name(top)}. The others: --only next, --only previous.")
        trusted = trusted[:1]
    content = _write(form, trusted, system_roots, store_password_file)
    if output is None:
        sys.stdout.buffer.write(content)
    else:
        # A password of one's own is worth something only to who cannot read the store.
        write_file(output, content, SECRET if store_password_file is not None else PUBLIC, force=force)
    if as_json:
        print_json({
            "file": str(output),
            "format": form,
            "certificates": [{"name": common_name(one), "sha256": fingerprint(one)} for one in trusted],
            "remarks": remarks,
        })  # fmt: skip
        return
    if output is not None:
        click.echo(f"made {output}: " + ", ".join(common_name(certificate) for certificate in trusted))
    for remark in remarks:
        click.echo(f"note: {remark}", err=True)


def _trusted(places: Places, only: str | None, now: datetime) -> tuple[x509.Certificate, ...]:
    revoked = read_revoked(places)
    found: list[x509.Certificate] = []
    for word in WORDS if only is None else (only,):
        path = places.certificate if word == "current" else places.beside(word).certificate
        if only is None and word != "current" and not os.path.exists(path):
            continue
        chain = read_certificates(path, "make a CA with `netfw ca init`")
        if any(revoked.has_certificate(certificate) for certificate in chain):
            if word == "previous" and only is None:
                # A revoked issuing CA leaves its root in use: the others bring it.
                continue
            raise click.ClickException(f"{path} is revoked and is not exported; make another: netfw ca replace")
        # What has ended helps nobody; the current one is the business of `check`.
        found += [one for one in anchors(chain) if word == "current" or not_after(one) > now]
    if not found:
        raise click.ClickException("there is nothing to export: what there is has expired")
    return distinct(found)


def _write(
    form: str,
    trusted: tuple[x509.Certificate, ...],
    system_roots: Path | None,
    password_file: Path | None,
) -> bytes:
    if form == "pem":
        return pem_bundle(trusted)
    if form == "bundle":
        system_roots = system_roots or next(filter(Path.exists, map(Path, SYSTEM_ROOTS)), Path(SYSTEM_ROOTS[0]))
        system = read_file(system_roots, "install ca-certificates, or name another with --system-roots")
        if not system_certificates(system):
            raise click.ClickException(f"{system_roots} holds no PEM certificate")
        return pem_bundle(trusted, system)
    if form == "der":
        return trusted[0].public_bytes(Encoding.DER)
    password = _store_password(password_file)
    if form == "jks":
        return _jks(trusted, password)
    return pkcs12_store([one.public_bytes(Encoding.DER) for one in trusted], aliases(trusted), password.decode("utf-8"))


def _store_password(path: Path | None) -> bytes:
    if path is None:
        return STORE_PASSWORD.encode()  # it hides nothing: such a store holds certificates only
    try:
        return read_password(path)
    except AuthorityProblem as error:
        raise click.ClickException(str(error)) from None


def _jks(trusted: tuple[x509.Certificate, ...], password: bytes) -> bytes:
    try:
        jks: Any = import_module("jks")
    except ImportError:
        raise click.ClickException(
            "JKS needs the Python package pyjks, which is not installed: pip install pyjks. Or use --format p12, which"
            " Java 9 and newer reads as well; or --format pem and"
            " keytool -importcert -noprompt -alias netfw -file netfw.pem -keystore trust.jks"
        ) from None
    entries = [
        jks.TrustedCertEntry.new(alias, certificate.public_bytes(Encoding.DER))
        for alias, certificate in zip(aliases(trusted), trusted, strict=True)
    ]
    return bytes(jks.KeyStore.new("jks", entries).saves(password.decode("utf-8")))
