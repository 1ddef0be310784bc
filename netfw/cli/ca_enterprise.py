"""`netfw ca csr` and `netfw ca import`: an issuing CA below a root that somebody else has."""

from __future__ import annotations

from pathlib import Path

import click
from cryptography import x509

from netfw.cli.ca_files import (
    FILE,
    PUBLIC,
    SECRET,
    Places,
    current_time,
    keep_copy,
    make_directories,
    places_options,
    read_file,
    read_key,
    read_revoked,
    refuse_existing,
    write_file,
)
from netfw.cli.ca_make import checked_name
from netfw.cli.config_option import json_option
from netfw.cli.screen import print_json
from netfw.x509.authority import private_key_pem, read_private_key
from netfw.x509.profile import Level, errors, examine
from netfw.x509.reading import certificates_from_any, common_name, fingerprint, is_self_issued, not_after
from netfw.x509.subordinate import KEY_TYPES, ChainProblem, chain_for, chain_pem, create_key, create_request

NEXT_HELP = "The next CA (ca.next.*), beside one that is in use; `netfw ca rotate --switch` takes it."


@click.command("csr", short_help="Make a key, and ask a root for a CA below it.")
@places_options
@click.option("--name", help="The CA's common name. Default: with this host and the date.")
@click.option("--organization", help="The subject's organization, where the root wants one.")
@click.option("--key-type", type=click.Choice(KEY_TYPES), default=KEY_TYPES[0], show_default=True)
@click.option("--output", "-o", type=FILE, help="Where the request goes. Default: ca.csr beside the key.")
@click.option("--next", "for_next", is_flag=True, help=NEXT_HELP)
@click.option("--force", is_flag=True, help="Replace an existing key and request; copies are kept.")
@json_option
def csr_command(
    places: Places,
    name: str | None,
    organization: str | None,
    key_type: str,
    output: Path | None,
    for_next: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Make a key (mode 0600) and ask a root for a subordinate CA.

    \b
    1. netfw ca csr                             makes ca.key and ca.csr
    2. the root signs ca.csr as a CA with path length 0: keyUsage keyCertSign and cRLSign, critical; with an SKI
    3. netfw ca import signed.pem chain.pem     checks it and writes ca.pem
    4. netfw check, and netfw reload

    The key never leaves this machine. The same with --next prepares a rotation.
    """
    now = current_time()
    target = places.beside("next") if for_next else places
    request_path = output.absolute() if output is not None else target.request
    common = checked_name(name, "CA", now)
    if organization is not None and not (1 <= len(organization) <= 64 and organization.isprintable()):
        raise click.BadParameter("must be 1 to 64 printable characters", param_hint="--organization")
    refuse_existing([target.private_key, request_path], force=force)
    password = target.password
    key = create_key(key_type)
    request = create_request(common, organization, key)
    kept = [copy for copy in (keep_copy(path, now) for path in (target.private_key, request_path)) if copy is not None]
    make_directories([target.private_key, request_path])
    like = places.private_key if for_next else None
    write_file(target.private_key, private_key_pem(key, password), SECRET, force=force, like=like)
    write_file(request_path, request, PUBLIC, force=force)
    if as_json:
        print_json({
            "private_key": str(target.private_key),
            "request": str(request_path),
            "name": common,
            "key_type": key_type,
            "kept": [str(path) for path in kept],
        })  # fmt: skip
        return
    for path in kept:
        click.echo(f"kept the old one as {path}")
    click.echo(f"made {target.private_key} (mode 0600) and {request_path}: {common}")
    verb = "netfw ca import" + (" --next" if for_next else "")
    click.echo(f"""
Let the root sign the request as a CA: basicConstraints CA:TRUE, path length 0; keyUsage keyCertSign and cRLSign, both
critical; with subjectKeyIdentifier and authorityKeyIdentifier. Then: {verb} CERTIFICATE [CHAIN]""")


@click.command("import", short_help="Check and store what a root made of the request.")
@places_options
@click.argument("certificate_file", metavar="CERTIFICATE", type=FILE)
@click.argument("chain_files", metavar="[CHAIN]...", nargs=-1, type=FILE)
@click.option("--next", "for_next", is_flag=True, help=NEXT_HELP)
@click.option("--force", is_flag=True, help="Replace an existing certificate file; a copy is kept.")
@json_option
def import_command(
    places: Places,
    certificate_file: Path,
    chain_files: tuple[Path, ...],
    for_next: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Take the certificate that a root made from `netfw ca csr`, check it, and store it with its chain.

    \b
    The certificate and those above it:      netfw ca import signed.pem chain.pem root.pem
    All in one file, in any order:           netfw ca import signed.p7b

    PEM, DER and PKCS#7 are taken. What is checked: the key is ours; each certificate is signed by the next;
    basicConstraints and path length; keyUsage; dates; key identifiers; algorithms. The issuing CA is stored first and
    the root last. Nothing is stored when anything is wrong.
    """
    now = current_time()
    target = places.beside("next") if for_next else places
    refuse_existing([target.certificate], force=force)
    offered: list[x509.Certificate] = []
    for path in (certificate_file, *chain_files):
        try:
            offered += certificates_from_any(read_file(path))
        except ValueError:
            raise click.ClickException(f"{path} holds no certificate: neither PEM, DER nor PKCS#7") from None
    pem = read_key(target.private_key, "make it with `netfw ca csr`")
    weak: list[str] = []
    key = read_private_key(pem, target.password if b"ENCRYPTED" in pem else None, weak)
    if key is None or weak:
        raise click.ClickException(f"{target.private_key}: {'; '.join(weak)}")
    try:
        chain = chain_for(key, offered)
    except ChainProblem as error:
        raise click.ClickException(f"{certificate_file}: {error}") from None
    findings = examine(chain, key, now)
    problems = list(errors(findings))
    if any(read_revoked(places).has_certificate(certificate) for certificate in chain):
        problems.append("a certificate of the chain is on the list of what is revoked")
    remarks = [finding.text for finding in findings if finding.level is not Level.ERROR]
    left_out = [common_name(certificate) for certificate in offered if certificate not in chain]
    if problems:
        if as_json:
            print_json({"stored": None, "problems": problems, "remarks": remarks, "left_out": left_out})
            raise SystemExit(1)
        raise click.ClickException("not stored:\n" + "\n".join(f"  {problem}" for problem in problems))
    kept = keep_copy(target.certificate, now)
    make_directories([target.certificate])
    write_file(target.certificate, chain_pem(chain), PUBLIC, force=force, like=places.private_key)
    if as_json:
        print_json({
            "stored": str(target.certificate),
            "chain": [{"name": common_name(one), "sha256": fingerprint(one)} for one in chain],
            "root_included": is_self_issued(chain[-1]),
            "problems": [],
            "remarks": remarks,
            "left_out": left_out,
            "kept": str(kept) if kept is not None else None,
        })  # fmt: skip
        return
    if kept is not None:
        click.echo(f"kept the old one as {kept}")
    click.echo(f"stored {target.certificate}, valid until {not_after(chain[0]):%Y-%m-%d}:")
    for place, certificate in enumerate(chain, start=1):
        click.echo(f"  {place}. {common_name(certificate)}")
    for name in left_out:
        click.echo(f"left out, for it is not in the chain: {name}")
    for remark in remarks:
        click.echo(f"note: {remark}")
    click.echo("Now: " + ("netfw ca rotate --switch" if for_next else "netfw check") + ", and `netfw reload`.")
