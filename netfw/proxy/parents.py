"""The parent proxies of this proxy while it runs: what they are asked with, and how they do.

In this room: `Parent`, and `ParentSecrets`, what files say about one. Not here: which one an exchange goes through
(`ways`), connecting (`parent_dialing`), asking (`parent_tunnel`).
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from netfw.config.way_model import HealthSection, ParentEntry
from netfw.names.authority import Authority
from netfw.names.host import host_from_text
from netfw.proxy.parent_health import ParentHealth
from netfw.tls.context_files import ContextProblem, contents
from netfw.tls.contexts import upstream_context
from netfw.tls.origin_profiles import OneProfile, OriginProfile
from netfw.tls.upstream import UpstreamTls

_log = Logger()

Counts = dict[tuple[str, ...], int]


@dataclass(frozen=True, slots=True, repr=False)
class ParentSecrets:
    """`authorization`: the value of Proxy-Authorization, None where it is not asked for. `profile`: by what its TLS is
    verified, None without TLS. It has no repr: nothing of it belongs in a log.
    """

    authorization: bytes | None = None
    profile: OriginProfile | None = None


def read_secrets(entry: ParentEntry, place: Callable[[Path], Path]) -> ParentSecrets:
    """Read a parent's files; `place` says where one is. Raises ContextProblem, which never repeats a password."""
    profile = None
    if entry.tls:
        shown = None
        if entry.certificate is not None and entry.private_key is not None:
            shown = (place(entry.certificate), place(entry.private_key))
        trust = [place(path) for path in entry.trust] if entry.trust is not None else None
        profile = OriginProfile(upstream_context(trust, client_certificate=shown))
    authorization = _basic(place(entry.credentials)) if entry.credentials is not None else None
    return ParentSecrets(authorization, profile)


def _basic(path: Path) -> bytes:
    """RFC 7617: the name has no colon, the password may; UTF-8."""
    lines = contents(path).splitlines()
    pair = lines[0].strip() if lines else b""
    name, colon, password = pair.partition(b":")
    if not colon or not name or not password:
        raise ContextProblem(f"{path}: its first line is not name:password")
    if any(octet < 0x20 or octet == 0x7F for octet in pair):
        raise ContextProblem(f"{path}: there are control characters in its first line")
    return b"Basic " + base64.b64encode(pair)


class Parent:
    """One parent proxy. `results` counts what came of connections to it, by its name and ok or a token of RFC 9209."""

    def __init__(
        self,
        entry: ParentEntry,
        secrets: ParentSecrets,
        health: HealthSection,
        *,
        seconds: Callable[[], float],
        results: Counts,
    ) -> None:
        self.entry = entry
        self.name = entry.name
        self.authority = Authority(host_from_text(entry.host), entry.port)
        self.authorization = secrets.authorization
        self.tls = UpstreamTls(OneProfile(secrets.profile)) if secrets.profile is not None else None
        self.health = ParentHealth(health, seconds, self._turned)
        self._results = results

    def failed(self, token: str, problem: str) -> None:
        """A connection to it was not made, or it could not be asked."""
        self._count(token)
        self.health.failed(problem)

    def reached(self) -> None:
        """A connection to it was made; what it says to a request is yet to come."""
        self._count("ok")

    def worked(self) -> None:
        """It is there, and takes what it is asked with."""
        self._count("ok")
        self.health.worked()

    def _count(self, result: str) -> None:
        key = (self.name, result)
        self._results[key] = self._results.get(key, 0) + 1

    def _turned(self, up: bool, why: str) -> None:
        if up:
            _log.info("parent proxy {name} is up", name=self.name)
        else:
            _log.warn("parent proxy {name} is down: {why}", name=self.name, why=why)

    def row(self, seconds: float) -> dict[str, Any]:
        """As the status shows it; `seconds` is now by the health's clock."""
        scheme = "https" if self.entry.tls else "http"
        return {
            "name": self.name,
            "url": f"{scheme}://{self.authority}",
            "state": "up" if self.health.is_up else "down",
            "for_seconds": int(seconds - self.health.since),
            "problem": self.health.problem,
        }
