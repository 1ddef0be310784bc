"""netfw-proxy.yaml(5), made of the commented configuration: `python -m netfw.config.man_page etc/proxy.yaml`.

In this room: the file taken apart into its sections. What the page says of a setting is what the file says, and the
file is loaded by the tests: there is no second text to keep true.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from netfw.policy.roff import escape, example, paragraph, title

# A section begins in the first column, in force or commented out.
_SECTION = re.compile(r"(?:# )?([a-z_]+):(?: |$)")
_TAIL = r""".SH FILES
.TP
.I /etc/netfw/proxy.yaml
where it is looked for, then
.IR etc/proxy.yaml .
.SH SEE ALSO
.BR netfw (1),
.BR netfw\-policy (5),
.BR netfwproxy (8)
"""


def man_page(text: str) -> str:
    """The man page of the commented configuration's text."""
    heading, *sections = _sections(text.splitlines())
    about = " ".join(line.lstrip("# ") for line in heading[1][1:] if line.strip("# "))
    parts = [
        title("netfw-proxy.yaml", 5, "File formats"),
        ".SH NAME\n" + escape("netfw-proxy.yaml - configuration of the netfw egress proxy") + "\n",
        ".SH DESCRIPTION\n",
        paragraph(about),
    ]
    for name, lines in sections:
        parts.append(f".SH {escape(name.upper())}\n{example(lines)}")
    return "".join(parts) + _TAIL


def _sections(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Name and lines of each block between blank lines that begins a section; prose alone belongs to the next one."""
    name = ""
    block: list[str] = []
    for line in [*lines, ""]:
        if line:
            block.append(line)
            found = _SECTION.match(line)
            if found and not name:
                name = found[1]
        elif block and (name or block[0].startswith("# netfw:")):
            yield name, block
            name, block = "", []
        elif block:
            block.append("")


if __name__ == "__main__":
    sys.stdout.write(man_page(Path(sys.argv[1]).read_text(encoding="utf-8")))
