"""Everything that the proxy proves itself and others with, read from its files at once: all of it, or none.

In this room: files in, contexts and bytes out, with every problem told. It may take a while (roots are thousands of
lines), so a proxy that serves does it in a thread. Not here: who uses them (`service.data_path`), when they are read
again (`service.reading_anew`), and the CA's key (`config.preflight.read_authority`).
"""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from netfw.config.credential_files import (
    ca_crl,
    credential_files,
    intercept_files,
    listener_files,
    log_files,
    parent_files,
    upstream_files,
)
from netfw.config.errors import ConfigErrors, Problem
from netfw.config.model import Configuration, ListenerSection
from netfw.config.users_file import Users, UsersFileProblem, read_users
from netfw.config.way_model import HealthSection
from netfw.proxy.parents import ParentSecrets, read_secrets
from netfw.telemetry.record_secrets import RecordSecrets, RecordSecretsProblem, read_record_secrets
from netfw.tls.context_files import ContextProblem, certificates_of, contents, crls_of
from netfw.tls.contexts import listener_context
from netfw.tls.origin_profiles import OriginProfiles
from netfw.x509.reading import not_after

Place = Callable[[Path], Path]


class CredentialsRefused(Exception):
    """Why they cannot be used: all reasons, in `problems`."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Credentials:
    """`listeners`: a context for each, None where it has no certificate of its own; `users`: who has a password there.
    `parents`: what parent proxies are verified and asked with, by their names.

    `ends`: what expires when, as seconds since the epoch, by what people call it. `marks`: what a part was made of; the
    same mark, the same part. `records`: what outputs of records hide and prove with.
    """

    listeners: tuple[SSL.Context | None, ...]
    users: tuple[Users | None, ...]
    profiles: OriginProfiles
    ca_certificate: bytes | None
    ca_crl: bytes | None
    parents: dict[str, ParentSecrets] = field(default_factory=dict)
    ends: dict[str, float] = field(default_factory=dict)
    marks: dict[str, bytes] = field(default_factory=dict)
    records: RecordSecrets = RecordSecrets()


def same_place(path: Path) -> Path:
    """For who reads the files themselves."""
    return path


def read_credentials(
    configuration: Configuration, place: Place = same_place, former: Credentials | None = None
) -> Credentials:
    """Read all that the configuration names. Raises CredentialsRefused.

    `place`: where a file is. `former`: what a listener keeps whose files were read before privileges were dropped, and
    cannot be read any more.
    """
    problems: list[str] = []
    # Problems name the file of the configuration, not the descriptor that it is read by.
    names = {str(place(path)): str(path) for path in _there(configuration, place)}

    def attempt(read: Callable[..., object], *arguments: object) -> object:
        try:
            return read(*arguments)
        except (ContextProblem, RecordSecretsProblem) as problem:
            where, _, what = str(problem).partition(": ")
            problems.append(f"{names.get(where, where)}: {what}" if what else where)
            return None

    kept = _kept(configuration, place) if former is not None else frozenset()
    listeners = [
        attempt(_listener, section, place) if section.name not in kept or former is None else former.listeners[position]
        for position, section in enumerate(configuration.listeners)
    ]
    users = [
        attempt(_users, section, place) if section.name not in kept or former is None else former.users[position]
        for position, section in enumerate(configuration.listeners)
    ]
    profiles = attempt(OriginProfiles, configuration.upstream, place)
    parents = {entry.name: attempt(read_secrets, entry, place) for entry in configuration.upstream.proxies}
    records = attempt(read_record_secrets, configuration.log, place)
    intercept = configuration.tls_intercept
    pem = crl = None
    if intercept.enabled and intercept.ca_certificate is not None:
        pem = attempt(_checked_pem, place(intercept.ca_certificate))
        list_file = ca_crl(intercept.ca_certificate)
        if list_file in set(intercept_files(intercept)) and str(list_file) in names.values():
            crl = attempt(lambda: crls_of(place(list_file))[0].public_bytes(Encoding.DER))
    problems += [
        f"listener {section.name}: its files cannot be read any more by this user, so other settings need a restart"
        for section in configuration.listeners
        if former is not None
        and section.name in kept
        and not former.marks.get(f"listener {section.name}", b"").endswith(_settings(section))
    ]
    ends = attempt(_ends, configuration, place, kept)
    if problems:
        raise CredentialsRefused(tuple(dict.fromkeys(problems)))
    assert isinstance(profiles, OriginProfiles) and isinstance(ends, dict)
    return Credentials(
        listeners=tuple(context if isinstance(context, SSL.Context) else None for context in listeners),
        users=tuple(found if isinstance(found, dict) else None for found in users),
        profiles=profiles,
        ca_certificate=pem if isinstance(pem, bytes) else None,
        ca_crl=crl if isinstance(crl, bytes) else None,
        parents={name: found for name, found in parents.items() if isinstance(found, ParentSecrets)},
        ends=ends,
        marks=_marks(configuration, place, kept, former),
        records=records if isinstance(records, RecordSecrets) else RecordSecrets(),
    )


def _kept(configuration: Configuration, place: Place) -> frozenset[str]:
    """The listeners whose files are there, and not for us to read."""
    return frozenset(
        section.name
        for section in configuration.listeners
        if any(os.path.exists(place(path)) and not os.access(place(path), os.R_OK) for path in listener_files(section))
    )


def check_credentials(configuration: Configuration) -> None:
    """Raise ConfigErrors with what a start would be refused with."""
    try:
        read_credentials(configuration)
    except CredentialsRefused as refused:
        source = str(configuration.path)
        raise ConfigErrors([Problem("", problem, source=source) for problem in refused.problems]) from None


def _there(configuration: Configuration, place: Place) -> Iterable[Path]:
    """The files that can be read: a list of the CA may come and go while others are read."""
    for path in credential_files(configuration):
        try:
            place(path)
        except KeyError:
            continue
        yield path


def _listener(section: ListenerSection, place: Place) -> SSL.Context | None:
    if section.certificate is None or section.private_key is None:
        return None
    return listener_context(
        place(section.certificate),
        place(section.private_key),
        client_ca=place(section.client_ca) if section.client_ca is not None else None,
        client_crls=[place(path) for path in section.client_crl_files],
        client_required=section.client_required,
    )


def _users(section: ListenerSection, place: Place) -> Users | None:
    if section.users is None:
        return None
    path = place(section.users)
    try:
        return read_users(contents(path).decode("utf-8"))
    except UnicodeDecodeError:
        raise ContextProblem(f"{path}: is not UTF-8 text") from None
    except UsersFileProblem as problem:
        raise ContextProblem(f"{path}: {problem}") from None


def _checked_pem(path: Path) -> bytes:
    certificates_of(path)
    return contents(path)


def _ends(configuration: Configuration, place: Place, kept: frozenset[str]) -> dict[str, float]:
    """The end of what we show to others. A chain ends with the first of its certificates."""
    shown: dict[str, Path] = {}
    intercept = configuration.tls_intercept
    if intercept.enabled and intercept.ca_certificate is not None:
        shown["ca"] = intercept.ca_certificate
    for listener in configuration.listeners:
        if listener.certificate is not None and listener.name not in kept:
            shown[f"listener {listener.name}"] = listener.certificate
    for entry in configuration.upstream.client_certificates:
        shown[f"client certificate for {entry.domain}"] = entry.certificate
    for parent in configuration.upstream.proxies:
        if parent.certificate is not None:
            shown[f"client certificate for the parent proxy {parent.name}"] = parent.certificate
    return {
        name: min(not_after(certificate).timestamp() for certificate in certificates_of(place(path)))
        for name, path in shown.items()
    }


def _marks(
    configuration: Configuration, place: Place, kept: frozenset[str], former: Credentials | None
) -> dict[str, bytes]:
    marks = {}
    for listener in configuration.listeners:
        name = f"listener {listener.name}"
        if listener.name not in kept:
            marks[name] = _mark(listener_files(listener), place) + _settings(listener)
        elif former is not None:
            marks[name] = former.marks.get(name, b"")
    # Not only the files: entries may name others, or pins.
    verifying = replace(configuration.upstream, proxies=(), routes=(), health=HealthSection())
    marks["upstream"] = _mark(upstream_files(configuration.upstream), place) + repr(verifying).encode()
    if configuration.upstream.proxies:
        marks["parents"] = _mark(parent_files(configuration.upstream), place)
        if any(parent.tls and parent.trust is None for parent in configuration.upstream.proxies):
            marks["parents"] += _mark_of_system_roots()
    if configuration.upstream.trust is None:
        marks["upstream"] += _mark_of_system_roots()
    marks["records"] = _mark(log_files(configuration.log), place)
    ca = configuration.tls_intercept.ca_certificate
    if configuration.tls_intercept.enabled and ca is not None:
        marks["ca"] = _mark([ca], place)
    return marks


def _settings(listener: ListenerSection) -> bytes:
    """What of a listener's settings its context and its users are made by, beside what is in the files."""
    return repr([*listener_files(listener), listener.client_required, listener.realm]).encode()


def _mark(paths: Iterable[Path], place: Place) -> bytes:
    made = hashlib.sha256()
    for path in paths:
        made.update(hashlib.sha256(contents(place(path))).digest())
    return made.digest()


def _mark_of_system_roots() -> bytes:
    found = ssl.get_default_verify_paths()
    marks = []
    for path in (found.cafile, found.capath):
        if path is not None and os.path.exists(path):
            facts = os.stat(path)
            marks.append(f"{facts.st_mtime_ns} {facts.st_size} {facts.st_ino}")
    return "\n".join(marks).encode("ascii")
