"""`netfw export`: what the store says, as a policy document, or one group in the vendor's forms."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from netfw.cli.control_access import At, control, control_options
from netfw.cli.screen import yaml_text
from netfw.policy.foreign.aws_rule_group import export_aws_rule_group
from netfw.policy.foreign.console_csv import export_csv
from netfw.policy.foreign.imported import Untranslated
from netfw.policy.model import Phase

_output_option = click.option(
    "--output", "-o", type=click.Path(path_type=Path), default=None, help="A file to write; else it is printed."
)


@click.group("export", invoke_without_command=True)
@click.option("--configuration", default=None, help="The one that this proxy follows by default.")
@click.option("--all", "all_groups", is_flag=True, help="Groups that are not attached as well.")
@click.option("--format", "form", type=click.Choice(("yaml", "json")), default="yaml", show_default=True)
@_output_option
@control_options
@click.pass_context
def export_command(
    context: click.Context,
    configuration: str | None,
    all_groups: bool,
    form: str,
    output: Path | None,
    at: At,
) -> None:
    """Print a configuration and its rule groups as a policy document: what `netfw apply` takes."""
    context.obj = at
    if context.invoked_subcommand is not None:
        return
    with control(at) as access:
        document = access.client.call(
            "ExportPolicy",
            ProxyConfigurationName=configuration,
            ProxyName=None if configuration is not None else access.the_proxy(),
            AllGroups=all_groups or None,
        )["Document"]
    text = json.dumps(document, indent=2) + "\n" if form == "json" else yaml_text(document)
    _write(text, output)


@export_command.command("aws-rule-group")
@click.argument("name")
@click.option("--format", "form", type=click.Choice(("json", "csv")), default="json", show_default=True)
@_output_option
@control_options
@click.pass_obj
def aws_rule_group_command(outer: At, name: str, form: str, output: Path | None, at: At) -> None:
    """Print rule group NAME as the input of CreateProxyRuleGroup, or as the vendor's console writes it in CSV.

    What these cannot say is listed on standard error, and exit status is 1 then.
    """
    # Options stand before the word or behind it.
    place = At(at.config or outer.config, at.endpoint or outer.endpoint, at.profile or outer.profile)
    with control(place) as access:
        group = access.client.call("DescribeProxyRuleGroup", ProxyRuleGroupName=name)["ProxyRuleGroup"]
    rules = {phase.value: group["Rules"].get(phase.value, []) for phase in Phase}
    lost: tuple[Untranslated, ...]
    if form == "csv":
        text, lost = export_csv(rules)
    else:
        tags = {tag["Key"]: tag["Value"] for tag in group.get("Tags", ())}
        document, lost = export_aws_rule_group(name, group.get("Description"), rules, tags)
        text = json.dumps(document, indent=2) + "\n"
    _write(text, output)
    for one in lost:
        click.echo(str(one), err=True)
    sys.exit(1 if lost else 0)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text)
