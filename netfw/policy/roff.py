"""What the man pages are printed with: text as the man macros want it. PURE.

Not here: the pages (`policy.man_page`, `config.man_page`, `cli.man_page`).
"""

from __future__ import annotations

from collections.abc import Iterable

_ESCAPES = {"\\": r"\e", "-": r"\-", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", "'": r"\(aq", '"': r"\(dq"}


def escape(text: str) -> str:
    """The text with every character as itself."""
    return "".join(_ESCAPES.get(character, character) for character in text)


def text_line(line: str) -> str:
    """A line, already escaped, that no macro is seen in."""
    return (r"\&" if line.startswith((".", "'")) else "") + line + "\n"


def title(name: str, section: int, manual: str) -> str:
    """The head of a page whose text needs no tables."""
    return f'.TH {escape(name.upper())} {section} "" netfw "{manual}"\n.nh\n.ad l\n'


def example(lines: Iterable[str]) -> str:
    """Lines as they are, indented."""
    return ".PP\n.RS 4\n.EX\n" + "".join(text_line(escape(line)) for line in lines) + ".EE\n.RE\n"


def paragraph(text: str) -> str:
    """Words, filled."""
    return ".PP\n" + text_line(escape(" ".join(text.split())))
