"""`traceparent` through the proxy: it goes on as it came; well-formed, it is in the record."""

from __future__ import annotations

import json

import pytest

from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_process import ProxyProcess
from netfw.testing.wire_client import WireClient

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
GOOD = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("values", "noted"),
    [([GOOD], True), ([GOOD.upper()], False), (["00-nonsense"], False), ([GOOD, GOOD], False), ([], False)],
)
def test_forwarded_unchanged_and_noted(
    passing: ProxyProcess, origin: HttpOrigin, values: list[str], noted: bool
) -> None:
    """A malformed one, and one that is there twice, are the origin's to judge; the record has none of it."""
    since = len(passing.records())
    path = f"/echo/trace-{len(values)}-{noted}"
    there = f"127.0.0.1:{origin.port}"
    lines = "".join(f"traceparent: {value}\r\n" for value in values)
    with WireClient(passing.port()) as client:
        client.send(f"GET http://{there}{path} HTTP/1.1\r\nHost: {there}\r\ntracestate: a=b\r\n{lines}\r\n".encode())
        response = client.read_response()
    assert response.status == 200
    seen = json.loads(response.body)["fields"]
    assert [value for name, value in seen if name.lower() == "traceparent"] == values
    assert [value for name, value in seen if name.lower() == "tracestate"] == ["a=b"]
    record = passing.wait_for_record(lambda found: (found.get("url") or {}).get("path") == path, since=since)
    assert record.get("traceparent") == (GOOD if noted else None)
