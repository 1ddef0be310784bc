"""Which files a configuration names that prove who somebody is: certificates, keys, roots, lists.

All of them are read again by a reload. The key of the interception CA is none of them: it stays where leaves are
signed. Not here: what is in them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from netfw.config.model import Configuration, ListenerSection, LogSection, TlsInterceptSection, UpstreamSection


def credential_files(configuration: Configuration) -> tuple[Path, ...]:
    """Each once. A CRL of the interception CA is among them when it exists now."""
    upstream = configuration.upstream
    found = [*upstream_files(upstream), *parent_files(upstream), *intercept_files(configuration.tls_intercept)]
    found += log_files(configuration.log)
    for listener in configuration.listeners:
        found += listener_files(listener)
    return tuple(dict.fromkeys(found))


def listener_files(section: ListenerSection) -> Iterator[Path]:
    """What one listener shows, and what its clients prove themselves by."""
    for path in (section.certificate, section.private_key, section.client_ca, section.users):
        if path is not None:
            yield path
    yield from section.client_crl_files


def upstream_files(section: UpstreamSection) -> Iterator[Path]:
    """What origins are verified with, and what is shown to them."""
    yield from section.trust or ()
    yield from section.crl_files
    for origin in section.hosts:
        yield from origin.roots
    for entry in section.client_certificates:
        yield entry.certificate
        yield entry.private_key


def parent_files(section: UpstreamSection) -> Iterator[Path]:
    """What parent proxies are verified with, and what is shown to them."""
    for parent in section.proxies:
        yield from parent.trust or ()
        for path in (parent.credentials, parent.certificate, parent.private_key):
            if path is not None:
                yield path


def log_files(section: LogSection) -> Iterator[Path]:
    """What makes tokens of values in records, and what outputs and log servers prove themselves with."""
    if section.hash_key is not None:
        yield section.hash_key
    for output in section.outputs:
        if output.syslog is not None:
            yield from output.syslog.files
        if output.delivery is not None:
            yield from output.delivery.files


def intercept_files(section: TlsInterceptSection) -> Iterator[Path]:
    """What of the interception CA is for everybody to see."""
    if section.enabled and section.ca_certificate is not None:
        yield section.ca_certificate
        crl = ca_crl(section.ca_certificate)
        if os.path.exists(crl):
            yield crl


def ca_crl(certificate: Path) -> Path:
    """Where `netfw ca crl` puts the list of the CA with this certificate: `ca.crl` beside `ca.pem`."""
    return certificate.with_name(f"{certificate.stem}.crl")
