"""`netfw ca show` and `netfw ca check`: what the CA is, and all that a client may not like about it."""

from __future__ import annotations

import os
import pwd
import stat
import sys
from datetime import datetime
from pathlib import Path

import click
from cryptography import x509
from rich.table import Table
from rich.text import Text

from netfw.cli.ca_files import FILE, Places, current_time, find_places, places_options, read_certificates, read_revoked
from netfw.cli.config_option import config_option, json_option
from netfw.cli.screen import print_facts, print_json, screen
from netfw.config.files import exposed, unreadable
from netfw.config.preflight import read_password
from netfw.names.host import Host, HostError, host_from_text
from netfw.x509.authority import AuthorityProblem, load_authority, read_private_key
from netfw.x509.name_constraints import refusal
from netfw.x509.profile import Finding, Level, days_left, examine
from netfw.x509.reading import (
    common_name,
    fingerprint,
    is_self_issued,
    key_type,
    not_after,
    not_before,
    path_length,
    subject_key_identifier,
)

HINT = "make a CA with `netfw ca init`"
COLOURS = {Level.ERROR: "red", Level.WARNING: "yellow", Level.NOTE: "default"}


@click.command("show", short_help="Show its name, fingerprint, dates and chain.")
@config_option
@click.option("--certificate", type=FILE, help="Another certificate than the configured one.")
@click.option("--pem", is_flag=True, help="Print only the certificate itself, to be given to clients.")
@json_option
def show_command(config: Path | None, certificate: Path | None, pem: bool, as_json: bool) -> None:
    """Show the CA's name, fingerprint and dates, and whether the proxy can use it.

    \b
    Compare the fingerprint with what a client trusts:
      openssl x509 -noout -fingerprint -sha256 -in ca.pem
    All that clients may not like about it: netfw ca check
    """
    places = None
    if certificate is None:
        places = find_places(config, None, None, None)
        certificate = places.certificate
    found = read_certificates(certificate, HINT)
    if pem:
        click.echo(certificate.read_bytes().decode("ascii", "replace"), nl=False)
        return
    now = current_time()
    problems = _problems(places, now) if places is not None else []
    first = found[0]
    identifier, length = subject_key_identifier(first), path_length(first)
    facts: list[tuple[str, object]] = [
        ("certificate", str(certificate)),
        ("private key", str(places.private_key) if places is not None else "not asked for"),
        ("name", first.subject.rfc4514_string()),
        ("issuer", first.issuer.rfc4514_string()),
        ("valid from", f"{not_before(first):%Y-%m-%d %H:%M} UTC"),
        ("valid until", f"{not_after(first):%Y-%m-%d %H:%M} UTC"),
        ("days left", days_left(found, now)),
        ("SHA-256", _colons(bytes.fromhex(fingerprint(first)))),
        ("SKI", _colons(identifier) if identifier is not None else "none"),
        ("key type", key_type(first)),
        ("path length", length if length is not None else "unbounded"),
    ]
    chain = [common_name(one) for one in found]
    if as_json:
        print_json({**dict(facts), "chain": chain, "problems": problems})
    else:
        facts += [("chain", f"{place}. {name}") for place, name in enumerate(chain, start=1)]
        print_facts("interception CA", [*facts, *(("problem", problem) for problem in problems)])
    if problems:
        sys.exit(1)


