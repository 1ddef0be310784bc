"""`netfw ca rotate`: the next CA beside the current one, and the switch to it. Not here: emergencies (`ca_replace`)."""

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
    load_from,
    places_options,
    read_certificates,
    read_key,
    read_revoked,
    refuse_existing,
    rename,
)
from netfw.cli.ca_make import DAYS, ISSUING_DAYS, checked_name, issuing_name, new_pair, write_pair
from netfw.cli.ca_revoke import root_places
from netfw.cli.config_option import json_option
from netfw.cli.screen import print_json
from netfw.x509.authority import CertificateAuthority, is_pair, load_authority, read_private_key
from netfw.x509.profile import errors, examine
from netfw.x509.reading import certificates_from_pem, common_name, fingerprint, is_self_issued, is_signed_by, not_after

NO_ROOT_KEY = """\
{certificate} is an issuing CA, and the key of the root above it is not here. Either
  bring the root's key:      --root-key /media/safe/ca.root.key
  ask whoever has the root:  netfw ca csr --next, then netfw ca import --next CERTIFICATE
  or make a new root, which all clients must then be given:  --new-root"""


@click.command("rotate", short_help="Make the next CA, and switch to it later.")
@places_options
@click.option("--switch", is_flag=True, help="Make the next CA the current one.")
@click.option("--name", help="The next CA's name. Default: with this host and the date.")
@click.option("--days", type=click.IntRange(1, 7300), help=f"Its life. Default: {DAYS}, below a root {ISSUING_DAYS}.")
@click.option("--root-certificate", type=FILE, help="The root's certificate. Default: ca.root.pem beside ca.pem.")
@click.option("--root-key", type=FILE, help="The root's key. Default: ca.root.key beside ca.key.")
@click.option("--new-root", is_flag=True, help="Below a root: make a new root as well.")
@click.option("--force", is_flag=True, help="Replace a next CA that is there already; a copy is kept.")
@json_option
def rotate_command(
    places: Places,
    switch: bool,
    name: str | None,
    days: int | None,
    root_certificate: Path | None,
    root_key: Path | None,
    new_root: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Go to another CA without a gap: first make it, then let clients trust it, then switch.

    \b
    1. Make it beside the current one:         netfw ca rotate
    2. Give clients both (takes weeks):        netfw ca export --bundle -o bundle.pem
    3. Is it in order?                         netfw ca check --next
    4. Switch, and tell the proxy:             netfw ca rotate --switch && netfw reload
    5. When all proxies run with the new one:  netfw ca revoke --previous --reason superseded

    The next CA is ca.next.pem and ca.next.key, the one put away ca.previous.pem and ca.previous.key. Below a root that
    clients trust, steps 2 and 5 can be left out: nothing changes for clients.
    """
    if switch:
        if any((name, days, root_certificate, root_key, new_root, force)):
            raise click.UsageError("--switch takes what `netfw ca rotate` made: it goes with no option about making it")
        _switch(places, as_json)
        return
    now = current_time()
    following = places.beside("next")
    current = read_certificates(places.certificate, "there is nothing to rotate; make a CA with `netfw ca init`")
    below = not is_self_issued(current[0])
    targets = [following.certificate, following.private_key]
    next_root = places.beside("root").beside("next")
    if below and new_root:
        targets += [next_root.certificate, next_root.private_key]
    refuse_existing(targets, force=force)
    root = None
    if below and not new_root:
        root = find_root(places, current[0], root_certificate, root_key, now)
    common = next_name(name, "CA", now, common_name(current[-1]))
    password = places.password
    kept = [copy for copy in (keep_copy(path, now) for path in targets) if copy is not None]
    if below and new_root:
        root_pem, root_key_pem = new_pair(common, now, DAYS, password, None)
        write_pair(next_root, root_pem, root_key_pem, force=force, like=places.private_key)
        root = load_authority(root_pem, root_key_pem, now, password)
    if root is not None:
        common = name if name is not None and not new_root else issuing_name(common)
    certificate, key = new_pair(common, now, days or (DAYS if root is None else ISSUING_DAYS), password, root)
    write_pair(following, certificate, key, force=force, like=places.private_key)
    made = certificates_from_pem(certificate)
    distribute = not below or new_root
    if as_json:
        print_json({
            "certificate": str(following.certificate),
            "private_key": str(following.private_key),
            "name": common_name(made[0]),
            "sha256": fingerprint(made[0]),
            "clients_need_it": distribute,
            "kept": [str(path) for path in kept],
        })  # fmt: skip
        return
    for path in kept:
        click.echo(f"kept the old one as {path}")
    click.echo(
        f"made {following.certificate} and {following.private_key} (mode 0600): {common_name(made[0])},"
        f" valid until {not_after(made[0]):%Y-%m-%d}. The proxy still signs with the current one."
    )
    if distribute:
        click.echo("""
Now let clients trust both, and wait until all of them do:
  netfw ca export --bundle -o bundle.pem       the current, the next, and the system's roots in one file
  netfw ca export --only next -o next.pem      the next alone, to be added to a store
Then: netfw ca rotate --switch, and netfw reload.""")
    else:
        click.echo(f"""
Clients trust it already, through {common_name(made[-1])}.
Now: netfw ca rotate --switch, and netfw reload.""")


def find_root(
    places: Places, current: x509.Certificate, certificate: Path | None, key: Path | None, now: datetime
) -> CertificateAuthority:
    """The root above the current CA, ready to sign.

    A ClickException with the ways out when its key is not here, and when the root that is here is another one: clients
    would not trust what that one signs.
    """
    root = root_places(places, certificate, key)
    if not os.path.exists(root.private_key) or not os.path.exists(root.certificate):
        raise click.ClickException(NO_ROOT_KEY.format(certificate=places.certificate))
    authority = load_from(root, now)
    if not is_signed_by(current, authority.certificate):
        raise click.ClickException(f"{root.certificate} did not sign the current CA: clients may not trust it")
    return authority


def next_name(name: str | None, kind: str, now: datetime, current: str) -> str:
    """As `checked_name`, but never the current one's name by default: people tell them apart by it."""
    common = checked_name(name, kind, now)
    return f"{common} {now:%H:%M:%S}" if name is None and common == current else common


def _switch(places: Places, as_json: bool) -> None:
    now = current_time()
    following, previous = places.beside("next"), places.beside("previous")
    kept: list[Path] = []
    if not _is_half_switched(places, following):
        authority = load_from(following, now, "make it with `netfw ca rotate`")
        problems = errors(examine(authority.certificates, authority.private_key, now))
        if read_revoked(places).has_certificate(authority.certificate):
            problems = (*problems, "it is revoked")
        if problems:
            raise click.ClickException("\n".join(f"{following.certificate}: {problem}" for problem in problems))
        pairs = [(places, following, previous)]
        root = places.beside("root")
        if os.path.lexists(root.beside("next").certificate):
            pairs.insert(0, (root, root.beside("next"), root.beside("previous")))
        for current, coming, gone in pairs:
            for path, second in ((current.certificate, gone.certificate), (current.private_key, gone.private_key)):
                if os.path.lexists(path):
                    older = keep_copy(second, now)
                    if older is not None:
                        kept.append(older)
                    _give_name(path, second)
            if os.path.lexists(coming.private_key):
                rename(coming.private_key, current.private_key)
            rename(coming.certificate, current.certificate)
    else:
        rename(following.certificate, places.certificate)
    current_chain = read_certificates(places.certificate)
    if as_json:
        print_json({
            "certificate": str(places.certificate),
            "name": common_name(current_chain[0]),
            "sha256": fingerprint(current_chain[0]),
            "previous": str(previous.certificate),
            "kept": [str(path) for path in kept],
        })  # fmt: skip
        return
    for path in kept:
        click.echo(f"kept an older one as {path}")
    click.echo(f"""\
{places.certificate} is now {common_name(current_chain[0])}; the one before is {previous.certificate}.
Now: netfw reload. New connections get leaves of this one, open ones keep theirs. Clients that trust both notice
nothing.
When every proxy runs with it: netfw ca revoke --previous --reason superseded, remove {previous.private_key},
and take the old one out of the clients' stores.""")


def _is_half_switched(places: Places, following: Places) -> bool:
    """Whether an earlier switch was cut off between its two renames: the key has come, its certificate has not."""
    if os.path.lexists(following.private_key) or not os.path.lexists(following.certificate):
        return False
    pem = read_key(places.private_key)
    key = read_private_key(pem, places.password if b"ENCRYPTED" in pem else None, [])
    return key is not None and is_pair(read_certificates(following.certificate)[0], key)


def _give_name(path: Path, second: Path) -> None:
    """A second name for a file, in place of what has that name."""
    temporary = second.with_name(f".{second.name}.{os.getpid()}")
    try:
        os.link(path, temporary, follow_symlinks=False)
    except OSError as error:
        raise click.ClickException(f"{second} cannot be written: {error.strerror}") from None
    rename(temporary, second)
