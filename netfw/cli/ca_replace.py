"""`netfw ca replace`: another CA at once, because the key of this one may be in other hands. Not here: `ca_rotate`."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import click
from cryptography import x509

from netfw.cli.ca_files import (
    FILE,
    Places,
    current_time,
    keep_copy,
    places_options,
    read_certificates,
    read_revoked,
    write_revoked,
)
from netfw.cli.ca_make import DAYS, ISSUING_DAYS, issuing_name, new_pair, write_pair
from netfw.cli.ca_revoke import CRL_DAYS, crl_path, write_crl
from netfw.cli.ca_rotate import find_root, next_name
from netfw.cli.config_option import json_option
from netfw.cli.screen import print_json
from netfw.x509.authority import CertificateAuthority, load_authority
from netfw.x509.reading import certificates_from_pem, common_name, fingerprint, is_self_issued, not_after
from netfw.x509.revocation import as_data, revoked_ca


@click.command("replace", short_help="Emergency: another CA now, and revoke this one.")
@places_options
@click.option("--name", help="The new CA's name. Default: with this host and the date.")
@click.option("--root-certificate", type=FILE, help="The root's certificate. Default: ca.root.pem beside ca.pem.")
@click.option("--root-key", type=FILE, help="The root's key. Default: ca.root.key beside ca.key.")
@click.option("--new-root", is_flag=True, help="Below a root: replace the root as well; its key may have leaked too.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def replace_command(
    places: Places,
    name: str | None,
    root_certificate: Path | None,
    root_key: Path | None,
    new_root: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Emergency: the CA's key may be in other hands. Make another CA now, and revoke this one.

    \b
    Ask, then do it, and print what to do next:     netfw ca replace
    From a script:                                  netfw ca replace --yes --json

    Interception fails at every client from the proxy's reload until the client has the new CA: that is the price. For
    a CA that only comes to its end there is `netfw ca rotate`.

    The old CA, and a next or previous one beside it, go on the list of what is revoked; their files are kept with
    .revoked. and the date in their names. Below a root whose key is at hand only the issuing CA is replaced, and the
    root's CRL is written. Below an enterprise's root: `netfw ca csr --next`, `import --next`, `rotate --switch`, then
    `revoke --previous --reason ca-compromise`, and let the enterprise revoke the old one.
    """
    now = current_time()
    current = read_certificates(places.certificate, "there is nothing to replace; make a CA with `netfw ca init`")
    below = not is_self_issued(current[0])
    root = None
    if below and not new_root:
        root = find_root(places, current[0], root_certificate, root_key, now)
    if not yes:
        click.confirm(
            f"Replace {common_name(current[0])} ({places.certificate}) now? Clients will refuse the proxy"
            + (" nowhere: they trust its root." if root is not None else " until they have the new CA."),
            abort=True,
            err=True,
        )
    password = places.password
    root_at = places.beside("root")
    gone = [places, *(places.beside(word) for word in ("next", "previous"))]
    if below and new_root:
        gone += [root_at, root_at.beside("next")]
    certificates = [found for old in gone if (found := _certificate_of(old)) is not None]
    revoked = read_revoked(places)
    for certificate in certificates:
        revoked = revoked.with_entry(revoked_ca(certificate, now, "ca-compromise"))
    common = next_name(name, "CA", now, common_name(current[-1]))
    # The list first: whatever fails after it, nothing revoked is exported again.
    write_revoked(places, revoked)
    owner = places.private_key
    kept = _put_away(gone[1:], now, remove=True) + _put_away(gone[:1], now, remove=False)
    if below and new_root:
        root = _new_root(root_at, common, now, password, owner)
        common = issuing_name(common)
    elif root is not None and name is None:
        common = issuing_name(common)
    made = new_pair(common, now, DAYS if root is None else ISSUING_DAYS, password, root)
    write_pair(places, *made, force=True, like=owner)
    crl = None
    if root is not None and not new_root:
        crl = crl_path(root_at)
        write_crl(places, root, crl, now, CRL_DAYS, force=True)
    chain = certificates_from_pem(made[0])
    steps = _steps(places, certificates[0], chain, crl)
    entries = [as_data(revoked_ca(certificate, now, "ca-compromise")) for certificate in certificates]
    if as_json:
        print_json({
            "certificate": str(places.certificate),
            "name": common_name(chain[0]),
            "sha256": fingerprint(chain[0]),
            "revoked": entries,
            "list": str(places.revoked),
            "crl": str(crl) if crl is not None else None,
            "kept": [str(path) for path in kept],
            "steps": steps,
        })  # fmt: skip
        return
    click.echo(
        f"made {places.certificate} and {places.private_key} (mode 0600): {common_name(chain[0])},"
        f" valid until {not_after(chain[0]):%Y-%m-%d}"
    )
    click.echo(f"revoked in {places.revoked}: " + ", ".join(common_name(certificate) for certificate in certificates))
    for path in kept:
        click.echo(f"kept {path}")
    click.echo("\nNow:")
    for number, step in enumerate(steps, start=1):
        click.echo(f"{number:2}. {step}")


def _certificate_of(places: Places) -> x509.Certificate | None:
    return read_certificates(places.certificate)[0] if os.path.lexists(places.certificate) else None


def _new_root(root_at: Places, common: str, now: datetime, password: bytes | None, owner: Path) -> CertificateAuthority:
    pem, key = new_pair(common, now, DAYS, password, None)
    write_pair(root_at, pem, key, force=True, like=owner)
    return load_authority(pem, key, now, password)


def _put_away(pairs: list[Places], now: datetime, *, remove: bool) -> list[Path]:
    """Second names for all files; `remove` takes the first ones away, else the new CA's files will."""
    kept = []
    for pair in pairs:
        for path in (pair.certificate, pair.private_key):
            copy = keep_copy(path, now, "revoked.")
            if copy is None:
                continue
            kept.append(copy)
            if remove:
                path.unlink()
    return kept


def _steps(places: Places, old: x509.Certificate, chain: tuple[x509.Certificate, ...], crl: Path | None) -> list[str]:
    shown = ":".join(f"{byte:02X}" for byte in bytes.fromhex(fingerprint(old)))
    restart = "Give every proxy that has this CA the new files, and reload it: `netfw reload`."
    last = [
        f"Find out how the key got out, before the new one goes the same way: {places.private_key.parent} and backups.",
        "Tell the owners of the clients; what went through since the leak may have been read or changed.",
        "Destroy the kept old key when the inquiry is over.",
    ]
    if crl is not None:
        distrust = (
            f"Clients that check no CRL go on trusting the old issuing CA until {not_after(old):%Y-%m-%d}:"
            f" let them distrust it by its fingerprint, {shown}. Where you cannot: netfw ca replace --new-root."
        )
        publish = f"Give {crl} (DER) or {crl}.pem to all clients that check CRLs, and publish it."
        steps = [restart, publish, distrust, *last]
        root_key = places.beside("root").private_key
        if os.path.lexists(root_key):
            told = f"{root_key} lay beside the key that leaked. Unless you know that nobody read it, now: "
            steps.insert(0, told + "netfw ca replace --new-root")
        return steps
    return [
        f"Take the old CA out of every client's trust store NOW, by its fingerprint: {shown}",
        "Give clients the new one: netfw ca export --bundle -o bundle.pem (or --format p12, jks, der).",
        restart,
        f"Look whether it is trusted: netfw ca show; the new fingerprint is {fingerprint(chain[-1])}.",
        *last,
    ]
