"""Whether an exchange is one of those that an entry of the configuration is for. Built once from `Selector`."""

from __future__ import annotations

from netfw.config.way_model import Selector
from netfw.names.authority import Authority
from netfw.names.domain_form import parse_domain_form
from netfw.proxy.exchange import Caller


class Selection:
    """Each list that is not empty must fit."""

    __slots__ = ("_domains", "_known", "_sources")

    def __init__(self, selector: Selector) -> None:
        self._domains = [parse_domain_form(text) for text in selector.domains]
        self._sources = selector.sources
        self._known = [
            (member, frozenset(wanted))
            for member, wanted in (
                ("listener_name", selector.listeners),
                ("source_vpce", selector.vpces),
                ("source_vpc", selector.vpcs),
                ("source_account", selector.accounts),
                ("identity", selector.identities),
            )
            if wanted
        ]

    def fits(self, destination: Authority, caller: Caller) -> bool:
        """Whether it is for this client's exchange with this destination."""
        if self._domains and not any(form.matches(destination.host.text) for form in self._domains):
            return False
        address = caller.address
        if self._sources and not any(
            address.version == network.version and address in network for network in self._sources
        ):
            return False
        return all(getattr(caller, member) in wanted for member, wanted in self._known)
