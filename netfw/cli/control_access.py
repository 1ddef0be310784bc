"""How verbs come to the control API, by what they were told: `--endpoint`, `--profile`, or the configuration.

An endpoint that is named is asked there. Otherwise the configuration says where its proxy is: the admin socket, then
the port. Only where nobody listens there is the store opened directly, and that is said. Not here: the calls
(`control_client`).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from netfw.cli.admin_client import UnixConnection
from netfw.cli.config_option import config_option
from netfw.cli.control_client import ANSWER_SECONDS, ControlClient, NobodyThere, Reply, SocketWay, Way, way_to
from netfw.cli.credentials import find_profile
from netfw.config.errors import ConfigErrors
from netfw.config.load import load_config
from netfw.config.model import Configuration
from netfw.config.places import find_config

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class At:
    """What the options say."""

    config: Path | None
    endpoint: str | None
    profile: str | None

    @property
    def is_elsewhere(self) -> bool:
        """Whether another place is named than the proxy of a configuration."""
        if self.endpoint is not None or self.profile is not None:
            return True
        # What stands on the command line comes before what is left in the shell.
        return self.config is None and bool(os.environ.get("NETFW_ENDPOINT") or os.environ.get("NETFW_PROFILE"))


def control_options(function: Function) -> Function:
    """Add `--config`, `--endpoint` and `--profile`; the function gets `at`, which `control` takes."""

    @functools.wraps(function)
    def with_place(
        *arguments: Any, config: Path | None, endpoint: str | None, profile: str | None, **others: Any
    ) -> Any:
        return function(*arguments, at=At(config, endpoint, profile), **others)

    with_place = click.option(
        "--profile", metavar="NAME", help="Endpoint and key are those of this section of the credentials file."
    )(with_place)
    with_place = click.option(
        "--endpoint", metavar="URL", help="The control API to ask: https://HOST:PORT. NETFW_ENDPOINT says the same."
    )(with_place)
    wrapped: Any = config_option(with_place)
    return wrapped  # type: ignore[no-any-return]  # a decorator keeps its function's type


@dataclass(frozen=True, slots=True)
class ControlAccess:
    """`proxy`: the name of the proxy that is meant where no configuration is named."""

    client: ControlClient
    proxy: str | None

    def the_proxy(self) -> str:
        """Its name: what is configured, or the only one there is. Raises ClickException."""
        if self.proxy is not None:
            return self.proxy
        names = [one["Name"] for one in self.client.pages("ListProxies", "Proxies")]
        if len(names) != 1:
            known = ", ".join(names) or "there is none"
            raise click.ClickException(
                f"which proxy is meant ({known})? Name the configuration, or write proxy = NAME into the profile"
            )
        return str(names[0])

    def configuration_or_followed(self, name: str | None) -> str:
        """The configuration that is named, or the one that the proxy follows."""
        if name is not None:
            return name
        found = self.client.call("DescribeProxy", ProxyName=self.the_proxy())
        return str(found["Proxy"]["ProxyConfigurationName"])


@contextmanager
def control(at: At) -> Iterator[ControlAccess]:
    """The control API that the options and the environment lead to."""
    elsewhere = at.is_elsewhere
    if not elsewhere and at.config is None and not _is_there():
        elsewhere = find_profile(None).endpoint is not None
    if elsewhere:
        profile = find_profile(at.profile)
        endpoint = at.endpoint or profile.endpoint
        if endpoint is None:
            raise click.ClickException("the profile names no endpoint; write endpoint = https://HOST:PORT into it")
        proxy = profile.proxy
        if at.config is not None:
            proxy = load_config(find_config(at.config).absolute(), with_files=False).proxy.name
        yield ControlAccess(ControlClient(way_to(endpoint, profile)), proxy)
        return
    configuration = load_config(find_config(at.config).absolute(), with_files=False)
    way = _ServerOrStore(configuration)
    try:
        yield ControlAccess(ControlClient(way), configuration.proxy.name)
    finally:
        way.close()


def asking_proxy(configuration: Configuration, seconds: float = 10.0) -> ControlClient | None:
    """What asks the proxy of this configuration over its admin socket, and waits so long; None where it has none."""
    place = configuration.admin.socket
    if place is None:
        return None
    return ControlClient(SocketWay(str(place), lambda: UnixConnection(place, seconds)), patience=seconds)


def _is_there() -> bool:
    try:
        find_config(None)
    except ConfigErrors:
        return False
    return True


class _ServerOrStore:
    """The proxy of a configuration while it listens, else its store. Settled by the first call."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._way: Way | None = None
        self._store: Any = None
        self.place = str(configuration.path)

    def send(self, target: str, body: bytes) -> Reply:
        """See `Way`."""
        if self._way is not None:
            return self._way.send(target, body)
        server = _way_to_server(self._configuration)
        if server is not None:
            self.place = server.place
            try:
                reply = server.send(target, body)
                self._way = server
                return reply
            except NobodyThere:
                if self._configuration.policy.store is None:
                    raise
        self._way = self._open(server)
        return self._way.send(target, body)

    def close(self) -> None:
        """Let go of the store, if it was opened."""
        if self._store is not None:
            self._store.close()

    def _open(self, server: Way | None) -> Way:
        configuration = self._configuration
        if configuration.policy.store is None:
            raise click.ClickException(
                f"the policy of {configuration.path} is in files: change them, and run netfw reload; this needs"
                " policy: {store: sqlite:///... or postgresql://...}"
            )
        # A database takes longer to import than most verbs to run.
        from netfw.cli.store_way import StoreWay

        way = StoreWay(configuration)
        self._store, self.place = way, way.place
        if server is not None:
            click.echo(f"no proxy listens on {server.place}: {way.place} is opened directly", err=True)
        return way


def _way_to_server(configuration: Configuration) -> Way | None:
    """None where the configuration has no admin surface."""
    admin = configuration.admin
    if admin.socket is not None:
        socket = admin.socket
        return SocketWay(str(socket), lambda: UnixConnection(socket, ANSWER_SECONDS))
    if admin.address is None or not admin.port:
        return None
    scheme = "http" if admin.certificate is None else "https"
    host = f"[{admin.address}]" if admin.address.version == 6 else str(admin.address)
    endpoint = f"{scheme}://{host}:{admin.port}"
    return way_to(endpoint, find_profile(None))
