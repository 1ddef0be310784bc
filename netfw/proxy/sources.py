"""What is known of a client besides its address: its account, network, endpoint and identity.

In this room: the first entry of the `sources` table that a connection meets, or that one would which nobody made
(`netfw explain`). Nothing here decides anything, and no bytes of a client are looked at; whose PROXY header is taken
for true is the listener's business.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from netfw.config.model import SourceEntry
from netfw.policy.facts import ABSENT, Unknown
from netfw.policy.imagined_request import ImaginedRequest
from netfw.proxy.exchange import Caller


class Sources:
    """One listener's part of the table."""

    __slots__ = ("_entries",)

    def __init__(self, entries: tuple[SourceEntry, ...], listener_name: str) -> None:
        self._entries = tuple(entry for entry in entries if entry.listener in (None, listener_name))

    def describe(self, caller: Caller, vpce: str | None) -> None:
        """Fill in who calls; `vpce` is the endpoint's id from a PROXY header, which no entry replaces."""
        caller.source_vpce = vpce
        for entry in self._entries:
            if _matches(entry, caller.address, vpce):
                caller.source_account = entry.account
                caller.source_vpc = entry.vpc
                caller.source_vpce = vpce or entry.vpce
                caller.identity = entry.identity
                return


def as_known(request: ImaginedRequest, entries: tuple[SourceEntry, ...]) -> ImaginedRequest:
    """The same, with what the table knows of its client; what was said of it counts before that."""
    vpce, listener = request.source_vpce, request.listener_name
    caller = Caller(address=request.source_ip, port=0, listener_name=listener if isinstance(listener, str) else "")
    Sources(entries, caller.listener_name).describe(caller, vpce if isinstance(vpce, str) else None)
    return replace(
        request,
        source_account=_said_or_known(request.source_account, caller.source_account),
        source_vpc=_said_or_known(request.source_vpc, caller.source_vpc),
        source_vpce=_said_or_known(request.source_vpce, caller.source_vpce),
        client_identity=_said_or_known(request.client_identity, caller.identity),
    )


def _said_or_known(said: str | Unknown, known: str | None) -> str | Unknown:
    return known if said is ABSENT and known is not None else said


def _matches(entry: SourceEntry, address: IPv4Address | IPv6Address, vpce: str | None) -> bool:
    if entry.cidr is not None and (entry.cidr.version != address.version or address not in entry.cidr):
        return False
    if entry.vpce is None or entry.vpce == vpce:
        return True
    # Alone, an endpoint is what is looked for. Beside another selector it is told to connections without one.
    return vpce is None and (entry.cidr is not None or entry.listener is not None)
