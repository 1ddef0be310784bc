"""The `netfw` command: one word, then a verb.

In this room: the table of verbs and their loading on use, so that a verb costs only its own imports and one that cannot
be imported leaves the others working. Not here: what the verbs do, a module each.
"""

from __future__ import annotations

import sys
from importlib import import_module

import click

from netfw.cli.screen import complain
from netfw.config.errors import ConfigErrors

# verb: (module, attribute, what `netfw --help` says)
VERBS = {
    "check": ("netfw.cli.check", "check_command", "Check the configuration and the rules as a start would."),
    "explain": ("netfw.cli.explain", "explain_command", "Tell what the rules say to a request, step by step."),
    "why": ("netfw.cli.why", "why_command", "Tell why an exchange was denied, by the id that the client saw."),
    "logs": ("netfw.cli.logs", "logs_command", "Show and follow records, count them, hand them on in other forms."),
    "lint": ("netfw.cli.lint", "lint_command", "Find rules that cannot match, shadow others or let too much through."),
    "test": ("netfw.cli.test_policy", "test_command", "Run the tests that are written beside the rules."),
    "show": ("netfw.cli.show", "show_command", "Show the rules in the order in which they are looked at."),
    "ca": ("netfw.cli.ca", "ca_command", "Make and show the CA that signs intercepted names."),
    "key": ("netfw.cli.key", "key_command", "Make, show and revoke access keys of the control API."),
    "user": ("netfw.cli.user", "user_command", "Add users with passwords to a listener's file, and remove them."),
    "env": ("netfw.cli.env", "env_command", "Print what a client's shell, pipeline or image needs to use the proxy."),
    "run": ("netfw.cli.run", "run_command", "Run one command through the proxy."),
    "doctor": ("netfw.cli.doctor", "doctor_command", "Find out whether this client can use the proxy, tool by tool."),
    "nftables": ("netfw.cli.nftables", "nftables_command", "Print rules that close every way out but the proxy."),
    "intercept": ("netfw.cli.intercept", "intercept_command", "Turn interception off, or on again, while it runs."),
    "pins": ("netfw.cli.pins", "pins_command", "List clients that refuse our certificates, by host, with what to do."),
    "apply": ("netfw.cli.apply", "apply_command", "Put a policy from files into the store; shows the plan first."),
    "validate": ("netfw.cli.apply", "validate_command", "Check a policy in files as apply would."),
    "export": ("netfw.cli.export", "export_command", "Print what the store says, as a policy or as the vendor's."),
    "import": ("netfw.cli.import_policy", "import_command", "Translate rules of other programs into a policy."),
    "groups": ("netfw.cli.groups", "groups_command", "List the rule groups in the store."),
    "attach": ("netfw.cli.groups", "attach_command", "Attach a rule group to a configuration."),
    "detach": ("netfw.cli.groups", "detach_command", "Detach a rule group from a configuration."),
    "priorities": ("netfw.cli.groups", "priorities_command", "Show or change the order in which groups are asked."),
    "allow": ("netfw.cli.exceptions", "allow_command", "Let a destination pass for a time."),
    "exceptions": ("netfw.cli.exceptions", "exceptions_command", "List and end timed exceptions."),
    "history": ("netfw.cli.history", "history_command", "List the generations of the policy in the store."),
    "diff": ("netfw.cli.history", "diff_command", "Say what is different between two generations."),
    "rollback": ("netfw.cli.history", "rollback_command", "Go back to a generation of the policy."),
    "status": ("netfw.cli.status", "status_command", "Ask the running proxy how it is."),
    "top": ("netfw.cli.top", "top_command", "Watch the running proxy: rates, who is busy, what is denied."),
    "reload": ("netfw.cli.reload", "reload_command", "Make the running proxy read its rules again."),
    "version": ("netfw.cli.version", "version_command", "Print the versions of netfw and of what it stands on."),
}

_HELP = """\
netfw is an explicit egress proxy: programs send their HTTP and HTTPS through it, and rules decide before the name is
looked up (PreDNS), before the request goes out (PreREQUEST) and before the response comes back (PostRESPONSE).

\b
The first ten minutes:
  netfw ca init --config etc/proxy.yaml    make the CA that signs intercepted names
  netfw check etc/proxy.yaml               is everything in order?
  twistd -n netfwproxy --config etc/proxy.yaml
  curl -x http://127.0.0.1:3128 --cacert var/ca/ca.pem https://example.com/
  netfw status                             how is it doing?

\b
Changing the rules:
  netfw check && netfw reload
  netfw apply policy.d                     with a store, which every proxy follows

Verbs that need a configuration take --config FILE; without it they look for /etc/netfw/proxy.yaml, then etc/proxy.yaml.
Exit status: 0 in order, 1 not in order, 2 wrong usage.
"""


class VerbGroup(click.Group):
    """The verbs of `VERBS`, imported when one is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs, in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb's command."""
        if cmd_name not in VERBS:
            return None
        module, attribute, _ = VERBS[cmd_name]
        try:
            command: click.Command = getattr(import_module(module), attribute)
        except ImportError as error:
            if error.name == module:
                raise click.ClickException(f"netfw {cmd_name} is not part of this installation") from None
            raise click.ClickException(f"netfw {cmd_name} cannot run: {error}") from error
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of `--help`, from the table: help imports no verb."""
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, text) for verb, (_, _, text) in VERBS.items()])


@click.command(
    cls=VerbGroup,
    help=_HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    subcommand_metavar="VERB [ARGS]...",
)
def netfw() -> None:
    """The group itself; `_HELP` is its help."""


def main() -> None:
    """The console script. A refused configuration is printed and gives exit status 1."""
    try:
        netfw(prog_name="netfw")
    except ConfigErrors as errors:
        complain(errors)
        sys.exit(1)


if __name__ == "__main__":
    main()
