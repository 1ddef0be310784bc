"""`netfw import`: rules of other programs, as a policy document of ours; what could not be translated is listed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from netfw.cli.screen import print_json, yaml_text
from netfw.config.document import parse_json, parse_yaml, read_text
from netfw.policy.foreign.aws_rule_group import import_aws_rule_group
from netfw.policy.foreign.console_csv import import_csv
from netfw.policy.foreign.hosts import import_hosts
from netfw.policy.foreign.imported import Imported
from netfw.policy.foreign.smokescreen import import_smokescreen
from netfw.policy.foreign.squid import import_squid

FORMATS = ("aws-rule-group", "squid", "smokescreen", "hosts", "csv")


@click.command("import")
@click.argument("form", metavar="FORMAT", type=click.Choice(FORMATS))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--group", default=None, metavar="NAME", help="The rule group's name; the file's by default.")
@click.option("--output", "-o", type=click.Path(path_type=Path), default=None, help="A .yaml or .json file to write.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the document and what was not translated.")
def import_command(form: str, file: Path, group: str | None, output: Path | None, as_json: bool) -> None:
    """Translate FILE into a policy document, printed or written to --output.

    FORMAT is one of aws-rule-group (JSON of the vendor's API), squid (squid.conf), smokescreen (ACL, YAML), hosts (a
    list of names to deny), csv (the vendor's console, or a header with domain). Nothing is stored: look at the result,
    then `netfw apply` it. What could not be translated is listed on standard error.

    Exit status 0: everything was translated. 1: something was not.
    """
    name = group or _group_name(file)
    text = read_text(file)
    imported = _import(form, file, text, name, group)
    if as_json:
        problems = [{"place": one.place, "text": one.text, "reason": one.reason} for one in imported.untranslated]
        print_json({"document": imported.document, "untranslated": problems})
    elif output is not None:
        output.write_text(printed(imported, as_json=output.suffix == ".json"))
    else:
        click.echo(printed(imported), nl=False)
    if imported.untranslated and not as_json:
        click.echo(f"{file}: {len(imported.untranslated)} not translated:", err=True)
        for one in imported.untranslated:
            click.echo(f"  {one}", err=True)
    sys.exit(1 if imported.untranslated else 0)


def printed(imported: Imported, *, as_json: bool = False) -> str:
    """The document; in YAML what was not translated stands above it as comments."""
    if as_json:
        return json.dumps(imported.document, indent=2) + "\n"
    body = yaml_text(imported.document)
    if not imported.untranslated:
        return body
    lines = ["# Not translated:", *(f"#   {one}" for one in imported.untranslated)]
    return "".join(f"{line.encode('ascii', 'backslashreplace').decode()}\n".replace("\r", " ") for line in lines) + body


def _import(form: str, file: Path, text: str, name: str, group: str | None) -> Imported:
    if form == "aws-rule-group":
        return import_aws_rule_group(parse_json(text, str(file)), group)
    if form == "smokescreen":
        return import_smokescreen(parse_yaml(text, str(file)), name)
    translate = {"squid": import_squid, "hosts": import_hosts, "csv": import_csv}[form]
    return translate(text, name)


def _group_name(file: Path) -> str:
    """A name that a group may have."""
    kept = "".join(character if character.isascii() and character.isalnum() else "-" for character in file.stem)
    return kept.strip("-")[:128] or "imported"
