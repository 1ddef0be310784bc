"""netfw(1), made of what `--help` says: `python -m netfw.cli.man_page`.

Not here: the verbs and their options, which are the commands' own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from netfw.cli.main import netfw
from netfw.policy.roff import escape, example, paragraph, text_line, title

_TAIL = r""".SH FILES
.TP
.I /etc/netfw/proxy.yaml
the configuration, when none is named
.SH SEE ALSO
.BR netfw\-proxy.yaml (5),
.BR netfw\-policy (5),
.BR netfwproxy (8)
"""


def man_page() -> str:
    """The page: the command, then every verb with its arguments and options."""
    context = click.Context(netfw, info_name="netfw")
    parts = [
        title("netfw", 1, "User commands"),
        ".SH NAME\n" + escape("netfw - ask, check and administer the netfw egress proxy") + "\n",
        ".SH SYNOPSIS\n" + escape("netfw VERB [ARGUMENTS]") + "\n",
        ".SH DESCRIPTION\n",
        *_prose(netfw.help or ""),
        ".SH VERBS\n",
        *_verbs(netfw, context),
        _TAIL,
    ]
    return "".join(parts)


def _verbs(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _verbs(command, inner)
            continue
        usage = " ".join([inner.command_path, *command.collect_usage_pieces(inner)])
        yield f".SS {escape(usage)}\n"
        yield from _prose(command.help or "")
        for parameter in command.get_params(inner):
            record = parameter.get_help_record(inner)
            if record is not None and isinstance(parameter, click.Option) and "--help" not in parameter.opts:
                yield f".TP\n.B {escape(record[0])}\n" + text_line(escape(record[1]) or r"\&")


def _prose(text: str) -> Iterator[str]:
    """Paragraphs as click shows them: one that begins with a backspace is kept as it is."""
    for block in text.strip().split("\n\n"):
        lines = block.split("\n")
        if lines[0].strip() == "\b":
            yield example(lines[1:])
        else:
            yield paragraph(block)


if __name__ == "__main__":
    sys.stdout.write(man_page())
