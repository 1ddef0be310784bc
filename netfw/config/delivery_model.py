"""Servers that records are delivered to in batches, as data: HTTP, OTLP, and AWS services, with a spool each.

PURE. Times are seconds, sizes bytes, paths absolute. Not here: reading it (`config.delivery_section`), and what becomes
of it (`service.delivery_assembly`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from netfw.telemetry.record_values import query_text

MIB = 1 << 20


class Drop(Enum):
    """What goes when the spool is full."""

    OLDEST = "oldest"
    NEWEST = "newest"


class Signal(Enum):
    """Which of OpenTelemetry's signals an output sends."""

    LOGS = "logs"
    SPANS = "spans"


class AwsService(Enum):
    """Which of AWS's services an output sends to."""

    S3 = "s3"
    CLOUDWATCH = "cloudwatch"
    FIREHOSE = "firehose"


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where a secret is: the first line of a file, or an environment variable. One of the two is set."""

    file: Path | None = None
    variable: str | None = None


@dataclass(frozen=True, slots=True)
class HttpSection:
    """`headers` are sent as they are, `secrets` are read first. `ca`: who signs the server's certificate, None for the
    system's roots. `certificate` and `private_key` are set together.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, SecretSource] = field(default_factory=dict)
    ca: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    compress: bool = True

    @property
    def shown(self) -> str:
        """The address for people, without the secrets that some services want in its query."""
        place, mark, query = self.url.partition("?")
        return place + mark + query_text(query.encode("ascii", "replace"))

    @property
    def files(self) -> Iterator[Path]:
        """All that it proves itself and the server with."""
        for path in (self.ca, self.certificate, self.private_key):
            if path is not None:
                yield path
        for source in self.secrets.values():
            if source.file is not None:
                yield source.file


@dataclass(frozen=True, slots=True)
class OtlpSection:
    """`http.url` is the whole address of the signal. `resource`: attributes besides those that are always there."""

    http: HttpSection
    signal: Signal = Signal.LOGS
    resource: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AwsSection:
    """`target`: the bucket, the log group or the delivery stream; `name`: the prefix of keys, or the log stream's name,
    None for one of the proxy's own. `endpoint`: None for the service's. `credentials`: a file as the AWS CLI has it,
    None for what boto3 finds by itself.
    """

    service: AwsService
    target: str
    name: str | None = None
    region: str | None = None
    endpoint: str | None = None
    credentials: Path | None = None
    profile: str | None = None
    compress: bool = True

    @property
    def shown(self) -> str:
        """For people."""
        at = f" at {self.endpoint}" if self.endpoint is not None else ""
        return f"{self.service.value}:{self.target}{at}"


@dataclass(frozen=True, slots=True)
class BatchSection:
    """A batch is sent once it has so many records or bytes, or is `wait` seconds old."""

    records: int = 500
    size: int = MIB
    wait: float = 5.0


@dataclass(frozen=True, slots=True)
class SpoolSection:
    """At most `size` bytes below `path`, of all of the proxy's processes together. `sync`: synchronised to the disk."""

    path: Path
    size: int = 256 * MIB
    drop: Drop = Drop.OLDEST
    sync: bool = True


@dataclass(frozen=True, slots=True)
class DeliverySection:
    """One of `http`, `otlp` and `aws` is set."""

    spool: SpoolSection
    batch: BatchSection = BatchSection()
    http: HttpSection | None = None
    otlp: OtlpSection | None = None
    aws: AwsSection | None = None

    @property
    def posts(self) -> HttpSection | None:
        """The HTTP server that it posts to, None for AWS."""
        return self.otlp.http if self.otlp is not None else self.http

    @property
    def shown(self) -> str:
        """Where it leads, for people."""
        if self.aws is not None:
            return self.aws.shown
        assert self.posts is not None
        return self.posts.shown

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it proves itself and the server with."""
        if self.aws is not None:
            return () if self.aws.credentials is None else (self.aws.credentials,)
        return tuple(self.posts.files) if self.posts is not None else ()

    @property
    def variables(self) -> tuple[str, ...]:
        """Which environment variables it needs; a name with `*` at its end stands for all that begin so."""
        if self.aws is not None:
            return ("AWS_*", "HOME")
        found = self.posts.secrets.values() if self.posts is not None else ()
        return tuple(source.variable for source in found if source.variable is not None)
