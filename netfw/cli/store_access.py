"""How verbs come to the store: the one that the configuration names, opened directly.

Here: opening it, who edits, the ARNs of what is made, errors in the command's words. What is done inside is the store's
(`netfw.store`). Whoever may read the store's password or file may do all this; the control API has roles.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from netfw.cli.config_option import find_config
from netfw.config import defaults
from netfw.config.load import load_config
from netfw.config.model import Configuration
from netfw.control.arns import Arns
from netfw.control.service_model import Resource
from netfw.policy.problems import PolicyErrors
from netfw.policy.values import ValueProblem
from netfw.store.attaching import followed_configuration
from netfw.store.configured import open_configured
from netfw.store.database import Database
from netfw.store.errors import StoreError

_RESOURCES = {"group": Resource.RULE_GROUP, "configuration": Resource.CONFIGURATION, "proxy": Resource.PROXY}


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """An open store. `editor` is who history names."""

    database: Database
    configuration: Configuration
    editor: str

    @property
    def proxy(self) -> str:
        """The name of the proxy that the configuration describes."""
        return self.configuration.proxy.name

    def arn_of(self, kind: str, name: str) -> str:
        """The ARN of what is made: the one that the proxy's own API would give it."""
        control = self.configuration.control
        region, account = (defaults.REGION, defaults.ACCOUNT) if control is None else (control.region, control.account)
        return Arns(region, account).of(_RESOURCES[kind], name)

    def configuration_or_followed(self, name: str | None) -> str:
        """The configuration that is named, or the one that this proxy follows."""
        if name is not None:
            return name
        return self.database.read(followed_configuration, self.proxy)


@contextmanager
def open_store(config: Path | None) -> Iterator[StoreAccess]:
    """The store of the configuration; what it refuses is a ClickException."""
    configuration = load_config(find_config(config).absolute(), with_files=False)
    if configuration.policy.store is None:
        raise click.ClickException(
            f"the policy of {configuration.path} is in files: change them, and run netfw reload; this needs"
            " policy: {store: sqlite:///... or postgresql://...}"
        )
    database = open_configured(configuration)
    try:
        yield StoreAccess(database, configuration, f"{getpass.getuser()}@{socket.gethostname()}")
    except (StoreError, PolicyErrors, ValueProblem) as error:
        raise click.ClickException(str(error)) from None
    finally:
        database.close()
