"""What operators may type in the manhole: a fixed table of commands, never Python.

In this room: the table, reading a line (`explain("https://example.com/")` or `explain https://example.com/`), who may
run what, help, completion, and printing results. Not here: SSH (`manhole`) and what the commands do (`Operations`,
which `service` provides). Somebody whose keys are for reading finds no command here that changes anything.
"""

from __future__ import annotations

import ast
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from netfw.names.printable import printable

LONGEST_LINE = 4096


class Access(Enum):
    """What a key is for."""

    READ = "read-only"
    OPERATE = "operator"


class CommandError(Exception):
    """The line is no command, or not one for this key. `str()` says so."""


class NotForThisKey(CommandError):
    """A command that changes something, by a key that is for looking."""


@dataclass(frozen=True, slots=True)
class Command:
    """`arguments`: what it takes, in order; those in brackets may be left out."""

    name: str
    arguments: tuple[str, ...]
    changes: bool
    about: str

    @property
    def usage(self) -> str:
        """As one would type it."""
        return f"{self.name}({', '.join(self.arguments)})"

    @property
    def fewest(self) -> int:
        """How many arguments it needs."""
        return sum(not argument.startswith("[") for argument in self.arguments)


COMMANDS = (
    Command("status", (), False, "state, checks, policy, connections, records; a line for each worker"),
    Command("connections", ("[most]",), False, "who is connected, to what, and for how long"),
    Command("top", (), False, "the busiest clients and destinations of the latest records, and what was denied"),
    Command("explain", ("url", "[method]", "[client]"), False, "what the policy in force says to a client's request"),
    Command("why", ("id",), False, "why an exchange was denied, by the id that the client saw"),
    Command("trace", ("client",), False, "the exchanges of one client address as they end; Ctrl-C stops"),
    Command("policy", (), False, "name, generation, defaults and groups of the policy in force"),
    Command("reload", (), True, "read configuration and rules again"),
    Command("drain", ("worker",), True, "replace one worker; it finishes what it has"),
)
BY_NAME = {command.name: command for command in COMMANDS}
_HERE = ("help", "exit")

# What `Operations` is called with: `line` takes output before the end, for commands that go on.
Run = Callable[[Sequence[str], Callable[[str], None]], Any]
# (what happened: command or refused, further facts)
Audit = Callable[..., None]


class CommandLine:
    """The commands for one key. `operations` maps names to what runs them; its values may be Deferreds. `audit` hears
    of every line before it is run, and of what this key may not do.
    """

    def __init__(self, operations: Mapping[str, Run], access: Access, audit: Audit) -> None:
        self._operations = operations
        self._audit = audit
        self.access = access

    @property
    def commands(self) -> list[Command]:
        """Those that this key may run."""
        return [command for command in COMMANDS if self.access is Access.OPERATE or not command.changes]

    def help(self) -> str:
        """All of them."""
        width = max(len(command.usage) for command in self.commands)
        lines = [f"  {command.usage:{width}}  {command.about}" for command in self.commands]
        lines.append(f"  {'help()':{width}}  this list")
        lines.append(f"  {'exit()':{width}}  leave; so does Ctrl-D")
        return "\n".join([f"This key is for: {self.access.value}.", *lines])

    def completions(self, begun: str) -> list[str]:
        """The commands that begin so."""
        names = [command.name for command in self.commands] + list(_HERE)
        return [name for name in names if name.startswith(begun)] if begun.isidentifier() or not begun else []

    def run(self, line: str, output: Callable[[str], None]) -> Deferred[str]:
        """Run a line; a Deferred of what to print. Fails with CommandError; cancelling it stops the command."""
        self._audit("command", line=line)
        return maybeDeferred(self._run, line, output).addErrback(self._refused, line)

    def _refused(self, failure: Failure, line: str) -> Failure:
        if failure.check(NotForThisKey):
            self._audit("refused", line=line, reason="the key is for reading only")
        return failure

    def _run(self, line: str, output: Callable[[str], None]) -> Any:
        name, arguments = read_line(line)
        if name == "help":
            return self.help()
        command = BY_NAME.get(name)
        if command is None:
            raise CommandError(f"{name!r} is no command; help lists them")
        if command not in self.commands:
            raise NotForThisKey(f"{name} changes something, and this key is for reading only")
        if not command.fewest <= len(arguments) <= len(command.arguments):
            raise CommandError(f"write {command.usage}")
        done = maybeDeferred(self._operations[name], arguments, output)
        return done.addCallback(lambda result: result if isinstance(result, str) else printed(result))


def read_line(line: str) -> tuple[str, list[str]]:
    """Name and arguments: as a call with constants, or as words. Raises CommandError."""
    if len(line) > LONGEST_LINE:
        raise CommandError(f"a line has up to {LONGEST_LINE} characters")
    line = line.strip()
    if "(" in line.split(" ")[0]:
        return _read_call(line)
    try:
        name, *arguments = shlex.split(line)
    except ValueError as error:
        raise CommandError(f"the line cannot be read: {error}") from None
    return name, arguments


def _read_call(line: str) -> tuple[str, list[str]]:
    """`name("text", 1)`. It is parsed, never evaluated: anything but constants is refused."""
    try:
        call = ast.parse(line, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise CommandError('the line cannot be read; write name("argument"), or name argument') from None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.keywords:
        raise CommandError("only commands can be run here, not Python; help lists them")
    arguments = []
    for argument in call.args:
        if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str | int):
            raise CommandError("arguments are text in quotes, or numbers")
        arguments.append(str(argument.value))
    return call.func.id, arguments


def printed(result: Any) -> str:
    """Facts as aligned lines, rows as a table."""
    if isinstance(result, Mapping):
        return _facts(result)
    if isinstance(result, list | tuple):
        return _table(list(result))
    return str(result)


def _facts(facts: Mapping[str, Any]) -> str:
    width = max((len(str(name)) for name in facts), default=0)
    lines = []
    for name, value in facts.items():
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            lines.append(f"{name}:")
            lines += ["  " + line for line in _table(value).split("\n")]
        else:
            lines.append(f"{name:{width}}  {_value(value)}")
    return "\n".join(lines)


def _table(rows: list[Any]) -> str:
    if not rows:
        return "(none)"
    if not isinstance(rows[0], Mapping):
        return "\n".join(map(_value, rows))
    names = list(rows[0])
    cells = [names, *([_value(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(names))]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def _value(value: Any) -> str:
    """On one line, without a control character: it may be a client's own words."""
    text = value if isinstance(value, str) else "-" if value is None else json.dumps(value, default=str)
    return printable(text)
