"""What outputs prove themselves and hide values with: the key of tokens, and TLS towards log servers.

In this room: files in, a key and contexts out. They are read at the start and by every reload, so a key or a
certificate is changed without a restart. Not here: when that happens (`service.reading_anew`).
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netfw.config.log_model import LogSection, SyslogSection, SyslogTransport
from netfw.telemetry.delivery_secrets import (
    AwsKeys,
    DeliverySecretProblem,
    HttpCredentials,
    read_delivery_secrets,
)
from netfw.telemetry.record_privacy import Tokens, checked_key


class RecordSecretsProblem(Exception):
    """Why they cannot be used; the text begins with the file."""


@dataclass(frozen=True, slots=True)
class RecordSecrets:
    """`key` makes tokens, None where none is asked for; `contexts`: those of outputs over TLS, `delivery`: what outputs
    with a spool log in with, both by their names.
    """

    key: bytes | None = None
    contexts: Mapping[str, ssl.SSLContext] = field(default_factory=dict)
    delivery: Mapping[str, HttpCredentials | AwsKeys | None] = field(default_factory=dict)


def read_record_secrets(section: LogSection, place: Callable[[Path], Path]) -> RecordSecrets:
    """Read them; `place` says where a file is. Raises RecordSecretsProblem."""
    key = None
    if section.hash_key is not None:
        try:
            key = checked_key(place(section.hash_key).read_bytes(), str(section.hash_key))
        except OSError as error:
            raise RecordSecretsProblem(f"{section.hash_key}: cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise RecordSecretsProblem(str(error)) from None
    try:
        delivery = {
            output.name: read_delivery_secrets(output.delivery, place, os.environ)
            for output in section.outputs
            if output.delivery is not None
        }
    except DeliverySecretProblem as problem:
        raise RecordSecretsProblem(str(problem)) from None
    return RecordSecrets(
        key,
        {
            output.name: _context(output.syslog, place)
            for output in section.outputs
            if output.syslog is not None and output.syslog.transport is SyslogTransport.TLS
        },
        delivery,
    )


def _context(section: SyslogSection, place: Callable[[Path], Path]) -> ssl.SSLContext:
    """RFC 5425, section 4.2: the server's certificate is verified, and its name."""
    named = section.ca
    try:
        context = ssl.create_default_context(cafile=None if named is None else str(place(named)))
        if section.certificate is not None and section.private_key is not None:
            named = section.certificate
            # Without a password function OpenSSL would ask on the terminal.
            context.load_cert_chain(place(section.certificate), place(section.private_key), password=lambda: b"")
    except (OSError, ssl.SSLError) as error:
        raise RecordSecretsProblem(f"{named}: cannot be used for {section.shown}: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class CurrentSecrets:
    """Those in force, for the threads of outputs. `renew` belongs to the reactor's thread."""

    def __init__(self, secrets: RecordSecrets) -> None:
        self.tokens = Tokens(secrets.key)
        self._contexts = secrets.contexts
        self._delivery = secrets.delivery

    def renew(self, secrets: RecordSecrets) -> None:
        """From now on these: for the next token, and the next connection."""
        self.tokens.renew(secrets.key)
        self._contexts = secrets.contexts
        self._delivery = secrets.delivery

    def delivery_of(self, name: str) -> Callable[[], Any]:
        """What gives the credentials of the output with this name."""
        return lambda: self._delivery[name]

    def context_of(self, name: str) -> Callable[[], ssl.SSLContext]:
        """What gives the TLS settings of the output with this name."""
        return lambda: self._contexts[name]
