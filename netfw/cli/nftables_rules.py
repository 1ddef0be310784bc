"""Rules for nftables that close every way out but the proxy: text that `nft -f` takes. PURE.

In this room: the two places where that is done, and what each lets through. *distributed*: on a machine that has a
proxy of its own, by the user that it runs as. *routed*: on the router between networks and the world, by the addresses
that proxies leave from. Not here: the options (`nftables`), and loading them.

What is closed is refused and not dropped: a program that goes round the proxy fails at once, and `netfw doctor` can
tell a firewall from an origin that does not listen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
TABLE = "netfw_egress"
WEB_PORTS = (80, 443)
_REFUSE = "reject with icmpx type admin-prohibited"


@dataclass(frozen=True, slots=True)
class Closing:
    """What is to be closed. `ports` None: everything but what is let through; else these, TCP and UDP (HTTP/3).

    `inside`: networks that are no way out. `outside`: interfaces that lead out, empty for all but loopback.
    """

    inside: tuple[Network, ...] = ()
    ports: tuple[int, ...] | None = WEB_PORTS
    outside: tuple[str, ...] = ()


def distributed(closing: Closing, users: Sequence[str]) -> str:
    """For a machine with a proxy: these users (names or numbers) alone may go out from it."""
    lines = [
        'oifname "lo" accept',
        *_only_outside(closing),
        *_replies(closing),
        f"meta skuid {_set(_user(user) for user in users)} accept",
        *_what_is_closed(closing),
    ]
    return _table("output", lines, f"only {', '.join(users)} may go out from this machine")


def routed(closing: Closing, proxies: Sequence[Address]) -> str:
    """For a router: connections from these addresses alone are passed on to the outside."""
    lines = [
        *_only_outside(closing),
        *_replies(closing),
        *(f"{family} saddr {_set(addresses)} accept" for family, addresses in _by_family(proxies)),
        *_what_is_closed(closing),
    ]
    return _table("forward", lines, f"only {', '.join(map(str, proxies))} may go out through this machine")


def _only_outside(closing: Closing) -> Iterator[str]:
    if closing.outside:
        yield f"oifname != {_set(map(_quoted, closing.outside))} accept"
    for family, networks in _by_family(closing.inside):
        yield f"{family} daddr {_set(networks)} accept"


def _replies(closing: Closing) -> Iterator[str]:
    """What began with leave goes on: the last packets of a closed socket are the kernel's own, and no user's."""
    yield "ct state established,related accept"
    if closing.ports is None:
        # Neighbours and routers are found by these (RFC 4890, section 4.3).
        yield "icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept"


def _what_is_closed(closing: Closing) -> Iterator[str]:
    if closing.ports is None:
        yield f"counter {_REFUSE}"
    else:
        yield f"meta l4proto {{ tcp, udp }} th dport {_set(closing.ports)} counter {_REFUSE}"


def _by_family(values: Sequence[Address] | Sequence[Network]) -> Iterator[tuple[str, list[Address | Network]]]:
    for version, family in ((4, "ip"), (6, "ip6")):
        found: list[Address | Network] = [value for value in values if value.version == version]
        if found:
            yield family, found


def _quoted(name: str) -> str:
    return f'"{name}"'


def _user(user: str) -> str:
    return user if user.isdigit() else _quoted(user)


def _set(values: Iterable[object]) -> str:
    found = [str(value) for value in values]
    return found[0] if len(found) == 1 else f"{{ {', '.join(found)} }}"


def _table(hook: str, lines: Sequence[str], about: str) -> str:
    # The first two lines make loading it again replace it, at once and with nothing open in between.
    return "\n".join(
        [
            f"# {about}; everybody else asks the proxy.",
            "# Check: nft -c -f FILE   Load: nft -f FILE   Take away: nft delete table inet " + TABLE,
            f"table inet {TABLE}",
            f"delete table inet {TABLE}",
            f"table inet {TABLE} {{",
            f"    chain {hook} {{",
            f"        type filter hook {hook} priority filter; policy accept;",
            *(f"        {line}" for line in lines),
            "    }",
            "}",
            "",
        ]
    )
