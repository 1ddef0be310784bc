"""What is known when a destination is named: the client, and the destination's name. All that PreDNS may ask for."""

from __future__ import annotations

from netfw.names.authority import Authority
from netfw.policy.facts import ABSENT, Facts
from netfw.proxy.exchange import Exchange


def first_facts(exchange: Exchange, *, protocol: str, authority: Authority | None = None) -> Facts:
    """The facts of an exchange; `authority` is what its rules are asked for where that is not its own."""
    destination = authority or exchange.authority
    assert destination is not None
    caller = exchange.caller
    return Facts(
        source_ip=caller.address,
        source_port=caller.port,
        time=exchange.started,
        protocol=protocol,
        destination_domain=destination.host.text,
        destination_port=destination.port,
        source_account=caller.source_account or ABSENT,
        source_vpc=caller.source_vpc or ABSENT,
        source_vpce=caller.source_vpce or ABSENT,
        listener_name=caller.listener_name,
        client_identity=caller.identity or ABSENT,
    )
