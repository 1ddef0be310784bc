"""Batches to AWS: an object in S3, events in CloudWatch Logs, records in Firehose. Through boto3, which blocks.

boto3 tries nothing again by itself: pauses, order and counts are `spooled_destination`'s. An S3 object is named by its
batch, so one that is sent twice is the same object. Of the service's errors only the code is told; its texts may quote
what was sent. Not here: what stands in a record (`record_printer`).
"""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from time import time
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    ConnectTimeoutError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    SSLError,
)

from netfw.config.delivery_model import AwsSection, AwsService
from netfw.config.log_model import RecordForm
from netfw.telemetry.carrier import JSON_LINES, TEXT_LINES, Carried, NotCarried, Stopping, TooLarge
from netfw.telemetry.delivery_secrets import AwsKeys
from netfw.telemetry.record_fields import JSON_FORMATS
from netfw.telemetry.record_text import Record, ended_at
from netfw.telemetry.retry_after import retry_after
from netfw.telemetry.w3c_file import w3c_file

_CONNECT = 5
_READ = 20
_CREDENTIALS = frozenset(
    [
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    ]
)
_NOT_FOUND = frozenset(["NoSuchBucket", "ResourceNotFoundException"])
_TOO_LARGE = frozenset(["EntityTooLarge", "RequestEntityTooLarge", "RequestEntityTooLargeException"])
# The batch is at fault, and would be the next time.
_REFUSED = frozenset(["InvalidArgumentException", "InvalidParameterException"])
_PREFIX = "netfw/"
# CloudWatch Logs: 26 bytes are counted for each event, and a batch spans a day at most.
_EVENT = 26
_EVENTS = 1_048_576
_LARGEST_EVENT = 256 * 1024 - _EVENT
_DAY = 24 * 3600 * 1000
_DIGITS = 15
# An event without a text would have the whole batch refused.
_NOTHING = "-"
_LARGEST_RECORD = 1000 * 1024
_RECORDS = 4 * 1024 * 1024


class AwsCarrier:
    """What the three have in common. `keys` gives those in force; None: those that boto3 finds. `form`: what the
    records are, which objects and streams tell.
    """

    def __init__(
        self, section: AwsSection, keys: Callable[[], AwsKeys | None], form: RecordForm = RecordForm()
    ) -> None:
        self.shown = section.shown
        self._section = section
        self._keys = keys
        self._form = form.format
        self._used: AwsKeys | None = None
        self._client: Any = None
        self._stopping = False

    def carry(self, records: list[bytes], identity: str) -> Carried:
        """See `Carrier`."""
        if self._stopping:
            raise Stopping
        keys = self._keys()
        if self._client is None or keys is not self._used:
            self._used, self._client = keys, self._connected(keys)
        try:
            return self._put(self._client, records, identity)
        except ClientError as error:
            return self._answered(error, len(records))
        except BotoCoreError as error:
            reason = _reason(error)
            if reason == "credentials":
                # Else it is kept: making one reads megabytes, and holds up the reactor for as long.
                self._client = None
            raise NotCarried(reason, f"{self.shown}: {type(error).__name__}") from None

    def renew(self) -> None:
        """See `Carrier`."""
        self._client = None

    def stop(self) -> None:
        """See `Carrier`. A call that is under way ends by its own time-outs, or with the process."""
        self._stopping = True

    def _put(self, client: Any, records: list[bytes], identity: str) -> Carried:
        raise NotImplementedError

    def _connected(self, keys: AwsKeys | None) -> Any:
        section = self._section
        given = {} if keys is None else {
            "aws_access_key_id": keys.identifier,
            "aws_secret_access_key": keys.secret,
            "aws_session_token": keys.token,
        }  # fmt: skip
        try:
            session = boto3.session.Session(
                region_name=section.region, profile_name=section.profile if keys is None else None, **given
            )
            return session.client(
                "logs" if section.service is AwsService.CLOUDWATCH else section.service.value,
                endpoint_url=section.endpoint,
                config=Config(
                    connect_timeout=_CONNECT,
                    read_timeout=_READ,
                    retries={"total_max_attempts": 1},
                    # A bucket behind an address has no name of its own in the DNS.
                    s3={"addressing_style": "auto" if section.endpoint is None else "path"},
                ),
            )
        except BotoCoreError as error:
            raise NotCarried("credentials", f"{self.shown}: {type(error).__name__}") from None

    def _answered(self, error: ClientError, count: int) -> Carried:
        code = str(error.response.get("Error", {}).get("Code", ""))
        about = error.response.get("ResponseMetadata", {})
        status = int(about.get("HTTPStatusCode") or 0)
        detail = f"{self.shown} answered {status}: {code}"
        if code in _TOO_LARGE or status == 413:
            raise TooLarge(detail)
        if code in _REFUSED:
            return Carried(refused=count, reason="refused", detail=detail)
        asked = retry_after(str(about.get("HTTPHeaders", {}).get("retry-after", "")).encode(), time())
        if code in _CREDENTIALS or status in (401, 403):
            self._client = None  # credentials that expire are looked for anew
            reason = "credentials"
        elif code in _NOT_FOUND or status == 404:
            reason = "not_found"
        else:
            reason = "busy" if status >= 500 or status == 429 or "Throttl" in code or code == "SlowDown" else "failed"
        raise NotCarried(reason, detail, asked)


