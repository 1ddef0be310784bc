"""The files of the interception CA: where they are, how they are read, and how they are written.

In this room: the places of the current CA and of what lies beside it (the next, the previous, the root, the list of
what is revoked), and writing that is atomic, never through a link, and never over a file unless told so. Not here:
what is in the files (`netfw.x509`).
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from cryptography import x509

from netfw.cli.config_option import config_option, find_config
from netfw.cli.env import find_proxy
from netfw.config.errors import ConfigErrors, Problem
from netfw.config.files import exposed, unreadable
from netfw.config.load import load_config
from netfw.config.preflight import read_password
from netfw.kit.setting import SettingError
from netfw.x509.authority import AuthorityProblem, CertificateAuthority, load_authority
from netfw.x509.reading import certificates_from_pem
from netfw.x509.revocation import RevokedList, revoked_list_from_json

# Not `readable`: what cannot be read is not wrong usage, and most verbs need only one of the files.
FILE = click.Path(path_type=Path, readable=False)
PUBLIC, SECRET = 0o644, 0o600


@dataclass(frozen=True, slots=True)
class Places:
    """Where a CA is. `password_file` is set when its key is encrypted; `proxy` is the URL of the one it is for."""

    certificate: Path
    private_key: Path
    password_file: Path | None = None
    proxy: str = "http://127.0.0.1:3128"

    def beside(self, word: str) -> Places:
        """`ca.next.pem` and `ca.next.key` beside `ca.pem` and `ca.key`."""
        return Places(_beside(self.certificate, word), _beside(self.private_key, word), self.password_file)

    @property
    def revoked(self) -> Path:
        """The list of what is revoked."""
        return self.certificate.with_name(f"{self.certificate.stem}.revoked.json")

    @property
    def request(self) -> Path:
        """The certificate signing request."""
        return self.private_key.with_name(f"{self.private_key.stem}.csr")

    @property
    def password(self) -> bytes | None:
        """What encrypts the key, or None."""
        if self.password_file is None:
            return None
        try:
            return read_password(self.password_file)
        except AuthorityProblem as error:
            hint = f"make one: (umask 077; openssl rand -base64 33 > {self.password_file})"
            raise click.ClickException(f"{error}; {hint}") from None


def places_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--config`, `--certificate`, `--private-key` and `--password-file`; the function gets `places: Places`."""

    @config_option
    @click.option("--certificate", type=FILE, help="The CA's certificate. Default: as configured.")
    @click.option("--private-key", type=FILE, help="Its private key. Default: as configured.")
    @click.option("--password-file", type=FILE, help="A file whose first line is the key's password.")
    @functools.wraps(function)
    def with_places(
        *arguments: Any,
        config: Path | None,
        certificate: Path | None,
        private_key: Path | None,
        password_file: Path | None,
        **options: Any,
    ) -> Any:
        return function(*arguments, places=find_places(config, certificate, private_key, password_file), **options)

    return with_places


def find_places(
    config: Path | None, certificate: Path | None, private_key: Path | None, password_file: Path | None
) -> Places:
    """Return where the CA is, from the options or the configuration, whose files need not be there yet."""
    if password_file is not None:
        password_file = password_file.absolute()
    if certificate is not None and private_key is not None:
        return _of_files_only(Places(certificate.absolute(), private_key.absolute(), password_file))
    if certificate is not None or private_key is not None:
        raise click.UsageError("--certificate and --private-key go together: name both or neither")
    configuration = load_config(find_config(config), with_files=False)
    intercept = configuration.tls_intercept
    if intercept.ca_certificate is None or intercept.ca_private_key is None:
        message = "names no CA; write certificate and private_key, or use --certificate and --private-key"
        raise ConfigErrors([Problem("tls_intercept.ca", message, source=str(configuration.path))])
    places = Places(intercept.ca_certificate, intercept.ca_private_key, password_file or intercept.ca_password_file)
    with contextlib.suppress(SettingError):
        places = replace(places, proxy=find_proxy(configuration, None).url)
    return _of_files_only(places)


def _of_files_only(places: Places) -> Places:
    """Refuse an address of a hardware token, instead of making a file of that name."""
    for path in (places.certificate, places.private_key):
        if any(part.lower().startswith("pkcs11:") for part in path.parts):
            raise click.ClickException(
                f"{path.name}: keys in hardware (PKCS#11) are not supported; docs/ca.md says why"
            )
    return places


