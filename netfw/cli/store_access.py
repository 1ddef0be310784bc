"""How verbs come to the store: the one that the configuration names, opened directly.

Here: opening it, who edits, the ARNs of what is made, the record of each change, errors in the command's words. What is
done inside is the store's (`netfw.store`). Whoever may read the store's password or file may do all this; the control
API has roles.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from netfw.cli.audit import recorded
from netfw.cli.config_option import find_config
from netfw.cli.store_changes import change_within
from netfw.config import defaults
from netfw.config.load import load_config
from netfw.config.model import Configuration
from netfw.control.arns import Arns
from netfw.control.refusals import Refusal
from netfw.control.service_model import Resource
from netfw.policy.problems import PolicyErrors
from netfw.policy.values import ValueProblem
from netfw.store.attaching import followed_configuration
from netfw.store.configured import open_configured
from netfw.store.database import Database
from netfw.store.errors import StoreError, StoreUnavailable

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

    def change(
        self, verb: str, about: Mapping[str, str], function: Callable[..., Any], *arguments: Any, quotas: bool = True
    ) -> Any:
        """What `function(transaction, *arguments)` returns. Its change is within `control.quotas`, and on record.

        Raises what the function does, `LimitExceeded`, and PolicyErrors; nothing is changed then. `quotas`: False for
        going back to what was accepted once.
        """
        control = self.configuration.control
        allowed = defaults.QUOTAS if control is None else control.quotas
        with recorded(self.configuration, f"netfw {verb}", about) as record:
            try:
                done = self.database.transact(
                    change_within, function, arguments, allowed if quotas else None, self.arn_of
                )
            except Refusal as refusal:
                record.outcome = refusal.code
                raise
            except StoreUnavailable:
                # It may have been stored all the same: the error says to look.
                record.outcome = "unknown"
                raise
            record.outcome, record.changes, record.generation = "done", done.changes, done.generation
        return done.result

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
    except Refusal as refusal:
        raise click.ClickException(refusal.message) from None
    except (StoreError, PolicyErrors, ValueProblem) as error:
        raise click.ClickException(str(error)) from None
    finally:
        database.close()
