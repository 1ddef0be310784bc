"""docs/man/netfw-policy.5, made of docs/policy.md: `python -m netfw.policy.document --man > docs/man/netfw-policy.5`.

Here: the part of Markdown that the page uses, turned into the man macros, so that both say the same. Not here: what the
page says (`document`, `policy_text`). Most tables become lists of tagged paragraphs, since a terminal is too narrow for
them; the one of what a condition gives stays a table (tbl).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from netfw.policy.roff import escape, example, text_line

_HEAD = r"""'\" t
.\" Printed by `python -m netfw.policy.document --man`; change it there.
.TH NETFW\-POLICY 5 "" netfw "File formats"
.nh
.ad l
.SH NAME
netfw\-policy \- rules of the netfw egress proxy
.SH DESCRIPTION
"""
_TAIL = r""".SH SEE ALSO
.BR twistd (1),
\fBnetfw \-\-help\fR
"""
_ITEM = re.compile(r"(\*|\d+\.) ")
_CELL = 13
_UNBROKEN = 20
_KEYS, _OPERATORS, _LIMITS = "key", "type of key", "limit"


def man_page(page: str) -> str:
    """The man page of docs/policy.md's text."""
    blocks = list(_blocks(page.splitlines()))
    return _HEAD + "".join(_roff(block) for block in blocks) + _TAIL


def _blocks(lines: list[str]) -> Iterator[list[str]]:
    """Paragraphs, headings, list items, tables and fenced examples: each a list of lines."""
    block: list[str] = []
    fenced = False
    for line in lines:
        if line.startswith("```"):
            block.append(line)
            fenced = not fenced
            if fenced:
                continue
        elif fenced or line and not (_ITEM.match(line) and block):
            block.append(line)
            continue
        if block:
            yield block
        block = [line] if _ITEM.match(line) else []
    if block:
        yield block


def _roff(block: list[str]) -> str:
    first = block[0]
    if first.startswith(("# ", "<!--")):
        return ""
    if first.startswith("## "):
        return f".SH {escape(first[3:].upper())}\n"
    if first.startswith("```"):
        return example(block[1:-1])
    if first.startswith("|"):
        return _table([[cell.strip() for cell in line.strip("|").split(" | ")] for line in block])
    if marked := _ITEM.match(first):
        sign = r"\(bu" if marked[1] == "*" else marked[1]
        return f".IP {sign} 3\n" + _prose([first[marked.end() :], *block[1:]])
    return ".PP\n" + _prose(block)


def _table(rows: list[list[str]]) -> str:
    head, rows = rows[0], rows[2:]
    if head[0] == _KEYS:
        return "".join(_key(head, row) for row in rows)
    if head[0] == _OPERATORS:
        return "".join(f".TP\n{_inline(names)}\n{_inline(meaning)}\n.br\n({kinds})\n" for kinds, names, meaning in rows)
    if head[0] == _LIMITS:
        return "".join(f".TP\n{_inline(limit)}\n{_inline(what)}\n" for limit, what in rows)
    lines = ["\t".join(_cell(cell) for cell in row) for row in [head, *rows]]
    layout = "l" + f" lw({_CELL}n)" * (len(head) - 1)
    return f".PP\n.TS\nallbox;\n{layout}.\n" + "\n".join(lines) + "\n.TE\n"


def _cell(text: str) -> str:
    """A cell of a table; a long one with words is filled."""
    long = len(text) > _CELL and "`" not in text
    return f"T{{\n{_inline(text)}\nT}}" if long else _inline(text)


def _key(head: list[str], row: list[str]) -> str:
    """A key with its type and its phases."""
    name, kind, *marks, about = row
    phases = ", ".join(phase for phase, mark in zip(head[2:-1], marks, strict=True) if mark.strip())
    return f".TP\n{_inline(name)}\n{_inline(about)}\n.br\n({kind}; {phases})\n"


def _prose(lines: list[str]) -> str:
    return "".join(text_line(line) for line in _inline("\n".join(line.strip() for line in lines)).split("\n"))


def _inline(text: str) -> str:
    """`code` and **bold** as bold type; what is code is never hyphenated."""
    out: list[str] = []
    bold = False
    # Between backquotes nothing is marked: `*` and `.x` are themselves there.
    for number, piece in enumerate(text.split("`")):
        if number % 2:
            code = r"\%" + escape(piece)
            if len(piece) < _UNBROKEN:
                code = code.replace(" ", r"\ ")
            out.append(rf"\fB{code}" + ("" if bold else r"\fR"))
            continue
        for place, part in enumerate(piece.split("**")):
            if place:
                bold = not bold
                out.append(r"\fB" if bold else r"\fR")
            out.append(escape(part))
    return "".join(out)
