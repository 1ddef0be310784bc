"""The three ways to write a set of domain names: `x` (exactly), `.x` (x and below), `*.x` (below x only).

In this room: `DomainForm` and its parser, shared by configuration and tools. Not here: the operators of policy rules.

Names are compared in the canonical form of `names.host` only; `str(form)` is the normal form of what was written, so a
loader that wants normal form compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from netfw.names.host import HostError, host_from_text


class DomainScope(Enum):
    """Which names round the written one are meant; the value is the prefix it is written with."""

    EXACT = ""
    APEX_AND_SUBDOMAINS = "."
    SUBDOMAINS = "*."


class DomainFormError(ValueError):
    """The text is none of the three forms."""


@dataclass(frozen=True, slots=True)
class DomainForm:
    """A name and its scope. `name` is canonical; for EXACT it may be an address."""

    name: str
    scope: DomainScope

    def matches(self, host_text: str) -> bool:
        """Whether this canonical host text (`Host.text`) is in the set."""
        if self.scope is DomainScope.EXACT:
            return host_text == self.name
        if host_text == self.name:
            return self.scope is DomainScope.APEX_AND_SUBDOMAINS
        return host_text.endswith("." + self.name)

    def __str__(self) -> str:
        return self.scope.value + self.name


def parse_domain_form(text: str) -> DomainForm:
    """Parse one of the three forms; U-labels, case and a final dot are made canonical. Raises DomainFormError."""
    if text.startswith("*."):
        scope = DomainScope.SUBDOMAINS
    elif text.startswith("."):
        scope = DomainScope.APEX_AND_SUBDOMAINS
    else:
        scope = DomainScope.EXACT
    try:
        host = host_from_text(text[len(scope.value) :])
    except HostError as error:
        raise DomainFormError(f"not a domain, .domain or *.domain: {error}") from None
    if host.is_address and scope is not DomainScope.EXACT:
        raise DomainFormError("an address has no subdomains; write it without a prefix")
    return DomainForm(host.text, scope)
