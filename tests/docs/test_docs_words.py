"""What pages name in passing is there: commands and their options, settings, metrics, files, make targets."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
import yaml
from twisted.python import usage

from netfw.cli.main import netfw
from netfw.config.errors import ConfigErrors
from netfw.config.load import load_config
from netfw.config.model import Configuration
from netfw.errors import NetfwError
from netfw.service.options import Options
from netfw.telemetry.metric_table import METRICS
from netfw.testing.page_text import Block, blocks, inline_code
from netfw.testing.shell_lines import simple_commands

TREE = Path(__file__).parents[2]
PAGES = [*sorted((TREE / "docs").glob("*.md")), TREE / "README.md"]
MANUALS = [*sorted((TREE / "docs/man").iterdir()), *sorted((TREE / "debian").glob("*.[1-8]"))]
TERMINALS = ("console", "sh")
_PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9_]*(?:[:/.].*)?|.*(?:\.\.\.|…).*")
_KEY = re.compile(r"([a-z][a-z0-9_]*)((?:\.[a-z][a-z0-9_]*)+)")
_METRIC = re.compile(r"(netfw_[a-z0-9_]+)(?:\{.*\})?")
_PATH = re.compile(r"((?:tests|benchmarks|docs|etc|scripts|netfw|lab|debian)/[\w./-]*\w)(?:::(\w+)(?:\[.*\])?)?")
_UNKNOWN = "unknown setting"
_SECTIONS = {each.name for each in fields(Configuration)} - {"path"}
OURS_ALONE = {"netfw_egress"}
"""Names like a metric's that are none: the table of `netfw nftables`."""


def parse(words: list[str], *, whole: bool) -> None:
    """Raises click.UsageError where the `netfw` command would not take these words; `whole`: nothing is left out."""
    command: click.Command = netfw
    context = click.Context(netfw, info_name="netfw")
    rest = words[1:]
    while isinstance(command, click.Group):
        if not rest:
            assert not whole or command.invoke_without_command, f"{shlex.join(words)}: which verb?"
            return
        if rest[0].startswith("-"):
            break
        found = command.get_command(context, rest[0])
        if found is None:
            raise click.UsageError(f"{shlex.join(words)}: no verb {rest[0]}")
        context = click.Context(found, parent=context, info_name=rest[0])
        command, rest = found, rest[1:]
    only_named = not whole and (not rest or "..." in rest)
    given, left, _ = command.make_parser(context).parse_args(list(rest))
    if left and not context.allow_extra_args:
        raise click.UsageError(f"{shlex.join(words)}: too much: {shlex.join(left)}")
    for parameter in command.get_params(context):
        value = given.get(parameter.name or "")
        if (
            parameter.required
            and not only_named
            and parameter.value_is_missing(value)
            and given.get("help") is not True
        ):
            raise click.UsageError(f"{shlex.join(words)}: {parameter.name} is missing")
        if not isinstance(parameter.type, (click.Path, click.File)):
            for one in value if isinstance(value, (list, tuple)) else [value]:
                if isinstance(one, str) and not _PLACEHOLDER.fullmatch(one):
                    parameter.type.convert(one, parameter, context)


def check_shell(text: str, *, whole: bool) -> int:
    """How many of ours are in this shell text; raises where one would not be taken."""
    count = 0
    for words in simple_commands(text):
        if words[0] == "netfw" and words[1:2] != [":"]:
            parse(words, whole=whole)
        elif words[0].startswith("twistd") and "netfwproxy" in words:
            Given().parseOptions(words[words.index("netfwproxy") + 1 :])
        elif words[0] == "make":
            assert words[1:] == [] or set(targets(words[1:])) <= TARGETS, f"no such target: {shlex.join(words)}"
        elif words[0].endswith(("python", "python3")) and len(words) > 1:
            check_python(words[1:])
        else:
            continue
        count += 1
    return count


class Given(Options):
    """The options of the service, as they are parsed before the configuration that they name is looked for."""

    def postOptions(self) -> None:  # noqa: N802  # Twisted's name
        """Nothing is read."""


TARGETS = set(re.findall(r"^([a-z-]+):", (TREE / "Makefile").read_text(), re.MULTILINE))


def targets(words: list[str]) -> Iterator[str]:
    """What make is to make."""
    return (word for word in words if "=" not in word and not word.startswith("-"))


def check_python(words: list[str]) -> None:
    """The module or file is there."""
    if words[0] == "-m" and words[1].partition(".")[0] in ("netfw", "lab"):
        assert find_spec(words[1]) is not None, f"no module {words[1]}"
    elif words[0].endswith(".py") and "/" in words[0]:
        assert (TREE / words[0]).is_file(), f"no file {words[0]}"


def shell_of(block: Block) -> str:
    """What a terminal's block types; all of a script."""
    if block.language == "sh":
        return block.text
    lines, typed = [], False
    for line in block.lines:
        if line.startswith("$ ") or typed:
            lines.append(line.removeprefix("$ "))
            typed = line.endswith("\\")
    return "\n".join(lines)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_are_taken(page: Path) -> None:
    """In blocks and in sentences: each verb, option and choice is there."""
    text = page.read_text()
    for block in blocks(text):
        if block.language in TERMINALS:
            with told(page, block.line):
                check_shell(shell_of(block), whole=True)
    for line, code in inline_code(text):
        if re.match(r"(netfw|twistd3?|make|python3?|eval|kill|systemctl|runuser) ", code):
            with told(page, line):
                check_shell(code, whole=False)


