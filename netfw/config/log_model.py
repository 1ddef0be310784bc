"""`log` as data: where records go, what of them, and how long they are kept.

PURE. Times are seconds, sizes bytes, paths absolute. Not here: reading it (`config.log_section`,
`config.output_section`), the rest of the configuration (`config.model`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from netfw.config.delivery_model import DeliverySection

EXCHANGE_TYPES = ("allow", "deny", "alert")
RECORD_TYPES = (*EXCHANGE_TYPES, "audit", "dns")
FACILITIES = (
    ("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp")
    + ("audit", "alert", "clock")
    + tuple(f"local{number}" for number in range(8))
)
"""In the order of RFC 5424, section 6.2.1: the position is the code. The words are those that most programs use."""


class SyslogTransport(Enum):
    """How messages get to a syslog server: RFC 6587, 5425, 5426, or a socket of this machine."""

    TCP = "tcp"
    TLS = "tls"
    UDP = "udp"
    UNIX = "unix"
    UNIX_STREAM = "unix-stream"


@dataclass(frozen=True, slots=True)
class SyslogSection:
    """`host` and `port`, or `path` for a Unix socket. `ca`: who signs the server's certificate, None for the system's
    roots; `server_name`: what stands in it, None for `host`. `certificate` and `private_key` are set together.
    """

    transport: SyslogTransport
    host: str | None = None
    port: int | None = None
    path: Path | None = None
    facility: str = "local0"
    app_name: str = "netfw"
    ca: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    server_name: str | None = None

    @property
    def shown(self) -> str:
        """As the setting is written."""
        if self.path is not None:
            return f"{self.transport.value}:{self.path}"
        host = f"[{self.host}]" if self.host and ":" in self.host else self.host
        return f"{self.transport.value}://{host}:{self.port}"

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it proves itself and the server with."""
        return tuple(path for path in (self.ca, self.certificate, self.private_key) if path is not None)


@dataclass(frozen=True, slots=True)
class RecordForm:
    """What an output gets of records of one type. `fields`: those kept, empty for all; `sample`: the share of records
    that is kept; `treatments`: mask, drop or hash, by field; `delimiter`: between columns, where the format has some.
    """

    format: str = "json"
    fields: tuple[str, ...] = ()
    sample: float = 1.0
    treatments: Mapping[str, str] = field(default_factory=dict)
    delimiter: str = "\t"


@dataclass(frozen=True, slots=True)
class OutputSection:
    """One place where records go: a file, a syslog server, one that gets batches, or standard output where it is none.

    `types`: which records; `forms`: what of them, by type, `RecordForm()` for those that are not there. `queue`: how
    many may wait; `place`: where the file says so.
    """

    name: str
    path: Path | None = None
    syslog: SyslogSection | None = None
    types: tuple[str, ...] = RECORD_TYPES
    forms: Mapping[str, RecordForm] = field(default_factory=dict)
    queue: int = 10_000
    place: str = "log"
    delivery: DeliverySection | None = None

    @property
    def is_stdout(self) -> bool:
        """Records go to standard output."""
        return self.path is None and self.syslog is None and self.delivery is None

    @property
    def is_server(self) -> bool:
        """Records leave for somebody else, and nobody here reads them."""
        return self.syslog is not None or self.delivery is not None

    @property
    def shown(self) -> str:
        """Where it leads, for people."""
        if self.syslog is not None:
            return self.syslog.shown
        if self.delivery is not None:
            return self.delivery.shown
        return "standard output" if self.path is None else str(self.path)

    def form(self, kind: str) -> RecordForm:
        """What it gets of records of this type."""
        return self.forms.get(kind, _AS_IT_IS)

    @property
    def is_untouched(self) -> bool:
        """Every record's line goes out as it was made."""
        return set(self.types) == set(RECORD_TYPES) and all(form == _AS_IT_IS for form in self.forms.values())

    @property
    def is_json(self) -> bool:
        """What comes of exchanges is our own form, so that records can be read from it."""
        return all(self.form(kind).format == "json" for kind in EXCHANGE_TYPES if kind in self.types)

    @property
    def is_whole(self) -> bool:
        """It has every exchange, with all that is recorded of it but what is to be hidden."""
        forms = [self.form(kind) for kind in EXCHANGE_TYPES]
        return (
            self.is_json
            and set(EXCHANGE_TYPES) <= set(self.types)
            and all(form.sample == 1.0 and not form.fields for form in forms)
        )


