"""The policy that a configuration names, from files or from the store, at one moment.

Here: what a start begins with, what `netfw check`, `show` or `explain` look at. Not here: following what changes later.
"""

from __future__ import annotations

import time
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from netfw.config.errors import ConfigErrors, Problem
from netfw.config.model import Configuration, PolicySection
from netfw.config.policy_files import read_policy
from netfw.policy.model import PolicyConfiguration
from netfw.policy.problems import PolicyErrors
from netfw.store.database import Database, shown
from netfw.store.errors import StoreError
from netfw.store.follower import Following
from netfw.store.last_good import LastGoodUnusable, read_last_good
from netfw.store.reading import ReadPolicy, StoredPolicies, nothing_allowed

_SQLITE = "sqlite:///"


def followed(configuration: Configuration) -> Following:
    """What a node with this configuration follows; only where the policy is in a store."""
    section = configuration.policy
    assert section.store is not None and section.last_good is not None
    password_file = None if section.password_file is None else str(section.password_file)
    history = section.history
    return Following(
        section.store, password_file, configuration.proxy.name, str(section.last_good), history.generations, history.age
    )


def open_configured(configuration: Configuration) -> Database:
    """The store of a configuration. Raises ConfigErrors."""
    try:
        return followed(configuration).open(time.time)
    except StoreError as error:
        raise ConfigErrors([_problem(configuration.policy, str(error))]) from None


def configured_policy(configuration: Configuration) -> PolicyConfiguration:
    """The policy now. Raises ConfigErrors."""
    return _now(configuration).policy


def first_policy(configuration: Configuration) -> ReadPolicy:
    """What a start begins with: the policy now, or the last one that this node had. Raises ConfigErrors."""
    if configuration.policy.store is None:
        return _now(configuration)
    try:
        return _now(configuration)
    except ConfigErrors as errors:
        kept = _last_good(configuration.policy, configuration.proxy.name, errors)
        if kept is None:
            raise
        return kept


def _now(configuration: Configuration) -> ReadPolicy:
    section = configuration.policy
    if section.store is None:
        return ReadPolicy(1, read_policy(section), {})
    if section.store.startswith(_SQLITE) and not Path(section.store.removeprefix(_SQLITE)).exists():
        # Made by whoever first writes to it, as the user that will go on to.
        return ReadPolicy(0, nothing_allowed(), {})
    database = open_configured(configuration)
    try:
        return StoredPolicies(configuration.proxy.name).read(database)
    except PolicyErrors as errors:
        source = shown(section.store)
        raise ConfigErrors(
            [Problem(one.path, one.message, source=f"{source}: {one.source}") for one in errors.problems]
        ) from None
    except (StoreError, SQLAlchemyError) as error:
        raise ConfigErrors([_problem(section, str(error))]) from None
    finally:
        database.close()


def _last_good(section: PolicySection, proxy: str, errors: ConfigErrors) -> ReadPolicy | None:
    assert section.last_good is not None
    try:
        return read_last_good(section.last_good, proxy)
    except LastGoodUnusable as error:
        raise ConfigErrors([*errors.problems, Problem("policy.last_good", str(error))]) from None


def _problem(section: PolicySection, message: str) -> Problem:
    assert section.store is not None
    return Problem("policy.store", message, source=shown(section.store))
