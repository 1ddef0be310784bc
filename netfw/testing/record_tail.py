"""The records of a running proxy as they come, held to their form: single lines of printable ASCII, one object each.

Here: reading on from where one was. Not here: starting the proxy (`proxy_process`).
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from netfw.testing.proxy_process import ProxyProcess

WAIT = 10.0


class RecordTail:
    """Takes the records of what happened since it was made, or since it was last asked.

    The proxy collects records for a moment: those that it still holds when the tail is made are waited for.
    """

    def __init__(self, proxy: ProxyProcess) -> None:
        self._proxy = proxy
        self._path: Path = proxy.records_path
        proxy.write_records()
        self._at = self._path.stat().st_size if self._path.exists() else 0

    def take(self, count: int, *, timeout: float = WAIT) -> list[dict[str, Any]]:
        """The next `count` records, and AssertionError when fewer come in time or more came with them."""
        deadline = time.monotonic() + timeout
        while True:
            lines = self._new_lines()
            if len(lines) >= count:
                break
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(lines)} of {count} records came: {lines}\n{self._proxy.log[-3000:]}")
            time.sleep(0.01)
        assert len(lines) == count, f"{len(lines)} records for {count}: {lines}"
        self._at += sum(len(line) + 1 for line in lines)
        return [self._checked(line) for line in lines]

    def of_port(self, port: int, *, timeout: float = WAIT) -> dict[str, Any]:
        """The first record of a client at this port; skips what is still coming of those before."""
        deadline = time.monotonic() + timeout
        while True:
            for line in self._new_lines():
                self._at += len(line) + 1
                record = self._checked(line)
                if record["client_src_port"] == port:
                    return record
            if time.monotonic() > deadline:
                raise AssertionError(f"no record of port {port} came:\n{self._proxy.log[-3000:]}")
            time.sleep(0.01)

    def _new_lines(self) -> list[bytes]:
        if not self._path.exists():
            return []
        with open(self._path, "rb") as file:
            file.seek(self._at)
            return file.read().split(b"\n")[:-1]

    @staticmethod
    def _checked(line: bytes) -> dict[str, Any]:
        strange = [byte for byte in line if not 32 <= byte < 127]
        assert not strange, f"a record has the octets {strange}: {line!r}"
        record = json.loads(line)
        assert isinstance(record, dict)
        assert {"id", "kind", "final_action", "event_timestamp", "client_src_ip"} <= set(record), record
        return record
