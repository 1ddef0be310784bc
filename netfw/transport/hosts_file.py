"""The hosts file: names that are answered without the DNS.

In this room: `HostsFile` (reads the file again when it changed) and `parse_hosts` (pure). Not here: localhost, which is
what it is whatever the file says (`resolution`), and who asks first (`resolver`).

hosts(5): an address, then names, `#` begins a comment. Names are brought into the form of `names.host`; a line that
cannot be read is left out, and the log says so once for each version of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from twisted.logger import Logger

from netfw.names.host import Host, HostError, host_from_text

Address = IPv4Address | IPv6Address

MAX_SIZE = 8 * 1024 * 1024
"""Octets. Larger ones are not read: parsing happens in the reactor's thread; lists to block belong into the policy."""

CHECK_INTERVAL = 1.0
"""Seconds between two looks at the file's date."""


class HostsFile:
    """What a hosts file says, kept up to date. A file that does not exist says nothing.

    When the file can no longer be read, what was last read stays in force.
    """

    _log = Logger()

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: Mapping[str, tuple[Address, ...]] = {}
        self._checked: float | None = None
        self._stamp: tuple[int, int, int] | None = None
        self._complained = False

    def addresses(self, host: Host, now: float) -> tuple[Address, ...]:
        """The addresses of a name in the file's order, or none. `now` is any clock's seconds."""
        if self._checked is None or not 0 <= now - self._checked < CHECK_INTERVAL:
            self._checked = now
            self._refresh()
        return self._names.get(host.text, ())

    def _refresh(self) -> None:
        try:
            status = self.path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp == self._stamp:
                return
            if status.st_size > MAX_SIZE:
                self._complain(f"it is larger than {MAX_SIZE} octets")
                return
            with self.path.open("rb") as file:
                data = file.read(MAX_SIZE)
        except FileNotFoundError:
            self._names, self._stamp = {}, None
            return
        except OSError as error:
            self._complain(error.strerror or "unknown error")
            return
        self._stamp, self._complained = stamp, False
        self._names, problems = parse_hosts(data)
        if problems:
            self._log.warn(
                "The hosts file {path} has {count} lines that are left out, the first one: {problem}",
                path=str(self.path),
                count=len(problems),
                problem=problems[0],
            )

    def _complain(self, reason: str) -> None:
        # The next look comes in a second: one line until it can be read again is enough.
        if not self._complained:
            self._complained = True
            self._log.warn("The hosts file {path} cannot be read: {reason}", path=str(self.path), reason=reason)


def parse_hosts(data: bytes) -> tuple[dict[str, tuple[Address, ...]], list[str]]:
    """Read a hosts file: canonical names with their addresses, and a sentence for each thing that was left out."""
    names: dict[str, list[Address]] = {}
    problems: list[str] = []
    for number, raw in enumerate(data.split(b"\n"), 1):
        words = raw.partition(b"#")[0].split()
        if not words:
            continue
        try:
            address = ip_address(words[0].decode("ascii"))
        except ValueError:
            problems.append(f"line {number}: no address at its beginning")
            continue
        if getattr(address, "scope_id", None):
            problems.append(f"line {number}: an address with a zone")
            continue
        for word in words[1:]:
            try:
                host = host_from_text(word.decode("utf-8"))
            except (HostError, UnicodeDecodeError):
                problems.append(f"line {number}: a name that is none")
                continue
            if host.is_address:
                problems.append(f"line {number}: an address in a name's place")
                continue
            known = names.setdefault(host.text, [])
            if address not in known:
                known.append(address)
    return {name: tuple(addresses) for name, addresses in names.items()}, problems
