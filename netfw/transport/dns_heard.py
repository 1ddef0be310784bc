"""What one answer of the DNS said, for whoever takes note of it. PURE.

Not here: asking (`dns_lookup`) and keeping (`dns_cache`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address


@dataclass(frozen=True, slots=True)
class DnsHeard:
    """`record_type`: A or AAAA, both where a cached answer has both. `code`: RFC 1035's word, None where none came;
    `ttl` in seconds. `seconds`: from the question on. `error`: why it is no answer.
    """

    name: str
    record_type: str
    server: str
    seconds: float
    code: str | None = None
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    chain: tuple[str, ...] = ()
    ttl: int | None = None
    cached: bool = False
    error: str | None = None
    timed_out: bool = False


Heard = Callable[[DnsHeard], object]
