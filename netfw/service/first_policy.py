"""What a start begins with, whatever the source: the policy, its generation, and its groups by digest.

The room of the store is entered only where there is one: it brings a database library with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from netfw.config.model import Configuration
from netfw.config.policy_files import read_policy
from netfw.policy.model import PolicyConfiguration, RuleGroup
from netfw.store.resources import AskedOfProxy


@dataclass(frozen=True, slots=True)
class FirstPolicy:
    """`groups`: by digest; empty for files. `asked`: what a store asks of the proxy besides."""

    policy: PolicyConfiguration
    generation: int = 1
    groups: Mapping[str, RuleGroup] = field(default_factory=dict)
    asked: AskedOfProxy = AskedOfProxy()


def first_policy(configuration: Configuration) -> FirstPolicy:
    """Read it. Raises ConfigErrors."""
    if configuration.policy.store is None:
        return FirstPolicy(read_policy(configuration.policy))
    from netfw.store.configured import first_policy as from_store

    read = from_store(configuration)
    return FirstPolicy(read.policy, read.generation, read.groups(), read.asked)
