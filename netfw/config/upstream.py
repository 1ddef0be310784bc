"""`upstream`: whom origins' certificates must come from, host by host, and what is shown to origins; proxies above.

PURE but for looking up symbolic links in paths. In this room: the section and its entries. Not here: the
proxies and routes (`config.parents`), whether the files are there (`config.files`) and what is in them
(`tls.context_files`).

There is no setting that takes any certificate. A host that the public roots do not cover gets its own root or its own
key; name, dates and revocation are judged in any case.
"""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path

from netfw.config import values
from netfw.config.model import ClientCertificateEntry, ListenerSection, OriginEntry, UpstreamSection
from netfw.config.parents import read_health, read_proxies, read_routes
from netfw.config.table import Table
from netfw.names.domain_form import parse_domain_form

# As curl writes it (sha256//), and as RFC 7469 and browsers do (sha256/).
_PIN = re.compile(r"sha256//?([A-Za-z0-9+/]{43}=)", re.ASCII)
_HOW = "openssl x509 -in FILE -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64"


def read_upstream(table: Table, directory: Path, listeners: tuple[ListenerSection, ...]) -> UpstreamSection:
    """The section. `trust: system`, a file, or a list of files."""
    path = values.path(directory)
    single = table.take("trust", values.anything, "system")
    if single == "system":
        trust = None
    else:
        trust = table.take_list("trust", path, single=True)
        if table.is_empty_list("trust"):
            table.complain("trust", "trusts nobody; write system, a PEM file or a list of them")
    parents = read_proxies(table, directory, listeners)
    section = UpstreamSection(
        trust=trust,
        minimum_tls=table.take("minimum_tls", _version, "1.2"),
        strict=table.take("strict", values.boolean, False),
        crl_files=table.take_list("crl_files", path, single=True),
        hosts=tuple(_origin(entry, directory) for entry in table.tables("hosts")),
        client_certificates=tuple(_client(entry, directory) for entry in table.tables("client_certificates")),
        proxies=parents,
        routes=read_routes(table, parents, listeners),
        health=read_health(table.table("health")),
    )
    for key, entries in (("hosts", section.hosts), ("client_certificates", section.client_certificates)):
        _check_repeats(table, key, [entry.domain for entry in entries])
    table.close()
    return section


def _origin(table: Table, directory: Path) -> OriginEntry:
    entry = OriginEntry(
        domain=_take_domain(table),
        roots=table.take_list("roots", values.path(directory), single=True),
        pins=table.take_list("pins", _pin, single=True),
    )
    if not any(key in table and not table.is_empty_list(key) for key in ("roots", "pins")):
        table.complain("", "names neither roots nor pins; write roots: FILE.pem, or pins: [sha256/...]")
    table.close()
    return entry


def _client(table: Table, directory: Path) -> ClientCertificateEntry:
    entry = ClientCertificateEntry(
        domain=_take_domain(table),
        certificate=table.take("certificate", values.path(directory)),
        private_key=table.take("private_key", values.path(directory)),
    )
    table.close()
    return entry


def _take_domain(table: Table) -> str:
    return str(table.take("domain", _domain))


def _domain(value: object) -> str:
    return str(parse_domain_form(values.text(value)))


def _version(value: object) -> str:
    # Unquoted it is a number to YAML.
    text = str(value) if isinstance(value, float) else value
    if text not in ("1.2", "1.3"):
        raise ValueError(f"{value!r} is not accepted; write 1.2 or 1.3: older versions are not secure")
    return str(text)


def _pin(value: object) -> str:
    """`sha256/` and the digest of the public key in base 64, as hexadecimal."""
    match = _PIN.fullmatch(value) if isinstance(value, str) else None
    try:
        digest = base64.b64decode(match[1], validate=True) if match is not None else b""
    except binascii.Error:
        digest = b""
    if len(digest) != 32:
        raise ValueError(f"{value!r} is not a pin; write sha256/ and 44 characters, from: {_HOW}")
    return digest.hex()


def _check_repeats(table: Table, key: str, domains: list[str]) -> None:
    """The first entry that fits counts, so a second one for the same domain would never do anything."""
    for position, domain in enumerate(domains):
        if domain is not None and domain in domains[:position]:
            table.complain(f"{key}[{position}].domain", f"{domain} has an entry already; put both into one")
