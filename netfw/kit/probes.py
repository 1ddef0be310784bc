"""How `netfw doctor` tries a tool: the command that opens a tunnel with it, and what its outcome says.

In this room: data and judgement. Not here: running anything, and seeing whether the proxy was asked (`netfw.cli`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

_CERTIFICATE = re.compile(
    r"certificat|self.signed|PKIX|unable to get local issuer|SSLError|SSL_ERROR|verify error|handshake", re.IGNORECASE
)
_NOTE_LENGTH = 120
_CONNECT_OK = 200


class Mark(Enum):
    """One cell of the table."""

    OK = "ok"
    NO = "NO"
    UNTRIED = "-"


@dataclass(frozen=True, slots=True)
class Probe:
    """`arguments` may hold {url}, {proxy}, {authority}, {host} and {script}, a file with `script` in it; `input`, what
    it reads from us, may too.

    `heard` are exit statuses with which the tool says that it has an answer, if a bad one. `advice` is for a tool that
    did not ask the proxy.
    """

    name: str
    program: str
    version: str
    arguments: tuple[str, ...]
    heard: frozenset[int] = frozenset({0})
    script_name: str = ""
    script: str = ""
    input: str = ""
    needs: tuple[str, ...] = ()
    plain: bool = True
    advice: str = "it does not read the variables, or a setting of its own comes first"


@dataclass(frozen=True, slots=True)
class Trial:
    """What happened: the proxy's first answer is None when it was not asked; `exit_status` None when it took too long.

    `seen` is False where nobody could look at what reached the proxy.
    """

    exit_status: int | None
    output: str
    answered: int | None
    asked: bool
    seen: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the tool uses the proxy, whether it trusts what it was shown there, and a word about it."""

    proxy: Mark
    trust: Mark
    note: str


_PYTHON = """\
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(sys.argv[1], timeout=15).read(1)
except urllib.error.HTTPError as error:
    print(error)
"""

_NODE = """\
fetch(process.argv[2], {signal: AbortSignal.timeout(15000)}).then(
  (response) => { console.log(response.status); },
  (error) => { console.log(String(error.cause || error)); process.exitCode = 1; });
"""

_JAVA = """\
import java.net.HttpURLConnection;
import java.net.URI;

public class Probe {
    public static void main(String[] arguments) throws Exception {
        HttpURLConnection connection = (HttpURLConnection) URI.create(arguments[0]).toURL().openConnection();
        connection.setConnectTimeout(15000);
        connection.setReadTimeout(15000);
        System.out.println(connection.getResponseCode());
    }
}
"""

PROBES = (
    Probe("curl", "curl", "--version", ("curl", "-sS", "-o", "/dev/null", "--max-time", "15", "{url}")),
    # 8: the server answered with an error.
    Probe("wget", "wget", "--version", ("wget", "-nv", "-O", "/dev/null", "--tries=1", "--timeout=15", "{url}"),
          frozenset({0, 8})),
    # It says 128 to everything; whether it was the certificate is in its words.
    Probe("git", "git", "--version", ("git", "ls-remote", "{url}"), frozenset({0, 128})),
    Probe("python", "python3", "--version", ("python3", "{script}", "{url}"), script_name="probe.py", script=_PYTHON),
    Probe("node", "node", "--version", ("node", "{script}", "{url}"), script_name="probe.cjs", script=_NODE,
          advice="its fetch heeds the variables from 22.21 and 24.5 on, with NODE_USE_ENV_PROXY=1"),
    Probe("java", "java", "-version", ("java", "-XX:TieredStopAtLevel=1", "{script}", "{url}"),
          script_name="Probe.java", script=_JAVA, needs=("javac",)),
    Probe("openssl", "openssl", "version",
          ("openssl", "s_client", "-proxy", "{proxy}", "-connect", "{authority}", "-servername", "{host}",
           "-verify_return_error", "-brief", "-ign_eof"),
          # A client that leaves without a request looks to the proxy like one that does not take its certificate.
          input="HEAD / HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n", plain=False),
)  # fmt: skip


def judge(probe: Probe, trial: Trial, *, tls: bool) -> Verdict:
    """What a trial says. `tls`: its URL was https://, so that there was something to trust."""
    note = _last_line(trial.output)
    if trial.exit_status is None:
        return Verdict(Mark.OK if trial.asked else Mark.NO, Mark.UNTRIED, "took too long")
    if trial.seen and not trial.asked:
        return Verdict(Mark.NO, Mark.UNTRIED, probe.advice)
    proxy = Mark.OK if trial.seen else Mark.UNTRIED
    if tls and trial.seen and trial.answered != _CONNECT_OK:
        return Verdict(proxy, Mark.UNTRIED, f"the proxy answered {trial.answered or 'nothing'}")
    heard = trial.exit_status in probe.heard
    if trial.exit_status != 0 and _CERTIFICATE.search(trial.output):
        heard = False
    if not tls:
        answer = f"the proxy answered {trial.answered or 'nothing'}" if trial.answered != _CONNECT_OK else ""
        return Verdict(proxy, Mark.UNTRIED, answer if trial.seen else "")
    return Verdict(proxy, Mark.OK, "") if heard else Verdict(proxy, Mark.NO, note)


def _last_line(output: str) -> str:
    """The last line that says something; JVMs and shells print their own round it."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith("Picked up ")]
    told = [line for line in lines if _CERTIFICATE.search(line)] or lines
    text = "".join(character if character.isprintable() else " " for character in (told[-1] if told else ""))
    return text[:_NOTE_LENGTH]
