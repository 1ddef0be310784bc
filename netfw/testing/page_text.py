"""A page of the documentation taken apart: its blocks, the code within its sentences, and what hides from both.

PURE. In this room: which lines are what. Not here: what is done with them (`testing.examples` runs terminals and writes
files, tests/docs checks the rest).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(r'^( *)```(\w*)(?: title="([^"]+)")?\s*$')
_OPENING = re.compile(r"^ *(```|~~~)")
_ITEM = re.compile(r"^ *(?:[*+-]|\d+\.) ")
_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)


class PageError(Exception):
    """A page that cannot be taken apart; the text is for its author."""


@dataclass(frozen=True)
class Block:
    """A fenced block: `line` is that of its fence, `language` its class (empty: none), `title` a file that it is."""

    line: int
    language: str
    title: str | None
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """What is between the fences."""
        return "".join(f"{line}\n" for line in self.lines)


def blocks(page: str) -> list[Block]:
    """The fenced blocks. Raises PageError for a fence that is written in a way of its own, or never closed."""
    return [part for part in parts(page) if isinstance(part, Block)]


def sentences(page: str) -> list[tuple[int, str]]:
    """The lines outside of blocks, with their numbers."""
    return [part for part in parts(page) if not isinstance(part, Block)]


def inline_code(page: str) -> list[tuple[int, str]]:
    """What stands in backticks within sentences and tables, with its line; `\\|` of tables is `|`."""
    found = []
    lines = sentences(page)
    text = "\n".join(line for _, line in lines)
    for code in _CODE.finditer(text):
        number = lines[text.count("\n", 0, code.start())][0]
        found.append((number, re.sub(r"\s*\n\s*", " ", code[2]).replace("\\|", "|").strip()))
    return found


def indented_code(page: str) -> list[int]:
    """Lines that Markdown shows as code though no fence says what they are."""
    found = []
    before, inside_list = "", False
    for number, line in sentences(page):
        if line.strip() and not line.startswith(" "):
            inside_list = bool(_ITEM.match(line))
        depth = 8 if inside_list else 4
        if line.startswith(" " * depth) and (not before.strip() or number - 1 in found) and not _ITEM.match(line):
            found.append(number)
        before = line
    return found


def parts(page: str) -> Iterator[Block | tuple[int, str]]:
    """Everything in its order: blocks, and lines with their numbers. Raises PageError as `blocks` does."""
    lines = page.splitlines()
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if not _OPENING.match(line):
            yield number, line
            continue
        fence = _FENCE.match(line)
        if fence is None:
            raise PageError(f'line {number}: {line!r} opens a block; write ```class, or ```class title="file"')
        indent, language, title = fence.groups()
        start, block = number, []
        while number < len(lines) and lines[number].strip() != "```":
            block.append(lines[number].removeprefix(indent))
            number += 1
        if number == len(lines):
            raise PageError(f"line {start}: the block is not closed")
        number += 1
        yield Block(start, language, title, tuple(block))
