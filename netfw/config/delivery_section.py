"""`http`, `otlp`, `s3`, `cloudwatch` and `firehose` of an output: a server, batches, and a spool.

Not here: the output around it (`config.output_section`), and reading what secrets are in
(`telemetry.delivery_secrets`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from netfw.config import values
from netfw.config.delivery_model import (
    MIB,
    AwsSection,
    AwsService,
    BatchSection,
    DeliverySection,
    Drop,
    HttpSection,
    OtlpSection,
    SecretSource,
    Signal,
    SpoolSection,
)
from netfw.config.table import Table
from netfw.config.units import parse_duration, parse_size

_AWS = tuple(service.value for service in AwsService)
DELIVERIES = ("http", "otlp", *_AWS)
"""The settings of an output that say where batches go."""
_OTLP_PATHS = {Signal.LOGS: "/v1/logs", Signal.SPANS: "/v1/traces"}
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_OWN = frozenset(
    ["content-type", "content-length", "content-encoding", "host", "connection", "transfer-encoding", "x-batch-id"]
)
_SECRETS = frozenset(["authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "dd-api-key"])
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_TARGETS = {
    AwsService.S3: ("bucket", re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)),
    AwsService.CLOUDWATCH: ("group", re.compile(r"[A-Za-z0-9_/.#-]{1,512}", re.ASCII)),
    AwsService.FIREHOSE: ("stream", re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)),
}
_NAMES = {
    AwsService.S3: ("prefix", re.compile(r"[A-Za-z0-9!_.*'()/=-]{0,512}", re.ASCII)),
    AwsService.CLOUDWATCH: ("stream", re.compile(r"[^:*]{1,400}", re.ASCII)),
}
_REGION = re.compile(r"[a-z]{2,}(?:-[a-z0-9]+)+", re.ASCII)
# What the services take at once; S3's objects are few and large.
_BATCHES = {
    "http": (BatchSection(500, MIB, 5.0), 100_000, 64 * MIB),
    "otlp": (BatchSection(500, MIB, 5.0), 100_000, 64 * MIB),
    "s3": (BatchSection(100_000, 8 * MIB, 60.0), 1_000_000, 256 * MIB),
    "cloudwatch": (BatchSection(1000, 512 * 1024, 5.0), 10_000, 900 * 1024),
    "firehose": (BatchSection(500, MIB, 5.0), 500, 4_000_000),
}
_WAIT = (0.05, 3600.0)
_SMALLEST_BATCH = 64 * 1024
_SPOOLED_BATCHES = 4


def read_delivery(output: Table, directory: Path) -> DeliverySection | None:
    """The section of an output; None when it is none of these."""
    output.may_have(*DELIVERIES, "batch", "spool")
    kind = next((name for name in DELIVERIES if name in output), None)
    if kind is None:
        for key in ("batch", "spool"):
            if key in output:
                output.table(key)
                output.complain(key, f"is for outputs with one of {', '.join(DELIVERIES)}; leave it out")
        return None
    http = otlp = aws = None
    if kind in _AWS:
        aws = _aws(output, AwsService(kind), directory)
    elif kind == "otlp":
        otlp = _otlp(output, directory)
    else:
        http = _http(output, directory)
    batch = _batch(output, kind)
    spool = _spool(output, directory, batch)
    return DeliverySection(spool=spool, batch=batch, http=http, otlp=otlp, aws=aws)


def _http(output: Table, directory: Path) -> HttpSection:
    if not output.is_mapping("http"):
        return HttpSection(output.take("http", _url, "") or "")
    table = output.table("http")
    section = _http_members(table, directory, table.take("url", _url, None), "url")
    table.close()
    return section


def _http_members(table: Table, directory: Path, url: str | None, key: str) -> HttpSection:
    if url is None and not table.has_problem(key):
        table.complain(key, "is missing; write one such as https://collector.example.com/records")
    headers, secrets = _headers(table, directory)
    ca = table.take("ca", values.path(directory), None)
    certificate = table.take("certificate", values.path(directory), None)
    private_key = table.take("private_key", values.path(directory), None)
    compress = table.take("compress", values.boolean, True)
    for given, other in (("certificate", "private_key"), ("private_key", "certificate")):
        if given in table and other not in table:
            table.complain(other, f"is missing; {given} alone proves nothing to the server")
    if url is not None and url.startswith("http:"):
        for name in ("ca", "certificate", "private_key"):
            if name in table:
                table.complain(name, "is for TLS; write https://..., or leave it out")
        if secrets and not _is_loopback(url):
            table.complain("headers", f"{', '.join(secrets)} would be readable on the way; write https://...")
    return HttpSection(url or "", headers, secrets, ca, certificate, private_key, compress)


def _headers(table: Table, directory: Path) -> tuple[dict[str, str], dict[str, SecretSource]]:
    headers: dict[str, str] = {}
    secrets: dict[str, SecretSource] = {}
    if "headers" not in table:
        return headers, secrets
    inner = table.table("headers", wanted="fields and their values")
    for name in inner.names:
        if not _HEADER.fullmatch(name):
            inner.take(name, values.anything)
            inner.complain(name, "is no name of a field (RFC 9110, section 5.1)")
        elif name.lower() in _OWN:
            inner.take(name, values.anything)
            inner.complain(name, "is set by the proxy; leave it out")
        elif inner.is_mapping(name):
            source = _secret(inner.table(name), directory)
            if source is not None:
                secrets[name] = source
        elif name.lower() in _SECRETS:
            inner.take(name, values.anything)
            inner.complain(name, "is a secret: write {file: FILE} or {env: VARIABLE}, not the secret itself")
        else:
            value = inner.take(name, values.text, None)
            if value is not None:
                headers[name] = value
    inner.close()
    return headers, secrets


def _secret(table: Table, directory: Path) -> SecretSource | None:
    file = table.take("file", values.path(directory), None)
    variable = table.take("env", _variable, None)
    if ("file" in table) == ("env" in table):
        table.complain("", "needs one of file: FILE (its first line) and env: VARIABLE")
    table.close()
    return SecretSource(file, variable) if (file is None) != (variable is None) else None


def _otlp(output: Table, directory: Path) -> OtlpSection:
    if not output.is_mapping("otlp"):
        url = output.take("otlp", _url, None)
        return OtlpSection(HttpSection(_signal_url(url, Signal.LOGS)))
    table = output.table("otlp")
    signal = table.take("signal", values.one_of(Signal), Signal.LOGS)
    url = table.take("endpoint", _url, None)
    http = _http_members(table, directory, _signal_url(url, signal) if url else None, "endpoint")
    resource = {}
    if "resource" in table:
        inner = table.table("resource", wanted="attributes and their values")
        for name in inner.names:
            value = inner.take(name, values.text, None)
            if value is not None:
                resource[name] = value
        inner.close()
    table.close()
    return OtlpSection(http, signal, resource)


def _signal_url(url: str | None, signal: Signal) -> str:
    """OTLP's rule: the signal's path is put behind the endpoint, unless it is there."""
    path = _OTLP_PATHS[signal]
    if not url or urlsplit(url).path.rstrip("/").endswith(path):
        return url or ""
    return url.rstrip("/") + path


def _aws(output: Table, service: AwsService, directory: Path) -> AwsSection:
    key, form = _TARGETS[service]
    if find_spec("boto3") is None:
        output.complain(service.value, "needs boto3, which is not installed: Debian's python3-boto3, or netfw[aws]")
    table = output.table(service.value)
    target = table.take(key, _matching(form, key))
    name = None
    if service in _NAMES:
        other, shape = _NAMES[service]
        name = table.take(other, _matching(shape, other), None)
    section = AwsSection(
        service=service,
        target=target or "",
        name=name,
        region=table.take("region", _matching(_REGION, "region"), None),
        endpoint=table.take("endpoint", _url, None),
        credentials=table.take("credentials", values.path(directory), None),
        profile=table.take("profile", values.text, None),
        compress=table.take("compress", values.boolean, True) if service is AwsService.S3 else False,
    )
    if section.region is None and not table.has_problem("region"):
        table.complain("region", "is missing; write one such as eu-central-1")
    table.close()
    return section


def _batch(output: Table, kind: str) -> BatchSection:
    usual, records, size = _BATCHES[kind]
    if "batch" not in output:
        return usual
    table = output.table("batch")
    section = BatchSection(
        records=table.take("records", values.count(1, records), usual.records),
        size=table.take("size", _size(_SMALLEST_BATCH, size), usual.size),
        wait=table.take("wait", _wait, usual.wait),
    )
    table.close()
    return section


def _spool(output: Table, directory: Path, batch: BatchSection) -> SpoolSection:
    usual = SpoolSection(directory)
    if "spool" not in output:
        output.complain("spool", "is missing: name a directory of its own, such as ../var/spool/siem, in which records "
                        "wait for the server")  # fmt: skip
        return usual
    if not output.is_mapping("spool"):
        return SpoolSection(output.take("spool", values.path(directory), directory))
    table = output.table("spool")
    path = table.take("path", values.path(directory))
    size = table.take("size", _size(MIB, 1 << 40), usual.size)
    if size < _SPOOLED_BATCHES * batch.size and not table.has_problem("size"):
        table.complain("size", f"is less than {_SPOOLED_BATCHES} batches of {batch.size} bytes; write a larger one, or "
                       "a smaller batch: {size: ...}")  # fmt: skip
    drop = table.take("drop", values.one_of(Drop), Drop.OLDEST)
    section = SpoolSection(path or directory, size, drop, table.take("sync", values.boolean, True))
    table.close()
    return section


def _url(value: object) -> str:
    text = values.text(value)
    try:
        found = urlsplit(text)
        port = found.port
    except ValueError:
        found, port = urlsplit(""), None
    if found.scheme not in ("http", "https") or not found.hostname or not text.isascii() or " " in text or port == 0:
        raise ValueError(f"{value!r} is no URL of a server; write one such as https://collector.example.com/records")
    if found.username is not None or found.password is not None:
        raise ValueError("has a user or a password in it; write headers: {Authorization: {file: FILE}}")
    if found.fragment:
        raise ValueError(f"{value!r} has a fragment, which no server sees; leave it out")
    return text


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _variable(value: object) -> str:
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        raise ValueError(f"{value!r} is no name of an environment variable")
    return value


def _matching(form: re.Pattern[str], what: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if not isinstance(value, str) or not form.fullmatch(value):
            raise ValueError(f"{value!r} is no {what} as AWS names them")
        return value

    return parse


def _size(smallest: int, largest: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        size = parse_size(value)
        if not smallest <= size <= largest:
            raise ValueError(f"{value!r} is not between {smallest} and {largest} bytes")
        return size

    return parse


def _wait(value: object) -> float:
    seconds = parse_duration(value)
    if not _WAIT[0] <= seconds <= _WAIT[1]:
        raise ValueError(f"{value!r} is not between 50ms and 1h")
    return seconds
