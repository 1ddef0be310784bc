"""Runs the examples of a documentation page as a reader would: files are written, commands typed, output compared.

    python -m netfw.testing.small_internet -- python -m netfw.testing.examples docs/quickstart.md

In this room: reading a page into steps, and carrying them out. What a page has to look like:

* A fenced block with a title (```` ```yaml title="policy.yaml" ````) is that file, where the commands run.
* A block of ```` ```console ```` is a terminal: lines that begin with `$ ` are typed into one shell, what stands below
  each of them is what it prints. `…` is any text within a line; a line that is nothing else is any number of lines.
  A command without output below it, or with nothing but such a line, has to succeed, and may print what it likes.
* `<!-- examples: new directory -->` begins anew, in an empty directory and a new shell. What still runs is ended.
  `<!-- examples: in a clone -->` does, in a directory with what a fresh clone has for its reader: the files in etc/.
  `<!-- examples: beside a running proxy -->` does, with these, the CA of the proxy as netfw-ca.pem, and the proxy of
  etc/proxy.yaml, which is reached as http://egress:3128.

Everything else of a page is for people. Exit status 0: all as printed; 1: not so, and the first difference is told.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from netfw.testing.page_text import Block, parts

ANY = "…"
NEW_DIRECTORY = "<!-- examples: new directory -->"
IN_A_CLONE = "<!-- examples: in a clone -->"
BESIDE_A_PROXY = "<!-- examples: beside a running proxy -->"
TREE = Path(__file__).resolve().parents[2]
DEADLINE = 120.0
"""Seconds for one command, on a machine that is busy with other things."""
_MARK = "end-of-example"


@dataclass(frozen=True)
class WrittenFile:
    """A file that the page shows."""

    line: int
    name: str
    content: str


@dataclass(frozen=True)
class Command:
    """A line that the page types, and what it says comes of it."""

    line: int
    text: str
    output: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Clone:
    """From here on the directory is a clone of the repository, as far as examples need one; its proxy may run."""

    line: int
    running: bool = False


Step = WrittenFile | Command | Clone


class ExampleError(Exception):
    """What the page says is not so; the text is for its author."""


def sections(page: str) -> list[list[Step]]:
    """The steps of a page, those of each directory by themselves; directories without steps are left out."""
    found: list[list[Step]] = [[]]
    for part in parts(page):
        if not isinstance(part, Block):
            if part[1].strip() == NEW_DIRECTORY:
                found.append([])
            elif part[1].strip() == IN_A_CLONE:
                found.append([Clone(part[0])])
            elif part[1].strip() == BESIDE_A_PROXY:
                found.append([Clone(part[0], running=True)])
        elif part.title is not None:
            found[-1].append(WrittenFile(part.line, part.title, part.text))
        elif part.language == "console":
            found[-1].extend(_commands(part.lines, part.line + 1))
    return [steps for steps in found if steps]


def _commands(block: Sequence[str], first: int) -> list[Command]:
    commands: list[Command] = []
    for number, line in enumerate(block, first):
        if line.startswith("$ "):
            commands.append(Command(number, line[2:]))
        elif commands and commands[-1].text.endswith("\\") and not commands[-1].output:
            commands[-1] = Command(commands[-1].line, f"{commands[-1].text}\n{line}")
        elif commands:
            commands[-1].output.append(line)
        else:
            raise ExampleError(f"line {number}: a terminal that begins with output: {line!r}")
    return commands


def matches(shown: list[str], printed: list[str]) -> bool:
    """Whether this was printed as shown, `…` being anything."""
    pattern = ""
    for line in shown:
        if line.strip() == ANY:
            pattern += r"(?:.*\n)*"
        else:
            pattern += ".*".join(map(re.escape, line.rstrip().split(ANY))) + r" *\n"
    return re.fullmatch(pattern, "".join(f"{line.rstrip()}\n" for line in printed)) is not None


class Terminal:
    """One shell in one directory, with the programs of this interpreter's environment before all others."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "COLUMNS": "120",
        }
        self._shell = subprocess.Popen(
            ["bash", "--norc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd=directory, env=environment, start_new_session=True,
        )  # fmt: skip
        self._selector = selectors.DefaultSelector()
        assert self._shell.stdin is not None and self._shell.stdout is not None
        self._selector.register(self._shell.stdout, selectors.EVENT_READ)
        os.set_blocking(self._shell.stdout.fileno(), False)

    def close(self) -> None:
        """End the shell, and what it left behind."""
        try:
            os.killpg(self._shell.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._shell.communicate()
        self._selector.close()
        _end_daemons(self.directory)

    def type(self, command: str) -> tuple[int, list[str]]:
        """Exit status and what was printed; raises ExampleError where it takes too long."""
        shell = self._shell
        assert shell.stdin is not None and shell.stdout is not None
        # Commands read nothing: what is typed next is not for them.
        shell.stdin.write(f"{{ {command}\n}} </dev/null; printf '\\n{_MARK} %s\\n' $?\n".encode())
        shell.stdin.flush()
        printed = b""
        until = time.monotonic() + DEADLINE
        while (end := re.search(rb"\n%s (\d+)\n$" % _MARK.encode(), printed)) is None:
            if not self._selector.select(max(0.0, until - time.monotonic())):
                raise ExampleError(f"it takes more than {DEADLINE:.0f} seconds; so far:\n{printed.decode()}")
            piece = shell.stdout.read()
            if not piece and shell.poll() is not None:
                raise ExampleError(f"the shell ended:\n{printed.decode()}")
            printed += piece or b""
        return int(end[1]), printed[: end.start()].decode(errors="replace").rstrip("\n").splitlines()


def _end_daemons(directory: Path) -> None:
    """What a page started in the background with a pid file, as `twistd` does."""
    for file in directory.glob("*.pid"):
        pid = int(file.read_text())
        try:
            os.kill(pid, signal.SIGTERM)
            for _ in range(100):
                os.kill(pid, 0)
                time.sleep(0.1)
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def run(steps: list[Step]) -> None:
    """Carry out one directory's steps; raises ExampleError at the first that is not as printed."""
    with tempfile.TemporaryDirectory(prefix="examples-") as name:
        directory = Path(name)
        terminal = Terminal(directory)
        try:
            for step in steps:
                _carry_out(step, terminal)
        finally:
            terminal.close()


def _carry_out(step: Step, terminal: Terminal) -> None:
    if isinstance(step, Clone):
        shutil.copytree(TREE / "etc", terminal.directory / "etc")
        if step.running:
            _start(terminal)
        return
    if isinstance(step, WrittenFile):
        path = terminal.directory / step.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(step.content)
        return
    try:
        status, printed = terminal.type(step.text)
    except ExampleError as error:
        raise ExampleError(f"line {step.line}: $ {step.text}\n{error}") from None
    if all(line.strip() == ANY for line in step.output):
        if status:
            raise ExampleError(f"line {step.line}: $ {step.text}\nfailed with {status}:\n" + "\n".join(printed))
    elif not matches(step.output, printed):
        shown, was = "\n".join(step.output), "\n".join(printed)
        raise ExampleError(f"line {step.line}: $ {step.text}\nis to print:\n{shown}\nbut printed:\n{was}")


def _start(terminal: Terminal) -> None:
    """The proxy of the clone, on every address that this machine has."""
    file = terminal.directory / "etc/proxy.yaml"
    text = file.read_text()
    anywhere = text.replace("    address: 127.0.0.1\n", '    address: 0.0.0.0\n    clients: ["0.0.0.0/0"]\n', 1)
    file.write_text(anywhere.replace("  name: netfw ", "  hostname: egress\n  name: netfw ", 1))
    prepare = "mkdir -p var/log && netfw ca init && cp var/ca/ca.pem netfw-ca.pem"
    status, printed = terminal.type(f"{prepare} && twistd netfwproxy --config etc/proxy.yaml")
    if status:
        raise ExampleError("the proxy does not start:\n" + "\n".join(printed))


def main() -> int:
    """The command line above."""
    for name in sys.argv[1:]:
        page = Path(name)
        found = sections(page.read_text())
        try:
            for steps in found:
                run(steps)
        except ExampleError as error:
            sys.stderr.write(f"{page}: {error}\n")
            return 1
        sys.stdout.write(f"{page}: {sum(map(len, found))} steps as printed\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
