"""S3, CloudWatch Logs and Firehose on loopback: moto's server in a process of its own, and what arrived there.

For tests; needs boto3 and moto[server]. Here: `AwsCloud`. Not here: killing a service (`relay`, for moto would forget).
"""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3

from netfw.config.delivery_model import AwsService
from netfw.testing.stores import wait_until

REGION = "us-east-2"
TARGETS = {AwsService.S3: "records-1", AwsService.CLOUDWATCH: "/netfw/records", AwsService.FIREHOSE: "to-siem"}
BEHIND = "behind-firehose"
"""The bucket that Firehose writes to."""


class AwsCloud:
    """The services at `port`, with `TARGETS` in them. `log`: the file for what moto says."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self.port = 0

    def __enter__(self) -> AwsCloud:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        with open(self._log, "wb") as file:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
                stdout=file,
                stderr=file,
                env={**os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"},
            )
        try:
            wait_until(self._is_there)
            self._furnish()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def client(self, name: str) -> Any:
        """boto3's for a service, past every relay."""
        return boto3.client(
            name,
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name=REGION,
            aws_access_key_id="a",
            aws_secret_access_key="b",
        )

    def objects(self, bucket: str) -> list[bytes]:
        """The content of all, by their names, without its coding."""
        s3 = self.client("s3")
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        names = sorted(entry["Key"] for page in pages for entry in page.get("Contents", ()))
        found = [s3.get_object(Bucket=bucket, Key=name)["Body"].read() for name in names]
        return [gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body for body in found]

    def arrived(self, service: AwsService) -> list[bytes]:
        """All lines, without their ends."""
        if service is not AwsService.CLOUDWATCH:
            bucket = TARGETS[service] if service is AwsService.S3 else BEHIND
            return [line for body in self.objects(bucket) for line in body.splitlines()]
        pages = self.client("logs").get_paginator("filter_log_events").paginate(logGroupName=TARGETS[service])
        return [event["message"].encode() for page in pages for event in page["events"]]

    def _is_there(self) -> bool:
        assert self._server.poll() is None, self._log.read_text()
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", self.port)) == 0

    def _furnish(self) -> None:
        place = {"LocationConstraint": REGION}
        self.client("s3").create_bucket(Bucket=TARGETS[AwsService.S3], CreateBucketConfiguration=place)
        self.client("s3").create_bucket(Bucket=BEHIND, CreateBucketConfiguration=place)
        self.client("logs").create_log_group(logGroupName=TARGETS[AwsService.CLOUDWATCH])
        self.client("firehose").create_delivery_stream(
            DeliveryStreamName=TARGETS[AwsService.FIREHOSE],
            ExtendedS3DestinationConfiguration={
                "RoleARN": "arn:aws:iam::123456789012:role/r",
                "BucketARN": f"arn:aws:s3:::{BEHIND}",
            },
        )

    def _end(self) -> None:
        self._server.kill()
        self._server.wait()
