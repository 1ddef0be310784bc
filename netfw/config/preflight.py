"""Everything that is checked before a start, at once: `netfw check` and `twistd netfwproxy` both come here.

In this room: the configuration, the policy, the interception CA and the listeners' certificates together, so that all
problems of all of them are told in one go. Nothing is bound, connected or written.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from netfw.config.errors import ConfigErrors, Problem
from netfw.config.files import exposed
from netfw.config.load import load_config
from netfw.config.model import Configuration
from netfw.config.own_addresses import address_problems
from netfw.config.policy_files import read_policy
from netfw.policy.compile import compile_policy
from netfw.policy.model import PolicyConfiguration
from netfw.x509.authority import AuthorityProblem, CertificateAuthority, load_authority


@dataclass(frozen=True, slots=True)
class Preflight:
    """A configuration and a policy that a start can use."""

    configuration: Configuration
    policy: PolicyConfiguration


def policy_of_files(configuration: Configuration) -> PolicyConfiguration:
    """Return the policy of a configuration that names files. Raises ConfigErrors."""
    return read_policy(configuration.policy)


def preflight(
    path: Path | str, now: float, read: Callable[[Configuration], PolicyConfiguration] = policy_of_files
) -> Preflight:
    """Return what a start would use; `now`: seconds since the epoch. Raises ConfigErrors with all files' problems.

    `read` reads the policy, from wherever the configuration says that it is.
    """
    configuration = load_config(path)
    problems: list[Problem] = []
    policy = None
    try:
        policy = read(configuration)
        compile_policy(policy, 0, now)
    except ConfigErrors as errors:
        problems += errors.problems
    problems += _certificate_problems(configuration)
    problems += address_problems(configuration)
    problems += _authority_problems(configuration, now)
    if problems or policy is None:
        raise ConfigErrors(problems)
    return Preflight(configuration, policy)


def _certificate_problems(configuration: Configuration) -> list[Problem]:
    pairs = {
        f"listeners[{position}]": (listener.certificate, listener.private_key)
        for position, listener in enumerate(configuration.listeners)
    }
    pairs["admin"] = (configuration.admin.certificate, configuration.admin.private_key)
    problems = []
    for place, (certificate, private_key) in pairs.items():
        if certificate is None or private_key is None:
            continue
        message = pair_problem(certificate, private_key)
        if message is not None:
            problems.append(Problem(f"{place}.certificate", message, source=str(configuration.path)))
    return problems


def _authority_problems(configuration: Configuration, now: float) -> list[Problem]:
    if not configuration.tls_intercept.enabled:
        return []
    try:
        read_authority(configuration, now)
    except AuthorityProblem as error:
        source = str(configuration.path)
        return [Problem("tls_intercept.ca", problem, source=source) for problem in error.problems]
    return []


def read_authority(configuration: Configuration, now: float) -> CertificateAuthority:
    """Return the interception CA, which must be configured. Raises AuthorityProblem."""
    intercept = configuration.tls_intercept
    assert intercept.ca_certificate is not None and intercept.ca_private_key is not None
    try:
        certificate, key = intercept.ca_certificate.read_bytes(), intercept.ca_private_key.read_bytes()
    except OSError as error:
        raise AuthorityProblem((f"{error.filename} cannot be read: {error.strerror}",)) from None
    password = read_password(intercept.ca_password_file) if intercept.ca_password_file is not None else None
    return load_authority(certificate, key, datetime.fromtimestamp(now, UTC), password)


def read_password(path: Path) -> bytes:
    """Return the first line of a file that must be its owner's alone. Raises AuthorityProblem."""
    message = exposed(path, what="a password")
    if message is not None:
        raise AuthorityProblem((message,))
    lines = path.read_bytes().splitlines()
    if not lines or not lines[0]:
        raise AuthorityProblem((f"{path} has no password in its first line",))
    return lines[0]


def pair_problem(certificate: Path, private_key: Path) -> str | None:
    """Return why OpenSSL would not serve with these two PEM files, or None."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without a password function OpenSSL would ask on the terminal.
        context.load_cert_chain(certificate, private_key, password=lambda: b"")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return f"{certificate} was not made for the key in {private_key}"
        return f"{certificate} and {private_key} are not a PEM certificate and its key without a password ({error})"
    except OSError as error:
        return f"{certificate} and {private_key} cannot be read: {error.strerror}"
    return None
