"""Whether the names in a certificate are those of a host: RFC 9525, sections 3, 4 and 6.

In here: the comparison alone, of canonical hosts with what subjectAltName holds. Not in here: reading certificates
(`reading`), and what follows from it (`tls.verification`). PURE.

service-identity says the same (it is the oracle of the tests), but compiles every name of the certificate into an
object first: milliseconds for a certificate of a hundred names, for each new connection.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from netfw.names.host import Host


def is_certified(host: Host, names: Iterable[str], addresses: Iterable[IPv4Address | IPv6Address]) -> bool:
    """Whether one of these dNSName or iPAddress entries is this host.

    An address is no name and a name no address. A wildcard is the whole left-most label and stands for one label, below
    a name of two labels or more: `*.com` is nobody's.
    """
    if host.address is not None:
        return host.address in addresses
    wanted = host.text
    parent = wanted.partition(".")[2]
    wildcard = f"*.{parent}" if "." in parent else None
    # Not every letter's lower case is its own: the Kelvin sign's would be k.
    return any(name.isascii() and name.lower() in (wanted, wildcard) for name in names)
