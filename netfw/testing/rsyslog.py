"""A real rsyslogd for tests: it takes messages over every transport there is, and writes what came over each to a file.

Debian's packages rsyslog and rsyslog-gnutls. Not here: what messages should be.
"""

from __future__ import annotations

import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from netfw.testing.pki import TestAuthority

_START = 30.0
_TEMPLATE = "%syslogfacility-text% %syslogseverity% %app-name% %procid% %msgid% %msg%\\n"
_CONFIGURATION = """
global(workDirectory="{directory}" maxMessageSize="256k"
       defaultNetstreamDriverCAFile="{directory}/ca.pem" defaultNetstreamDriverCertFile="{directory}/chain.pem"
       defaultNetstreamDriverKeyFile="{directory}/key.pem")
module(load="imtcp" maxSessions="50")
module(load="imudp")
module(load="imptcp")
module(load="imuxsock" sysSock.use="off")
template(name="whole" type="string" string="{template}")
{rulesets}
input(type="imtcp" port="0" listenPortFileName="{directory}/tcp.port" address="127.0.0.1" ruleset="tcp")
input(type="imtcp" port="0" listenPortFileName="{directory}/tls.port" address="127.0.0.1" ruleset="tls"
      streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
input(type="imudp" port="{udp}" address="127.0.0.1" rcvbufSize="4m" ruleset="udp")
input(type="imptcp" path="{directory}/stream.sock" unlink="on" ruleset="unix-stream")
input(type="imuxsock" socket="{directory}/datagram.sock" useSpecialParser="off" parseHostname="on"
      rateLimit.interval="0" ruleset="unix")
"""
_RULESET = 'ruleset(name="{name}") {{ action(type="omfile" file="{directory}/{name}.log" template="whole") }}\n'
TRANSPORTS = ("tcp", "tls", "udp", "unix", "unix-stream")


def rsyslog_program() -> str | None:
    """Where it is; None where it is not installed."""
    return which("rsyslogd", path="/usr/sbin:/usr/bin:/usr/local/sbin")


@dataclass(frozen=True, slots=True)
class Message:
    """One line of what came: `text` is the message itself."""

    facility: str
    severity: int
    app_name: str
    process: str
    msgid: str
    text: str


class Rsyslog:
    """One running rsyslogd with its files in `directory`. A context manager."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        authority = TestAuthority()
        chain, key = authority.issue("127.0.0.1")
        for name, content in (("ca.pem", authority.certificate_pem), ("chain.pem", chain), ("key.pem", key)):
            (directory / name).write_bytes(content)
        self._udp = _free_udp_port()
        rulesets = "".join(_RULESET.format(name=name, directory=directory) for name in TRANSPORTS)
        text = _CONFIGURATION.format(directory=directory, template=_TEMPLATE, rulesets=rulesets, udp=self._udp)
        (directory / "rsyslog.conf").write_text(text)

    def __enter__(self) -> Rsyslog:
        program = rsyslog_program()
        assert program is not None, "rsyslogd is not installed"
        directory = self.directory
        for name in ("tcp.port", "tls.port"):
            (directory / name).unlink(missing_ok=True)
        with open(directory / "output", "ab") as output:
            self._process = subprocess.Popen(
                [program, "-n", "-f", str(directory / "rsyslog.conf"), "-i", str(directory / "pid")],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        needed = [directory / name for name in ("tcp.port", "tls.port", "stream.sock", "datagram.sock")]
        deadline = time.monotonic() + _START
        while not all(path.exists() and (path.suffix != ".port" or path.read_text()) for path in needed):
            said = (directory / "output").read_text(errors="replace")
            assert self._process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    def address(self, transport: str) -> str:
        """What `syslog` of an output is to say."""
        if transport == "udp":
            return f"udp://127.0.0.1:{self._udp}"
        if transport in ("tcp", "tls"):
            return f"{transport}://127.0.0.1:{(self.directory / f'{transport}.port').read_text().strip()}"
        return f"{transport}:{self.directory / ('stream.sock' if transport == 'unix-stream' else 'datagram.sock')}"

    @property
    def ca(self) -> Path:
        """Who signed its certificate."""
        return self.directory / "ca.pem"

    def messages(self, transport: str) -> list[Message]:
        """What came over this transport so far."""
        path = self.directory / f"{transport}.log"
        if not path.exists():
            return []
        found = []
        for line in path.read_text().splitlines():
            facility, severity, app_name, process, msgid, text = line.split(" ", 5)
            found.append(Message(facility, int(severity), app_name, process, msgid, text.lstrip()))
        return found


def _free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
