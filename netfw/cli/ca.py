"""`netfw ca`: make and show the CA that signs intercepted names. Not here: how it is made (`netfw.x509.authority`)."""

from __future__ import annotations

import os
import socket
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from netfw.cli.config_option import config_option, find_config, json_option
from netfw.cli.screen import print_facts, print_json
from netfw.config.errors import ConfigErrors, Problem
from netfw.config.files import exposed, unreadable
from netfw.config.load import load_config
from netfw.x509.authority import AuthorityProblem, create_root, load_authority
from netfw.x509.reading import certificates_from_pem, fingerprint, not_after, not_before

# mitmproxy's CA lives ten years too: replacing it means touching every client.
DAYS = 3650
COMMON_NAME_LIMIT = 64
FILE = click.Path(path_type=Path)


@click.group("ca")
def ca_command() -> None:
    """Make and show the CA that signs intercepted names.

    To open TLS, the proxy shows clients a certificate that it signs itself. Clients must trust its CA, and nobody but
    the proxy may have the CA's key: whoever has it can pass for every site towards those clients.
    """


@ca_command.command("init")
@config_option
@click.option("--certificate", type=FILE, help="Where the certificate goes. Default: as configured.")
@click.option("--private-key", type=FILE, help="Where the key goes. Default: as configured.")
@click.option("--name", help="The CA's name, as people see it in trust stores. Default: with this host and the date.")
@click.option("--days", type=click.IntRange(1, 7300), default=DAYS, show_default=True, help="How long it is valid.")
@click.option("--force", is_flag=True, help="Replace an existing CA; the old files are kept beside the new ones.")
def init_command(
    config: Path | None,
    certificate: Path | None,
    private_key: Path | None,
    name: str | None,
    days: int,
    force: bool,
) -> None:
    """Make a CA: a P-256 key (mode 0600) and its certificate.

    \b
    Where the configuration says:       netfw ca init --config etc/proxy.yaml
    Anywhere:                           netfw ca init --certificate ca.pem --private-key ca.key

    An existing CA is left alone, unless --force: clients trust it, and would not trust another.
    """
    certificate, private_key = _places(config, certificate, private_key)
    now = time.time()
    for path in (certificate, private_key):
        if os.path.lexists(path) and not force:
            raise click.ClickException(f"{path} exists already and is left alone; --force replaces it and keeps a copy")
    today = datetime.fromtimestamp(now, UTC)
    common_name = name or f"netfw CA {socket.gethostname()[:36]} {today:%Y-%m-%d}"
    if not 1 <= len(common_name) <= COMMON_NAME_LIMIT or not common_name.isprintable():
        raise click.BadParameter(f"must be 1 to {COMMON_NAME_LIMIT} printable characters", param_hint="--name")
    certificate_pem, key_pem = create_root(common_name, today, days)
    kept = [_move_aside(path, today) for path in (certificate, private_key) if os.path.lexists(path)]
    try:
        for path in (private_key, certificate):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _create(private_key, key_pem, 0o600)
        _create(certificate, certificate_pem, 0o644)
    except OSError as error:
        raise click.ClickException(f"{error.filename} cannot be written: {error.strerror}") from None
    for path in kept:
        click.echo(f"kept the old one as {path}")
    click.echo(f"made {certificate} and {private_key} (mode 0600): {common_name}, valid until {_end(certificate_pem)}")
    click.echo(f"""
Let clients trust it, for example:
  curl --cacert {certificate} -x http://127.0.0.1:3128 https://example.com/
  export SSL_CERT_FILE={certificate} REQUESTS_CA_BUNDLE={certificate} NODE_EXTRA_CA_CERTS={certificate}
  cp {certificate} /usr/local/share/ca-certificates/netfw.crt && update-ca-certificates""")


@ca_command.command("show")
@config_option
@click.option("--certificate", type=FILE, help="Another certificate than the configured one.")
@click.option("--pem", is_flag=True, help="Print only the certificate itself, to be given to clients.")
@json_option
def show_command(config: Path | None, certificate: Path | None, pem: bool, as_json: bool) -> None:
    """Show the CA's name, fingerprint and dates, and whether the proxy can use it.

    \b
    Compare the fingerprint with what a client trusts:
      openssl x509 -noout -fingerprint -sha256 -in ca.pem
    """
    private_key = None
    if certificate is None:
        certificate, private_key = _places(config, None, None)
    message = unreadable(certificate, "make a CA with `netfw ca init`")
    if message is not None:
        raise click.ClickException(message)
    content = certificate.read_bytes()
    try:
        found = certificates_from_pem(content)
    except ValueError:
        found = ()
    if not found:
        raise click.ClickException(f"{certificate} holds no PEM certificate")
    if pem:
        click.echo(content.decode("ascii", "replace"), nl=False)
        return
    problems = _problems(content, private_key) if private_key is not None else []
    facts = [
        ("certificate", str(certificate)),
        ("private key", str(private_key) if private_key is not None else "not asked for"),
        ("name", found[0].subject.rfc4514_string()),
        ("valid from", f"{not_before(found[0]):%Y-%m-%d %H:%M} UTC"),
        ("valid until", f"{not_after(found[0]):%Y-%m-%d %H:%M} UTC"),
        ("SHA-256", ":".join(f"{byte:02X}" for byte in bytes.fromhex(fingerprint(found[0])))),
    ]
    if as_json:
        print_json({**dict(facts), "problems": problems})
    else:
        print_facts("interception CA", [*facts, *(("problem", problem) for problem in problems)])
    if problems:
        sys.exit(1)


def _places(config: Path | None, certificate: Path | None, private_key: Path | None) -> tuple[Path, Path]:
    """Return where certificate and key are, from the options or the configuration."""
    if certificate is not None and private_key is not None:
        return certificate.absolute(), private_key.absolute()
    if certificate is not None or private_key is not None:
        raise click.UsageError("--certificate and --private-key go together: name both or neither")
    # The files need not be there yet, nor the rules.
    configuration = load_config(find_config(config), with_files=False)
    intercept = configuration.tls_intercept
    if intercept.ca_certificate is None or intercept.ca_private_key is None:
        message = "names no CA; write certificate and private_key, or use --certificate and --private-key"
        raise ConfigErrors([Problem("tls_intercept.ca", message, source=str(configuration.path))])
    return intercept.ca_certificate, intercept.ca_private_key


def _problems(certificate_pem: bytes, private_key: Path) -> list[str]:
    message = exposed(private_key)
    if message is not None:
        return [message]
    try:
        load_authority(certificate_pem, private_key.read_bytes(), datetime.now(UTC))
    except AuthorityProblem as error:
        return list(error.problems)
    return []


def _create(path: Path, content: bytes, mode: int) -> None:
    """Write a new file that has its mode from its first moment; never an existing one, never through a link."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        # A umask may have taken bits away, never added any.
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _move_aside(path: Path, now: datetime) -> Path:
    kept = path.with_name(f"{path.name}.{now:%Y%m%dT%H%M%SZ}")
    if os.path.lexists(kept):
        raise click.ClickException(f"{kept} exists already; wait a second")
    path.rename(kept)
    return kept


def _end(certificate_pem: bytes) -> str:
    return f"{not_after(certificates_from_pem(certificate_pem)[0]):%Y-%m-%d}"
