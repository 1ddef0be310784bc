"""`netfw ca revoke` and `netfw ca crl`: what is revoked, and the signed list of it. Not here: `replace`."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import click
from cryptography.hazmat.primitives.serialization import Encoding

from netfw.cli.ca_files import (
    FILE,
    PUBLIC,
    Places,
    current_time,
    load_from,
    places_options,
    read_certificates,
    read_file,
    read_revoked,
    refuse_existing,
    write_file,
    write_revoked,
)
from netfw.cli.config_option import json_option
from netfw.cli.screen import print_json
from netfw.x509.authority import CertificateAuthority
from netfw.x509.reading import certificates_from_any, common_name, is_signed_by, subject_key_identifier
from netfw.x509.revocation import REASONS, Revoked, as_data, create_crl, key_identifier, revoked_ca

SERIAL = re.compile(r"(?:0[xX])?[0-9A-Fa-f]+(?::[0-9A-Fa-f]+)*")
CRL_DAYS = 7


@click.command("revoke")
@places_options
@click.argument("serial", required=False)
@click.option("--leaf", type=FILE, help="The leaf's certificate, in place of its serial number.")
@click.option("--previous", is_flag=True, help="The CA that the last `rotate --switch` put away.")
@click.option("--reason", type=click.Choice(list(REASONS)), default="unspecified", show_default=True)
@json_option
def revoke_command(
    places: Places, serial: str | None, leaf: Path | None, previous: bool, reason: str, as_json: bool
) -> None:
    """Put a leaf, or the previous CA, on the list of what is revoked.

    \b
    A leaf, as `openssl x509 -serial` shows it:   netfw ca revoke 3F:A2:...
    A leaf from its file:                         netfw ca revoke --leaf leaf.pem
    The CA before the current one:                netfw ca revoke --previous --reason superseded

    The list is ca.revoked.json; `netfw ca crl` signs a CRL of it. Leaves name no place where a CRL could be had:
    clients know of one only if they are given it. What `export` writes never holds a revoked CA.
    """
    if sum((serial is not None, leaf is not None, previous)) != 1:
        raise click.UsageError("name one: a serial number, --leaf FILE, or --previous")
    now = current_time()
    revoked = read_revoked(places)
    if previous:
        (certificate, *_) = read_certificates(places.beside("previous").certificate, "no CA was put away by a switch")
        entry = revoked_ca(certificate, now, reason)
    else:
        entry = _leaf_entry(places, serial, leaf, now, reason)
    after = revoked.with_entry(entry)
    write_revoked(places, after)
    if as_json:
        print_json({"list": str(places.revoked), "new": after != revoked, "revoked": as_data(entry)})
        return
    verb = "put on" if after != revoked else "was on"
    click.echo(f"{verb} {places.revoked}: {entry.name or 'leaf'} {entry.serial:x}")
    if entry.is_root:
        click.echo("No CRL can hold a root: take it out of the clients' trust stores.")
    else:
        click.echo("Next: sign a list of it with `netfw ca crl`" + (" --root" if previous else ""))
    if not previous:
        click.echo("Restart the proxy too: it has its leaves in memory, and only then new ones get a new key.")


@click.command("crl")
@places_options
@click.option("--root", is_flag=True, help="The root's list, of issuing CAs. Default: the issuing CA's, of leaves.")
@click.option("--root-certificate", type=FILE, help="The root's certificate. Default: ca.root.pem beside ca.pem.")
@click.option("--root-key", type=FILE, help="The root's key. Default: ca.root.key beside ca.key.")
@click.option("--days", type=click.IntRange(1, 366), default=CRL_DAYS, show_default=True, help="Until the next list.")
@click.option("--output", "-o", type=FILE, help="The DER file; PEM goes to the same name with .pem. Default: ca.crl.")
@click.option("--force", is_flag=True, help="Replace the list that was written before.")
@json_option
def crl_command(
    places: Places,
    root: bool,
    root_certificate: Path | None,
    root_key: Path | None,
    days: int,
    output: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Sign a list of what is revoked: ca.crl (DER) and ca.crl.pem.

    \b
    Every week:                       netfw ca crl --force
    The root's, key from a safe:      netfw ca crl --root --root-key /media/safe/ca.root.key
    Look at it:                       openssl crl -in ca.crl.pem -noout -text

    Every list has a higher number than the one before. An empty list is a good one.
    """
    now = current_time()
    signer = places
    if root:
        signer = root_places(places, root_certificate, root_key)
    elif root_certificate is not None or root_key is not None:
        raise click.UsageError("--root-certificate and --root-key belong to --root")
    authority = load_from(signer, now)
    target = output.absolute() if output is not None else crl_path(places.beside("root") if root else places)
    number, entries = write_crl(places, authority, target, now, days, force=force)
    if as_json:
        print_json({
            "der": str(target),
            "pem": f"{target}.pem",
            "number": number,
            "signed_by": common_name(authority.certificate),
            "revoked": [as_data(entry) for entry in entries],
        })  # fmt: skip
        return
    name = common_name(authority.certificate)
    click.echo(f"made {target} and {target}.pem: number {number}, {len(entries)} revoked, signed by {name}")


