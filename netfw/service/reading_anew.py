"""What a reload reads from the files that a configuration names, in a thread: credentials, and another CA.

Not here: settings and policy (`reloading`), and who uses what is found (`reconfiguration`, `supervisor_service`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from netfw.config.model import Configuration
from netfw.config.preflight import read_authority
from netfw.proxy.credentials import Credentials, read_credentials
from netfw.service.delivery_assembly import load_carriers
from netfw.workers.sealed_files import close_files, places_of
from netfw.x509.authority import CertificateAuthority


@dataclass(frozen=True, slots=True)
class Found:
    """`authority`: the interception CA, None where it is the one in force. `copies`: for workers, by path."""

    credentials: Credentials
    authority: CertificateAuthority | None
    copies: dict[Path, int] = field(default_factory=dict)


def read_anew(configuration: Configuration, former: Credentials, now: float) -> Found:
    """From the files themselves. Raises CredentialsRefused, AuthorityProblem or OSError."""
    credentials = read_credentials(configuration, former=former)
    load_carriers(configuration.log.outputs)
    return Found(credentials, _authority(configuration, credentials, former, now))


def copy_anew(
    configuration: Configuration,
    former: Credentials,
    now: float,
    make_copies: Callable[[Configuration], dict[Path, int]],
) -> Found:
    """From copies, which are what workers will read, whatever becomes of the files meanwhile. Raises the same."""
    copies = make_copies(configuration)
    try:
        credentials = read_credentials(configuration, places_of(copies), former)
        load_carriers(configuration.log.outputs)
        return Found(credentials, _authority(configuration, credentials, former, now), copies)
    except BaseException:
        close_files(copies)
        raise


def _authority(
    configuration: Configuration, credentials: Credentials, former: Credentials, now: float
) -> CertificateAuthority | None:
    """Only when its certificate is another one: the key may be nothing that this user can read by now."""
    if not configuration.tls_intercept.enabled or credentials.marks.get("ca") == former.marks.get("ca"):
        return None
    return read_authority(configuration, now)


def in_thread(reactor: Any, read: Callable[..., Found], *arguments: Any) -> Deferred[Found]:
    """A Deferred of what it gives."""
    return deferToThreadPool(reactor, reactor.getThreadPool(), read, *arguments)
