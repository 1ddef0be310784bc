"""Files in W3C's form: what each line's columns are stands above it, whatever lay in the spool."""

from __future__ import annotations

from netfw import __version__
from netfw.config.log_model import OutputSection, RecordForm
from netfw.telemetry.record_printer import RecordPrinter
from netfw.telemetry.w3c_file import w3c_file, with_columns

LINE = b'{"event_timestamp":1,"proxy_name":"p","final_action":"deny","kind":"exchange","url":{"path":"/a b\\u001f#"}}\n'


def stored(*fields: str) -> bytes:
    """A line as it lies in the spool."""
    form = RecordForm("w3c", fields)
    output = OutputSection("o", types=("deny",), forms={"deny": form})
    printed = RecordPrinter(output, str, with_columns(fields))(LINE)
    assert printed is not None
    return printed


def test_columns_are_named_once_and_again_where_they_change() -> None:
    path, action = stored("url.path"), stored("final_action")
    assert w3c_file([path, path, action, path]).decode("ascii") == (
        "#Version: 1.0\n"
        f"#Software: netfw {__version__}\n"
        "#Fields: event_timestamp proxy_name final_action url.path\n"
        "1\tp\tdeny\t/a\\x20b\\x1f\\x23\n"
        "1\tp\tdeny\t/a\\x20b\\x1f\\x23\n"
        "#Fields: event_timestamp proxy_name final_action\n"
        "1\tp\tdeny\n"
        "#Fields: event_timestamp proxy_name final_action url.path\n"
        "1\tp\tdeny\t/a\\x20b\\x1f\\x23\n"
    )


def test_what_another_configuration_stored_is_kept_as_a_remark() -> None:
    assert w3c_file([b'{"id":"x"}\n']).splitlines()[2:] == [b'#Remark: {"id":"x"}']
