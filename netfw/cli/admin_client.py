"""Asking the running proxy: HTTP over its admin socket, or over its loopback port.

Not here: what is answered (`netfw.admin`).
"""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import click

from netfw.config.load import load_config
from netfw.config.model import AdminSection
from netfw.config.places import find_config

ANSWER_SECONDS = 120.0
ANSWER_LIMIT = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """The proxy's answer; `document` is parsed JSON."""

    status: int
    document: Any


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(config: Path | None, method: str, path: str, document: Any = None) -> Answer:
    """Send one request to the proxy that the configuration describes. Raises ClickException when nobody answers.

    `document` is its content, as JSON.
    """
    status, content, place = _exchange(config, method, path, document)
    try:
        return Answer(status, json.loads(content))
    except ValueError:
        raise click.ClickException(f"{place} answers {status} with something that is not JSON") from None


def ask_text(config: Path | None, path: str) -> str:
    """A page that is text; otherwise as `ask`. Another status than 200 is a ClickException too."""
    status, content, place = _exchange(config, "GET", path, None)
    if status != HTTPStatus.OK:
        raise click.ClickException(f"{place} answers {status} to {path}")
    return content.decode("utf-8", "replace")


def _exchange(config: Path | None, method: str, path: str, document: Any) -> tuple[int, bytes, str]:
    """Status, content, and who was asked."""
    configuration = load_config(find_config(config), with_files=False)
    connection, place = _connection(configuration.admin, str(configuration.path))
    try:
        content_out = None if document is None else json.dumps(document).encode()
        connection.request(method, path, content_out, headers={"Accept": "application/json, text/plain"})
        response = connection.getresponse()
        return response.status, response.read(ANSWER_LIMIT + 1), place
    except (FileNotFoundError, ConnectionRefusedError):
        raise click.ClickException(
            f"nobody answers on {place}; is the proxy running? twistd -n netfwproxy --config {configuration.path}"
        ) from None
    except PermissionError:
        raise click.ClickException(f"{place} is not for this user; use the proxy's own user, or root") from None
    except (OSError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise click.ClickException(f"{place} does not answer as the proxy would: {reason}") from None
    finally:
        connection.close()


def _connection(admin: AdminSection, source: str) -> tuple[http.client.HTTPConnection, str]:
    if admin.socket is not None:
        return UnixConnection(admin.socket, ANSWER_SECONDS), str(admin.socket)
    if admin.address is not None and admin.port:
        place = f"{admin.address} port {admin.port}"
        return http.client.HTTPConnection(str(admin.address), admin.port, timeout=ANSWER_SECONDS), place
    raise click.ClickException(f"{source} gives the proxy no admin socket; write admin: {{socket: PATH}}")
