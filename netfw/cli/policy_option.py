"""The options by which verbs find the policy: `--config FILE` for the configuration's, `--policy` for one by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from netfw.cli.config_option import config_option, find_config
from netfw.config.load import load_config
from netfw.config.model import Configuration
from netfw.config.policy_files import read_policy, read_policy_directory, read_policy_file
from netfw.policy.imagined_request import ImaginedRequest
from netfw.policy.model import PolicyConfiguration
from netfw.proxy.interception_scope import InterceptionScope
from netfw.proxy.sources import as_known

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class FoundPolicy:
    """A policy and what is known of the process that will use it; `configuration` is None for a policy by itself."""

    policy: PolicyConfiguration
    configuration: Configuration | None

    @property
    def intercepts(self) -> bool:
        """Whether TLS is intercepted at all. Of a policy by itself it is assumed."""
        return self.configuration is None or self.configuration.tls_intercept.enabled

    @property
    def passes_through(self) -> bool:
        """Whether some tunnels are passed through."""
        if self.configuration is None:
            return False
        section = self.configuration.tls_intercept
        return not section.enabled or bool(section.bypass) or section.only is not None

    def intercepts_request(self, request: ImaginedRequest) -> bool:
        """Whether a TLS tunnel for this request, by its client, is intercepted."""
        if self.configuration is None:
            return True
        scope = InterceptionScope(self.configuration.tls_intercept)
        return scope.intercepts(request.authority, request.source_ip)

    def as_known(self, request: ImaginedRequest) -> ImaginedRequest:
        """The same, with what the configuration knows of its client."""
        return request if self.configuration is None else as_known(request, self.configuration.sources)


def policy_options(function: Function) -> Function:
    """Add `--config FILE` and `--policy PATH`; the function gets `config` and `policy`, which `find_policy` takes."""
    option = click.option(
        "--policy",
        "-p",
        type=click.Path(path_type=Path),
        metavar="PATH",
        help="A policy by itself, a file or a directory; interception is assumed to be on.",
    )
    return config_option(option(function))


def find_policy(config: Path | None, policy: Path | None) -> FoundPolicy:
    """Read the policy that the options name. Raises ConfigErrors."""
    if policy is not None:
        if config is not None:
            raise click.UsageError("--config and --policy exclude each other")
        return FoundPolicy(read_policy_directory(policy) if policy.is_dir() else read_policy_file(policy), None)
    configuration = load_config(find_config(config).absolute())
    return FoundPolicy(read_configured(configuration), configuration)


def read_configured(configuration: Configuration) -> PolicyConfiguration:
    """Read the policy of a configuration, from files or from the store. Raises ConfigErrors."""
    if configuration.policy.store is None:
        return read_policy(configuration.policy)
    # A database takes longer to import than most verbs to run.
    from netfw.store.configured import configured_policy

    return configured_policy(configuration)