class S3Carrier(AwsCarrier):
    """An object for each batch: `PREFIX YEAR/MONTH/DAY/HOUR/BATCH.jsonl.gz`, by when the batch was begun; `.log` where
    its lines are no JSON.
    """

    def _put(self, client: Any, records: list[bytes], identity: str) -> Carried:
        section = self._section
        prefix = _PREFIX if section.name is None else section.name
        began = datetime.fromtimestamp(int(identity[:20]) / 1e9, UTC)
        is_json = self._form in JSON_FORMATS
        body = w3c_file(records) if self._form == "w3c" else b"".join(records)
        key = f"{prefix}{began:%Y/%m/%d/%H}/{identity}.{'jsonl' if is_json else 'log'}"
        kind = JSON_LINES if is_json else TEXT_LINES
        more = {}
        if section.compress:
            key += ".gz"
            body = gzip.compress(body, 5, mtime=0)
            more["ContentEncoding"] = "gzip"
        client.put_object(Bucket=section.target, Key=key, Body=body, ContentType=kind, **more)
        return Carried()


class CloudWatchCarrier(AwsCarrier):
    """Events in a stream of the group, which is made where it is not there; the group has to be."""

    def _put(self, client: Any, records: list[bytes], identity: str) -> Carried:
        began = int(identity[:20]) // 1_000_000
        events = [_event(record, began) for record in records]
        moments = [event["timestamp"] for event in events]
        if (
            sum(len(record) + _EVENT for record in records) > _EVENTS
            or max(map(len, records)) > _LARGEST_EVENT
            or max(moments) - min(moments) >= _DAY
        ):
            raise TooLarge(f"{self.shown}: more than the service takes at once")
        events.sort(key=lambda event: event["timestamp"])
        group, stream = self._section.target, self._section.name or f"netfw-{socket.gethostname()}"
        try:
            answer = client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
        except client.exceptions.ResourceNotFoundException:
            try:
                client.create_log_stream(logGroupName=group, logStreamName=stream)
            except client.exceptions.ResourceAlreadyExistsException:
                pass  # another process of ours was first
            answer = client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
        return _rejected(answer.get("rejectedLogEventsInfo") or {}, len(events))


class FirehoseCarrier(AwsCarrier):
    """Records in a delivery stream; what it had no room for is sent again."""

    def _put(self, client: Any, records: list[bytes], identity: str) -> Carried:
        if sum(map(len, records)) > _RECORDS or max(map(len, records)) > _LARGEST_RECORD:
            raise TooLarge(f"{self.shown}: more than the service takes at once")
        if self._form == "raw":
            records = [record.removesuffix(b"\n") for record in records]
        answer = client.put_record_batch(
            DeliveryStreamName=self._section.target, Records=[{"Data": record} for record in records]
        )
        if not answer.get("FailedPutCount"):
            return Carried()
        results = answer.get("RequestResponses", ())
        again = tuple(position for position, result in enumerate(results) if result.get("ErrorCode"))
        codes = sorted({str(results[position]["ErrorCode"]) for position in again})
        return Carried(again=again, detail=f"{self.shown}: {', '.join(codes)}")


CARRIERS = {
    AwsService.S3: S3Carrier,
    AwsService.CLOUDWATCH: CloudWatchCarrier,
    AwsService.FIREHOSE: FirehoseCarrier,
}


def _event(record: bytes, began: int) -> dict[str, Any]:
    """A line as `with_moment` makes it; whatever else lies in the spool is sent as of when the batch was begun."""
    text = record.rstrip(b"\n").decode("utf-8", "backslashreplace")
    moment, _, behind = text.partition(" ")
    if moment.isascii() and moment.isdigit() and len(moment) <= _DIGITS and behind:
        return {"timestamp": int(moment), "message": behind}
    return {"timestamp": began, "message": text or _NOTHING}


def with_moment(text: str, record: Record) -> bytes:
    """The text behind its time in milliseconds, which CloudWatch Logs wants beside it."""
    return f"{round(ended_at(record) * 1000)} {text}\n".encode("utf-8", "backslashreplace")


def _rejected(found: dict[str, int], count: int) -> Carried:
    """Events that are too old or too new for the group: positions in the order of time."""
    old = max(found.get("tooOldLogEventEndIndex", 0), found.get("expiredLogEventEndIndex", 0))
    new = count - found.get("tooNewLogEventStartIndex", count)
    refused = min(count, max(0, old) + max(0, new))
    return Carried(refused=refused, detail="events were too old or too new" if refused else "")


def _reason(error: BotoCoreError) -> str:
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return "credentials"
    if isinstance(error, ConnectTimeoutError | ReadTimeoutError):
        return "timeout"
    if isinstance(error, SSLError):
        return "tls"
    return "unreachable" if isinstance(error, ConnectionError | HTTPClientError) else "failed"
