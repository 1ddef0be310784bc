"""What is between a spool and a server: how one batch is carried there, and what may come of it.

Whoever carries runs on the output's own thread and may block, with time-outs of its own. It tells nothing that somebody
could log in with: reasons are words of `REASONS`, details never hold a header. Not here: retries, pauses and counts
(`spooled_destination`), and the servers (`http_carrier`, `aws_carriers`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

REASONS = (
    "unreachable",
    "timeout",
    "tls",
    "busy",
    "credentials",
    "not_found",
    "refused",
    "too_large",
    "failed",
    "disk",
)
"""Why a batch, or a record, did not arrive: labels of metrics."""
JSON_LINES = "application/x-ndjson"
TEXT_LINES = "text/plain; charset=utf-8"
"""What a batch is to whoever asks for its type."""


@dataclass(frozen=True, slots=True)
class Carried:
    """The server took the batch but for these: positions `again` can be sent again, `refused` records never arrive.

    `detail` says why, in the server's words.
    """

    refused: int = 0
    again: tuple[int, ...] = ()
    reason: str = "refused"
    detail: str = ""


class NotCarried(Exception):
    """Nothing arrived for certain; the same batch can be carried again.

    Args:
        reason: a word of `REASONS`.
        detail: for people.
        retry_after: the seconds that the server asked to wait, None where it did not.
    """

    def __init__(self, reason: str, detail: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.retry_after = retry_after


class TooLarge(Exception):
    """The server takes fewer records at once; one alone that is too large never arrives."""


class Stopping(Exception):
    """The proxy ends; what becomes of the batch is unknown, and it stays in the spool."""


class Carrier(Protocol):
    """One server, or one place of a service."""

    shown: str

    def carry(self, records: list[bytes], identity: str) -> Carried:
        """Send these lines. `identity` names them, the same each time. Raises NotCarried, TooLarge, Stopping."""

    def renew(self) -> None:
        """Begin anew with the next batch: other credentials, another connection."""

    def stop(self) -> None:
        """Let `carry` end soon, with Stopping, in whatever thread it runs."""