class told:  # noqa: N801  # reads like a function
    """What goes wrong inside is told with its page and line."""

    def __init__(self, page: Path, line: int) -> None:
        self._place = f"{page.name}:{line}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (click.ClickException, usage.UsageError, AssertionError, ConfigErrors)):
            message = error.message if isinstance(error, click.ClickException) else str(error)
            raise AssertionError(f"{self._place}: {message}") from error


@pytest.mark.parametrize("manual", MANUALS, ids=lambda manual: manual.name)
def test_commands_of_manuals_are_taken(manual: Path) -> None:
    """Examples of the manual pages."""
    for example in re.findall(r"^\.EX\n(.*?)^\.EE", manual.read_text(), re.MULTILINE | re.DOTALL):
        lines = [line.strip() for line in re.sub(r"\\([-e&])", r"\1", example).splitlines()]
        with told(manual, 0):
            check_shell("\n".join(line for line in lines if line.startswith(("netfw ", "twistd"))), whole=True)


def helps(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """The help of each verb and of the verbs below it."""
    yield context.command_path, command.help or ""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            verb = command.get_command(context, name)
            assert verb is not None
            yield from helps(verb, click.Context(verb, parent=context, info_name=name))


def test_commands_of_helps_are_taken() -> None:
    """Examples in what `--help` says."""
    count = 0
    for verb, text in helps(netfw, click.Context(netfw, info_name="netfw")):
        for line in text.splitlines():
            if re.match(r' +(eval "\$\()?netfw ', line):
                with told(Path(f"{verb} --help"), 0):
                    count += check_shell(re.split(r" {2,}", line.strip())[0], whole=True)
    assert count > 20


@pytest.mark.parametrize(
    "words",
    ["netfw frobnicate", "netfw check --frobnicate", "netfw env --format klingon", "netfw why", "netfw status now"],
)
def test_commands_that_are_not_there_are_found(words: str) -> None:
    with pytest.raises(click.ClickException):
        parse(words.split(), whole=True)


def unknown_settings(document: dict[str, object], directory: Path) -> list[str]:
    """Complaints of the loader about names that no setting has."""
    file = directory / "proxy.yaml"
    file.write_text(yaml.safe_dump(document))
    try:
        load_config(file, with_files=False)
    except ConfigErrors as error:
        return [str(problem) for problem in error.problems if _UNKNOWN in str(problem)]
    return []


def setting(path: str) -> dict[str, object]:
    """A configuration that says something under this path; what is a list there has one entry."""
    inner: object = "x"
    for name in reversed(path.split(".")):
        inner = {name: [inner] if name in ("listeners", "sources") else inner}
    assert isinstance(inner, dict)
    return inner


def test_settings_exist(tmp_path: Path) -> None:
    """`a.b.c` in backticks, and `a: {b: ...}`, where `a` is a section of proxy.yaml."""
    wrong, count = [], 0
    for page in PAGES:
        for line, code in inline_code(page.read_text()):
            found = _KEY.fullmatch(code)
            if found and found[1] in _SECTIONS and not code.endswith(".yaml"):
                if page.stem == "architecture" and find_spec(f"netfw.{code}"):
                    continue
                document = setting(code)
            elif re.match(r"([a-z_]+): *[{\[\"\w]", code) and code.partition(":")[0] in _SECTIONS:
                document = yaml.safe_load(code.replace("...", "x"))
            else:
                continue
            count += 1
            wrong += [f"{page.name}:{line}: {each}" for each in unknown_settings(document, tmp_path)]
    assert not wrong, "\n".join(wrong)
    assert count > 100


def test_settings_that_do_not_exist_are_found(tmp_path: Path) -> None:
    assert unknown_settings(setting("limits.conections"), tmp_path)
    assert unknown_settings(setting("listeners.adress"), tmp_path)
    assert unknown_settings(setting("upstream.health.rises"), tmp_path)
    assert not unknown_settings(setting("limits.connections"), tmp_path)


def test_metrics_exist() -> None:
    """`netfw_...` in backticks and in blocks of Prometheus' language."""
    names = set(METRICS)
    wrong = [
        f"{page.name}:{line}: {code}"
        for page in PAGES
        for line, code in inline_code(page.read_text())
        if (found := _METRIC.fullmatch(code)) and found[1] not in names | OURS_ALONE
    ]
    assert not wrong, "\n".join(wrong)


def failures(root: type[NetfwError] = NetfwError) -> Iterator[type[NetfwError]]:
    """Everything that can end an exchange."""
    yield root
    for each in root.__subclasses__():
        yield from failures(each)


def test_every_failure_can_be_looked_up() -> None:
    """By the status that a client sees, and by the word of RFC 9209 that `Proxy-Status` and the record have."""
    page = (TREE / "docs/troubleshooting.md").read_text()
    headings = " ".join(line for line in page.splitlines() if line.startswith("### "))
    entries = {code for _, code in inline_code(page)}
    for failure in failures():
        assert re.search(rf"\b{failure.status}\b", headings), f"no heading for {failure.status} ({failure.__name__})"
        assert failure.token in entries, f"{failure.token} ({failure.__name__}) is not in docs/troubleshooting.md"


def test_files_exist() -> None:
    """Paths of the tree in backticks, and the test behind `::`."""
    wrong = []
    for page in PAGES:
        for line, code in inline_code(page.read_text()):
            found = _PATH.fullmatch(code)
            if found is None or code.startswith("etc/users"):
                continue
            file = TREE / found[1]
            if not file.exists():
                wrong.append(f"{page.name}:{line}: no {found[1]}")
            elif found[2] and found[2] not in functions(file):
                wrong.append(f"{page.name}:{line}: no {found[2]} in {found[1]}")
    assert not wrong, "\n".join(wrong)


@cache
def functions(file: Path) -> set[str]:
    """The names of a test module's functions."""
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}