_AS_IT_IS = RecordForm()


@dataclass(frozen=True, slots=True)
class IndexSection:
    """The index by which `netfw why` finds records. `keep` in seconds, `size` in bytes; the oldest beyond either go."""

    path: Path
    keep: float
    size: int


@dataclass(frozen=True, slots=True)
class RetentionSection:
    """How files of records are kept: begun anew after `rotate` seconds or `size` bytes, `total` bytes at most for each
    output. `keep`: seconds for all types that `types` says nothing of; None: for ever. Looked at `every` so many.
    """

    rotate: float
    size: int | None = None
    total: int | None = None
    keep: float | None = None
    types: Mapping[str, float] = field(default_factory=dict)
    every: float = 30.0

    def of(self, kind: str) -> float | None:
        """How many seconds records of this type are kept."""
        return self.types.get(kind, self.keep)


@dataclass(frozen=True, slots=True)
class LogSection:
    """Where records go. `mask`: names of query parameters, with `*` and `?`, whose values are left out of them, besides
    those that tell a secret by themselves. `index` is None where there is none. `hash_key`: the file of the key that
    makes tokens. `treatments`: what is hidden everywhere. `dns`: answers of the DNS are recorded. `retention`: None
    where somebody else rotates the files.
    """

    outputs: tuple[OutputSection, ...] = (OutputSection("stdout"),)
    mask: tuple[str, ...] = ()
    index: IndexSection | None = None
    hash_key: Path | None = None
    treatments: Mapping[str, str] = field(default_factory=dict)
    dns: bool = False
    retention: RetentionSection | None = None

    @property
    def path(self) -> Path | None:
        """The first output's file; None where it has none."""
        return self.outputs[0].path

    @property
    def takes_dns(self) -> frozenset[str]:
        """The names of outputs that get answers of the DNS."""
        return frozenset(output.name for output in self.outputs if "dns" in output.types)

    @property
    def uses_stdout(self) -> bool:
        """Some output is standard output."""
        return any(output.is_stdout for output in self.outputs)

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that outputs need, as `DeliverySection.variables`."""
        return tuple(
            name for output in self.outputs if output.delivery is not None for name in output.delivery.variables
        )

    @property
    def whole_file(self) -> OutputSection | None:
        """The output that is a file of all records, in our own form."""
        return next((output for output in self.outputs if output.path is not None and output.is_whole), None)

    @property
    def journal(self) -> Path | None:
        """The file that feeds the index where no output is a file of whole records."""
        if self.index is None or self.whole_file is not None:
            return None
        return self.index.path.with_name(f"{self.index.path.name}.journal")

    @property
    def readable(self) -> Path | None:
        """The file in which records are looked for; None where there is none.

        One with all of them if there is one, else the journal, else one that has some: what it lacks is not found.
        """
        whole = self.whole_file
        if whole is not None:
            return whole.path
        if self.journal is not None:
            return self.journal
        return next((output.path for output in self.outputs if output.path is not None and output.is_json), None)

    @property
    def why_unreadable(self) -> str:
        """Where there is nothing to read: which settings make it so."""
        reasons = "; ".join(
            f"{output.shown} has them in the form {self._other_form(output)}"
            if output.path is not None
            else f"records go to {output.shown}"
            for output in self.outputs
        )
        return reasons or "records go nowhere"

    @property
    def why_partial(self) -> str | None:
        """Where what is read lacks records or fields: which settings make it so."""
        if self.whole_file is not None or self.journal is not None or self.readable is None:
            return None
        return (
            f"{self.readable} does not have everything: log settings select types, fields or a sample for it; an index "
            "(log: {index: {path: FILE}}) keeps whole records"
        )

    @staticmethod
    def _other_form(output: OutputSection) -> str:
        found = {output.form(kind).format for kind in EXCHANGE_TYPES if kind in output.types}
        return " and ".join(sorted(found - {"json"})) or "json"