def read_certificates(path: Path, hint: str = "") -> tuple[x509.Certificate, ...]:
    """Every certificate of a PEM file, at least one."""
    content = read_file(path, hint)
    try:
        found = certificates_from_pem(content)
    except ValueError:
        found = ()
    if not found:
        raise click.ClickException(f"{path} holds no PEM certificate")
    return found


def read_file(path: Path, hint: str = "") -> bytes:
    """What is in it; a ClickException when it cannot be read."""
    message = unreadable(path, hint)
    if message is not None:
        raise click.ClickException(message)
    return path.read_bytes()


def read_key(path: Path, hint: str = "") -> bytes:
    """What is in a private key's file, which must be its owner's alone."""
    message = exposed(path, hint)
    if message is not None:
        raise click.ClickException(message)
    return path.read_bytes()


def load_from(places: Places, now: datetime, hint: str = "") -> CertificateAuthority:
    """The CA that is there, ready to sign."""
    certificate = read_file(places.certificate, hint)
    key = read_key(places.private_key, hint)
    password = places.password if b"ENCRYPTED" in key else None
    try:
        return load_authority(certificate, key, now, password)
    except AuthorityProblem as error:
        raise click.ClickException("\n".join(f"{places.certificate}: {text}" for text in error.problems)) from None


def read_revoked(places: Places) -> RevokedList:
    """The list of what is revoked; an empty one when there is none yet."""
    if not os.path.lexists(places.revoked):
        return RevokedList()
    try:
        return revoked_list_from_json(read_file(places.revoked).decode("utf-8"))
    except ValueError as error:
        # Going on without it would trust again what somebody has revoked.
        raise click.ClickException(f"{places.revoked} cannot be understood: {error}") from None


def write_revoked(places: Places, revoked: RevokedList) -> None:
    """Replace the list, atomically."""
    write_file(places.revoked, (revoked.to_json() + "\n").encode(), PUBLIC, force=True, like=places.private_key)


def refuse_existing(paths: list[Path], *, force: bool) -> None:
    """ClickException for the first that is there, unless `force`; before anything is made."""
    for path in paths:
        if os.path.lexists(path) and not force:
            raise click.ClickException(f"{path} exists already and is left alone; --force replaces it and keeps a copy")


def make_directories(paths: list[Path]) -> None:
    """The directories of these files, for their owner alone where they are new."""
    for path in paths:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise click.ClickException(f"{path.parent} cannot be made: {error.strerror}") from None


def write_file(path: Path, content: bytes, mode: int, *, force: bool = False, like: Path | None = None) -> None:
    """Write a whole file or none: a temporary one that has its mode from its first moment, then its name.

    Without `force` an existing file, or link, stays as it is and that is an error. `like`: root gives the new file the
    owner of this one, so that the proxy's own user can go on reading it.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                # A umask may have taken bits away, never added any.
                file.write(content)
                file.flush()
                if like is not None and os.geteuid() == 0 and like.exists():
                    owner = like.stat()
                    os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
                os.fsync(file.fileno())
            if force:
                os.replace(temporary, path)
            else:
                os.link(temporary, path)  # unlike a rename, this fails where there is a file
        finally:
            temporary.unlink(missing_ok=True)
        _sync_directory(path.parent)
    except FileExistsError:
        raise click.ClickException(f"{path} exists already and is left alone; --force replaces it") from None
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}") from None


def keep_copy(path: Path, now: datetime, word: str = "") -> Path | None:
    """Give a file that is there a second name with the date in it, before the first goes to a new one."""
    if not os.path.lexists(path):
        return None
    kept = path.with_name(f"{path.name}.{word}{now:%Y%m%dT%H%M%SZ}")
    try:
        os.link(path, kept, follow_symlinks=False)
    except FileExistsError:
        raise click.ClickException(f"{kept} exists already; wait a second") from None
    except OSError as error:
        raise click.ClickException(f"{kept} cannot be written: {error.strerror}") from None
    return kept


def rename(source: Path, target: Path) -> None:
    """Atomically, over what has that name."""
    try:
        os.replace(source, target)
        _sync_directory(target.parent)
    except OSError as error:
        raise click.ClickException(f"{source} cannot be renamed to {target}: {error.strerror}") from None


def current_time() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def _beside(path: Path, word: str) -> Path:
    return path.with_name(f"{path.stem}.{word}{path.suffix}")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
