"""`netfw ca`: the life of the CA that signs intercepted names. Not here: its verbs, which are in `netfw.cli.ca_*`."""

from __future__ import annotations

import click

from netfw.cli.audit import audited, authority_state
from netfw.cli.ca_enterprise import csr_command, import_command
from netfw.cli.ca_export import export_command
from netfw.cli.ca_make import init_command
from netfw.cli.ca_replace import replace_command
from netfw.cli.ca_revoke import crl_command, revoke_command
from netfw.cli.ca_rotate import rotate_command
from netfw.cli.ca_show import check_command, show_command


class InOrder(click.Group):
    """Verbs as they were added, which is the order in which one meets them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs."""
        return list(self.commands)


@click.group("ca", cls=InOrder)
def ca_command() -> None:
    """Make, check, hand out, rotate and replace the CA that signs intercepted names.

    To open TLS, the proxy shows clients a certificate that it signs itself. Clients must trust its CA, and nobody but
    the proxy may have the CA's key: whoever has it can pass for every site towards those clients.

    \b
    A CA of one's own:            init, then export
    Below an enterprise's root:   csr, then import
    Every day, from a monitor:    check --days 30
    Before it ends:               rotate, export --bundle, and weeks later rotate --switch
    When its key has leaked:      replace

    Keys in hardware (PKCS#11) are not supported; docs/ca.md says why.
    """


for command in (
    init_command,
    show_command,
    check_command,
    export_command,
    csr_command,
    import_command,
    rotate_command,
    replace_command,
    revoke_command,
    crl_command,
):
    # Looking at certificates, which everybody is shown, is no operation; handing them out is.
    looks = command in (show_command, check_command)
    ca_command.add_command(command if looks else audited(command, "ca", "interception CA", authority_state))
