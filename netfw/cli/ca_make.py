"""`netfw ca init`, and how the other verbs make a CA. Not here: what is in it (`netfw.x509`)."""

from __future__ import annotations

import socket
from datetime import datetime
from pathlib import Path

import click

from netfw.cli.ca_files import (
    PUBLIC,
    SECRET,
    Places,
    current_time,
    keep_copy,
    make_directories,
    places_options,
    refuse_existing,
    write_file,
)
from netfw.cli.config_option import json_option
from netfw.cli.screen import print_json
from netfw.x509.authority import CertificateAuthority, create_root, load_authority
from netfw.x509.reading import certificates_from_pem, common_name, fingerprint, not_after
from netfw.x509.subordinate import create_issuing

# mitmproxy's CA lives ten years too: replacing it means touching every client.
DAYS = 3650
# An issuing CA is replaced without touching any client.
ISSUING_DAYS = 730
COMMON_NAME_LIMIT = 64


@click.command("init", short_help="Make a CA, or a root and an issuing CA below it.")
@places_options
@click.option("--name", help="The CA's name, as people see it in trust stores. Default: with this host and the date.")
@click.option("--days", type=click.IntRange(1, 7300), default=DAYS, show_default=True, help="How long it is valid.")
@click.option("--issuing", is_flag=True, help="Make a root, and below it the CA that signs: the root can go offline.")
@click.option(
    "--issuing-days",
    type=click.IntRange(1, 7300),
    default=ISSUING_DAYS,
    show_default=True,
    help="How long the issuing CA is valid.",
)
@click.option("--force", is_flag=True, help="Replace an existing CA; the old files are kept beside the new ones.")
@json_option
def init_command(
    places: Places, name: str | None, days: int, issuing: bool, issuing_days: int, force: bool, as_json: bool
) -> None:
    """Make a CA: a P-256 key (mode 0600) and its certificate.

    \b
    Where the configuration says:       netfw ca init --config etc/proxy.yaml
    Anywhere:                           netfw ca init --certificate ca.pem --private-key ca.key
    With a root that can go offline:    netfw ca init --issuing
    With an encrypted key:              netfw ca init --password-file ca.password

    With --issuing the root goes to ca.root.pem and ca.root.key, and ca.pem holds the issuing CA and then the root.
    Clients trust the root; move ca.root.key to a safe place, and bring it back for `netfw ca rotate`.

    The proxy finds an encrypted key's password by tls_intercept.ca.password_file.

    An existing CA is left alone, unless --force: clients trust it, and would not trust another. For a new one without a
    gap see `netfw ca rotate`, and where the key has leaked `netfw ca replace`.
    """
    now = current_time()
    root = places.beside("root")
    targets = [places.certificate, places.private_key]
    if issuing:
        targets += [root.certificate, root.private_key]
    refuse_existing(targets, force=force)
    common = checked_name(name, "CA", now)
    password = places.password
    kept = [copy for copy in (keep_copy(path, now) for path in targets if force) if copy is not None]
    root_pem, root_key = create_root(common, now, days, password)
    if issuing:
        authority = load_authority(root_pem, root_key, now, password)
        certificate, key = create_issuing(authority, issuing_name(common), now, issuing_days, password)
        write_pair(root, root_pem, root_key, force=force)
    else:
        certificate, key = root_pem, root_key
    write_pair(places, certificate, key, force=force)
    chain = certificates_from_pem(certificate)
    if as_json:
        print_json({
            "certificate": str(places.certificate),
            "private_key": str(places.private_key),
            "root_certificate": str(root.certificate) if issuing else None,
            "root_private_key": str(root.private_key) if issuing else None,
            "names": [common_name(one) for one in chain],
            "sha256": [fingerprint(one) for one in chain],
            "kept": [str(path) for path in kept],
        })  # fmt: skip
        return
    for path in kept:
        click.echo(f"kept the old one as {path}")
    click.echo(
        f"made {places.certificate} and {places.private_key} (mode 0600): {common_name(chain[0])},"
        f" valid until {not_after(chain[0]):%Y-%m-%d}"
    )
    trusted = places.certificate
    if issuing:
        trusted = root.certificate
        click.echo(
            f"made {root.certificate} and {root.private_key} (mode 0600): {common},"
            f" valid until {not_after(chain[-1]):%Y-%m-%d}\n"
            f"Move {root.private_key} to a place that this machine cannot reach; the proxy never needs it."
        )
    if places.password_file is not None:
        click.echo(f"The proxy needs tls_intercept: {{ca: {{password_file: {places.password_file}}}}} to read the key.")
    click.echo(f"""
Let clients trust it: all that the programs of a shell need, or by hand, for example:
  eval "$(netfw env --proxy {places.proxy} --ca {trusted})"
  curl --cacert {trusted} -x {places.proxy} https://example.com/
  export SSL_CERT_FILE={trusted} REQUESTS_CA_BUNDLE={trusted} NODE_EXTRA_CA_CERTS={trusted}
  cp {trusted} /usr/local/share/ca-certificates/netfw.crt && update-ca-certificates
Other forms (PKCS#12, JKS, a bundle with the system's roots): netfw ca export --help""")


def checked_name(name: str | None, kind: str, now: datetime) -> str:
    """The name as given, or one of this host and the moment."""
    common = name if name is not None else f"netfw {kind} {socket.gethostname()[:30]} {now:%Y-%m-%d}"
    if not 1 <= len(common) <= COMMON_NAME_LIMIT or not common.isprintable():
        raise click.BadParameter(f"must be 1 to {COMMON_NAME_LIMIT} printable characters", param_hint="--name")
    return common


def issuing_name(root: str) -> str:
    """What an issuing CA below this root is called: never the same, or it would look like a root."""
    suffix = " issuing"
    return root[: COMMON_NAME_LIMIT - len(suffix)] + suffix


def new_pair(
    name: str, now: datetime, days: int, password: bytes | None, root: CertificateAuthority | None
) -> tuple[bytes, bytes]:
    """Certificate (and chain) and key of a new CA: below `root`, or a root itself."""
    if root is None:
        return create_root(name, now, days, password)
    if name == common_name(root.certificate):
        raise click.BadParameter("is the root's own; the CA below it needs another", param_hint="--name")
    return create_issuing(root, name, now, days, password)


def write_pair(
    places: Places, certificate: bytes, key: bytes, *, force: bool = False, like: Path | None = None
) -> None:
    """Both files, the key first: a certificate without its key is the pair that could be trusted and not used."""
    make_directories([places.private_key, places.certificate])
    write_file(places.private_key, key, SECRET, force=force, like=like)
    write_file(places.certificate, certificate, PUBLIC, force=force, like=like)