def root_places(places: Places, certificate: Path | None, key: Path | None) -> Places:
    """Where the root is: beside the issuing CA, or where the options say."""
    beside = places.beside("root")
    return Places(
        certificate.absolute() if certificate is not None else beside.certificate,
        key.absolute() if key is not None else beside.private_key,
        places.password_file,
    )


def crl_path(places: Places) -> Path:
    """`ca.crl` beside `ca.pem`."""
    return places.certificate.with_name(f"{places.certificate.stem}.crl")


def write_crl(
    places: Places, authority: CertificateAuthority, target: Path, now: datetime, days: int, *, force: bool
) -> tuple[int, tuple[Revoked, ...]]:
    """Sign and write both forms; return the list's number and what is on it."""
    pem = target.with_name(f"{target.name}.pem")
    refuse_existing([target, pem], force=force)
    revoked = read_revoked(places)
    number = revoked.crl_number + 1
    entries = revoked.of(key_identifier(authority))
    crl = create_crl(authority, entries, number, now, days)
    # First the number: one left out does no harm, one used twice does.
    write_revoked(places, replace(revoked, crl_number=number))
    write_file(target, crl.public_bytes(Encoding.DER), PUBLIC, force=force)
    write_file(pem, crl.public_bytes(Encoding.PEM), PUBLIC, force=force)
    return number, entries


def _leaf_entry(places: Places, serial: str | None, leaf: Path | None, now: datetime, reason: str) -> Revoked:
    current = read_certificates(places.certificate)[0]
    issuer = current
    name = ""
    if leaf is not None:
        try:
            certificate = certificates_from_any(read_file(leaf))[0]
        except (ValueError, IndexError):
            raise click.ClickException(f"{leaf} holds no certificate") from None
        candidates = [current]
        previous = places.beside("previous").certificate
        if os.path.exists(previous):
            candidates.append(read_certificates(previous)[0])
        signers = [candidate for candidate in candidates if is_signed_by(certificate, candidate)]
        if not signers:
            raise click.ClickException(f"{leaf} was not signed by {common_name(current)}: its own CA must revoke it")
        issuer, number, name = signers[0], certificate.serial_number, common_name(certificate)
    else:
        assert serial is not None
        if not SERIAL.fullmatch(serial):
            raise click.BadParameter("write it in hexadecimal, with colons or without", param_hint="SERIAL")
        number = int(serial.replace(":", ""), 16)
        if not 0 < number < 1 << 159:
            raise click.BadParameter("is not a serial number: 1 to 20 octets, not zero", param_hint="SERIAL")
    identifier = (subject_key_identifier(issuer) or b"").hex()
    return Revoked(number, identifier, now.replace(microsecond=0), reason, name)