@click.command("check", short_help="Find what some client could refuse it for.")
@places_options
@click.option("--next", "for_next", is_flag=True, help="The next CA, which `netfw ca rotate` made.")
@click.option("--days", type=click.IntRange(0, 7300), help="Not in order when fewer days than this are left.")
@click.option("--host", "hosts", multiple=True, help="May this host be signed for (name constraints)? Repeatable.")
@json_option
def check_command(places: Places, for_next: bool, days: int | None, hosts: tuple[str, ...], as_json: bool) -> None:
    """Find everything that some client could refuse the CA for, and who else could read its key.

    \b
    By hand:                       netfw ca check
    From a monitor, every day:     netfw ca check --days 30 --json
    Before a switch:               netfw ca check --next

    Checked: basicConstraints, keyUsage, path lengths, key identifiers, dates, algorithms and key sizes, name
    constraints, the chain's order, whether the key belongs to it, and the files' modes and owners. Warnings come 60, 30
    and 7 days before the end. Errors give exit status 1, warnings do not.
    """
    now = current_time()
    target = places.beside("next") if for_next else places
    wanted = [_host(text) for text in hosts]
    certificates = read_certificates(target.certificate, "make it with `netfw ca rotate`" if for_next else HINT)
    findings = _of_files(target)
    key = None
    problems: list[str] = []
    if unreadable(target.private_key) is None:
        pem = target.private_key.read_bytes()
        password = None
        if target.password_file is not None:
            try:
                password = read_password(target.password_file)
            except AuthorityProblem as error:
                problems += error.problems
        key = read_private_key(pem, password, problems)
    findings += [Finding(Level.ERROR, f"{target.private_key}: {problem}") for problem in problems]
    findings += examine(certificates, key, now)
    findings += _of_revoked(places, certificates)
    root_key = places.beside("root").private_key
    if not is_self_issued(certificates[0]) and os.path.lexists(root_key):
        text = f"{root_key} is on this machine: who breaks in here has the root as well; move it to a safe place"
        findings.append(Finding(Level.NOTE, text))
    findings += _of_hosts(certificates, wanted)
    left = days_left(certificates, now)
    if days is not None and left < days:
        findings.append(Finding(Level.ERROR, f"{left} days are left, and {days} were asked for"))
    in_order = not any(finding.level is Level.ERROR for finding in findings)
    if as_json:
        print_json({
            "certificate": str(target.certificate),
            "name": common_name(certificates[0]),
            "in_order": in_order,
            "days_left": left,
            "findings": [{"level": finding.level.value, "text": finding.text} for finding in findings],
        })  # fmt: skip
    else:
        _print(target, certificates, findings, left)
    if not in_order:
        sys.exit(1)


def _problems(places: Places, now: datetime) -> list[str]:
    message = exposed(places.private_key)
    if message is not None:
        return [message]
    try:
        password = read_password(places.password_file) if places.password_file is not None else None
        load_authority(places.certificate.read_bytes(), places.private_key.read_bytes(), now, password)
    except AuthorityProblem as error:
        return list(error.problems)
    return []


def _of_files(places: Places) -> list[Finding]:
    """Who can read the key, and who could put another file in its place."""
    texts = []
    for path, what in ((places.private_key, "a private key"), (places.password_file, "a password")):
        if path is None:
            continue
        message = exposed(path, what=what)
        if message is not None:
            texts.append(message)
        if os.path.exists(path):
            texts += _of_owner(path, secret=True)
    texts += _of_owner(places.certificate, secret=False)
    for directory in sorted({places.certificate.parent, places.private_key.parent}):
        if not os.path.isdir(directory):
            continue
        mode = stat.S_IMODE(directory.stat().st_mode)
        # The sticky bit lets nobody replace what is not theirs.
        if mode & 0o022 and not mode & stat.S_ISVTX:
            texts.append(f"others may write to {directory} (mode {mode:04o}); run: chmod go-w {directory}")
    return [Finding(Level.ERROR, text) for text in texts]


def _of_owner(path: Path, *, secret: bool) -> list[str]:
    found = path.stat()
    texts = []
    if not secret and stat.S_IMODE(found.st_mode) & 0o022:
        texts.append(f"others may write to {path}; run: chmod go-w {path}")
    mine = os.geteuid()
    # Root checks for the proxy's user; everybody else is that user.
    if mine != 0 and found.st_uid not in (mine, 0):
        texts.append(f"{path} belongs to {_user(found.st_uid)}, who can change it; make it {_user(mine)}'s or root's")
    return texts


def _of_revoked(places: Places, certificates: tuple[x509.Certificate, ...]) -> list[Finding]:
    revoked = read_revoked(places)
    return [
        Finding(Level.ERROR, f"{common_name(one)} is on the list of what is revoked, {places.revoked}")
        for one in certificates
        if revoked.has_certificate(one)
    ]


def _of_hosts(certificates: tuple[x509.Certificate, ...], hosts: list[Host]) -> list[Finding]:
    try:
        refused = [text for host in hosts if (text := refusal(certificates, host)) is not None]
    except ValueError:  # told already
        return []
    return [Finding(Level.ERROR, text) for text in refused]


def _host(text: str) -> Host:
    try:
        return host_from_text(text)
    except HostError as error:
        raise click.BadParameter(f"{text}: {error}", param_hint="--host") from None


def _print(places: Places, certificates: tuple[x509.Certificate, ...], findings: list[Finding], left: int) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    table.add_row("CA", Text(f"{common_name(certificates[0])}, {left} days left ({places.certificate})"))
    for finding in findings:
        table.add_row(Text(finding.level.value, style=COLOURS[finding.level]), Text(finding.text))
    if not any(finding.level is not Level.NOTE for finding in findings):
        table.add_row("in order", Text("constraints, usage, identifiers, dates, algorithms, chain, key, files"))
    screen().print(table)


def _colons(value: bytes) -> str:
    return ":".join(f"{byte:02X}" for byte in value)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
