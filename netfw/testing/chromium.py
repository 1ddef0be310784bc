"""Chromium driven over its debugging pipe: what a headless one cannot do from its command line, a proxy's password.

In this room: one browser with one page, its answers to a proxy that asks who it is, and the page's text. Not here: what
its command line can say (`client_programs`). The pipe carries JSON with a zero byte behind each message.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from select import select
from time import monotonic
from typing import Any, Self

from netfw.testing.client_programs import Setting, chromium_command

SECONDS = 60.0


class Chromium:
    """A context manager. `user` and `password` are what a proxy is told that asks, once; `asked` counts how often."""

    def __init__(self, setting: Setting, environment: dict[str, str], *, user: str, password: str) -> None:
        self._command, more = chromium_command(setting)
        self._environment = {**environment, **more}
        self._credentials = {"response": "ProvideCredentials", "username": user, "password": password}
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.asked = 0

    def __enter__(self) -> Self:
        # It reads commands from descriptor 3 and writes to 4; a shell puts ours there.
        (their_read, our_write), (our_read, their_write) = os.pipe(), os.pipe()
        self._write, self._read = our_write, our_read
        shell = f'exec "$@" 3<&{their_read} 4>&{their_write}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "chromium", *self._command, "--remote-debugging-pipe", "about:blank"],
            env=self._environment, pass_fds=(their_read, their_write), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(their_read)
        os.close(their_write)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._write)  # the browser ends with its pipe
        os.close(self._read)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def fetch(self, url: str) -> str:
        """The text of the page, when it is loaded."""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._ask("Page.enable")
        self._ask("Fetch.enable", handleAuthRequests=True)
        self._ask("Page.navigate", url=url)
        with self._deadline() as left:
            while self._next(left)["method"] != "Page.loadEventFired":
                pass
        found = self._ask("Runtime.evaluate", expression="document.documentElement.innerText")
        self._session = None
        text: str = found["result"]["value"]
        return text

    @contextmanager
    def _deadline(self) -> Iterator[Callable[[], float]]:
        end = monotonic() + SECONDS
        yield lambda: end - monotonic()

    def _send(self, method: str, **parameters: Any) -> int:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        return self._number

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = self._send(method, **parameters)
        with self._deadline() as left:
            while True:
                message = self._next(left)
                if message.get("id") == number:
                    assert "error" not in message, message
                    answer: dict[str, Any] = message["result"]
                    return answer

    def _next(self, left: Callable[[], float]) -> dict[str, Any]:
        """The next message; what the browser asks us meanwhile is answered."""
        while b"\0" not in self._buffer:
            readable, _, _ = select([self._read], [], [], max(left(), 0))
            data = os.read(self._read, 1 << 16) if readable else b""
            assert data, "the browser says nothing any more"
            self._buffer += data
        raw, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(raw)
        message.setdefault("method", "")
        parameters = message.get("params", {})
        if message["method"] == "Fetch.requestPaused":
            self._send("Fetch.continueRequest", requestId=parameters["requestId"])
        elif message["method"] == "Fetch.authRequired":
            self.asked += 1
            answer = {"response": "CancelAuth"}
            if parameters["authChallenge"]["source"] == "Proxy" and self.asked == 1:
                answer = self._credentials
            self._send("Fetch.continueWithAuth", requestId=parameters["requestId"], authChallengeResponse=answer)
        return message
