"""`netfw nftables`: prints the rules that close every way out but the proxy, for a machine or for a router.

Here: the options, and what the configuration says in their place. Not here: the rules (`nftables_rules`). Nothing is
loaded: whoever prints them looks at them first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from typing import Any, TypeVar

import click

from netfw.cli.config_option import config_option, find_config
from netfw.cli.nftables_rules import WEB_PORTS, Closing, distributed, routed
from netfw.config.load import load_config
from netfw.config.model import Configuration, ListenerSection

Function = TypeVar("Function", bound=Callable[..., Any])
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,31}", re.ASCII)
_INTERFACE = re.compile(r"[A-Za-z0-9_.@-]{1,15}\*?", re.ASCII)
DEFAULT_USER = "netfw"


def _closing_options(function: Function) -> Function:
    for option in (
        click.option("--inside", multiple=True, metavar="NETWORK", help="Not outside: 10.0.0.0/8. May be repeated."),
        click.option("--out", multiple=True, metavar="INTERFACE", help="What leads outside. Default: every interface."),
        click.option("--port", multiple=True, type=click.IntRange(1, 65535), help="Closed. Default: 80 and 443."),
        click.option("--everything", is_flag=True, help="Close every port and protocol, DNS too."),
    ):
        function = option(function)
    return function


@click.group("nftables")
def nftables_command() -> None:
    """Print rules for nftables that close every way out but the proxy.

    \b
    netfw nftables distributed --inside 10.0.0.0/8 > /etc/nftables.d/netfw.nft
    netfw nftables routed --proxy 10.0.9.5 --inside 10.0.0.0/8 | nft -c -f -

    Nothing is loaded. Loading them again replaces them, and only what is in their own table. Connections that are open
    when they are loaded go on until they end.
    """


@nftables_command.command("distributed")
@click.option("--user", multiple=True, default=(DEFAULT_USER,), show_default=True, help="Who may go out: name or uid.")
@_closing_options
def distributed_command(user: tuple[str, ...], **how: Any) -> None:
    """For a machine that has a proxy of its own: by the user that the proxy runs as."""
    for name in user:
        if not _NAME.fullmatch(name):
            raise click.BadParameter(f"{name!r} is no user name or number", param_hint="--user")
    click.echo(distributed(_closing(**how), user), nl=False)


@nftables_command.command("routed")
@click.option("--proxy", "proxies", multiple=True, metavar="ADDRESS", help="Where proxies leave from. May be repeated.")
@_closing_options
@config_option
def routed_command(proxies: tuple[str, ...], config: Path | None, **how: Any) -> None:
    """For the router between networks and the world: by the addresses that proxies leave from.

    Without --proxy these are egress.source_addresses, those of egress.pools, and of the listeners.
    """
    found = [_address(text) for text in proxies]
    if not found:
        found = _addresses_of(load_config(find_config(config), with_files=False))
    if not found:
        raise click.UsageError("the configuration names no address that the proxy leaves from; write --proxy ADDRESS")
    click.echo(routed(_closing(**how), found), nl=False)


def _closing(inside: tuple[str, ...], out: tuple[str, ...], port: tuple[int, ...], everything: bool) -> Closing:
    if everything and port:
        raise click.UsageError("--everything closes every port; leave --port out")
    networks = []
    for text in inside:
        try:
            networks.append(ip_network(text))
        except ValueError as problem:
            raise click.BadParameter(str(problem), param_hint="--inside") from None
    for name in out:
        if not _INTERFACE.fullmatch(name):
            raise click.BadParameter(f"{name!r} is no name of an interface", param_hint="--out")
    ports = None if everything else tuple(dict.fromkeys(port)) or WEB_PORTS
    return Closing(tuple(networks), ports, out)


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        network = ip_network(text)
    except ValueError:
        network = None
    if network is None or network.num_addresses != 1:
        raise click.BadParameter(f"{text!r} is not an address", param_hint="--proxy")
    return network.network_address


def _addresses_of(configuration: Configuration) -> list[IPv4Address | IPv6Address]:
    egress = configuration.egress
    found = [*egress.source_addresses, *(address for pool in egress.pools for address in pool.addresses)]
    found += [listener.address for listener in configuration.listeners if _is_ours(listener)]
    return list(dict.fromkeys(found))


def _is_ours(listener: ListenerSection) -> bool:
    """Whether it says an address of this machine that others see."""
    return not (listener.address.is_unspecified or listener.address.is_loopback)
