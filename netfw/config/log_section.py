"""`log`: where records go, what of them, and what is left out of all of them.

Not here: an output (`config.output_section`), and the index (`config.index_section`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from netfw.config import values
from netfw.config.index_section import read_index
from netfw.config.log_model import LogSection, OutputSection
from netfw.config.output_section import OutputReader, refuse_doubles, refuse_formats
from netfw.config.retention_section import read_retention
from netfw.config.table import Table


def read_log(table: Table, directory: Path) -> LogSection:
    """The section. `stdout: true` (which is also what holds when nothing is said) or `path` are short for one output;
    what is said of fields and forms beside them holds for all outputs that say nothing else.
    """
    path = table.take("path", values.path(directory), None)
    stdout = table.take("stdout", values.boolean, None)
    if path is not None and stdout:
        table.complain("", "has both path and stdout; keep one of the two, or write outputs")
    if stdout is False and "path" not in table and "outputs" not in table:
        table.complain("stdout", "false leaves records nowhere to go; write path: FILE")
    mask = table.take_list("mask", values.text, single=True)
    hash_key = table.take("hash_key", values.path(directory), None)
    # A mapping says what is recorded of them as well.
    dns = table.take("dns", lambda value: isinstance(value, dict) or values.boolean(value), False)
    reader = OutputReader(table, directory)
    outputs = []
    if path is not None:
        outputs.append(OutputSection("file", path=path, forms=reader.general.forms()))
    elif stdout or ("outputs" not in table and not table.has_problem("path")):
        outputs.append(OutputSection("stdout", forms=reader.general.forms()))
    outputs += [reader.read(entry) for entry in table.tables("outputs")]
    refuse_doubles(table, outputs)
    refuse_formats(table, outputs)
    retention, keep_index = read_retention(table, outputs)
    index = read_index(table, [output.path for output in outputs], directory)
    if index is not None and keep_index is not None:
        index = replace(index, keep=keep_index)
    section = LogSection(
        outputs=tuple(outputs) or (OutputSection("stdout"),),
        mask=mask,
        index=index,
        hash_key=hash_key,
        treatments=reader.general.treatments,
        dns=dns,
        retention=retention,
    )
    if hash_key is None and not table.has_problem("hash_key") and reader.hashes:
        table.complain(
            "hash_key", "is missing: a token is made with a key; run openssl rand -hex 32 >FILE and name the file"
        )
    table.close()
    return section
