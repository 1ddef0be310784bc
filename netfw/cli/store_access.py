"""The store that the configuration names, opened to look at what only the database has: the fleet.

Whoever may read the store's password or file may do this. Verbs that read or change the policy go through the control
API (`control_access`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from netfw.cli.config_option import find_config
from netfw.config.load import load_config
from netfw.store.configured import open_configured
from netfw.store.database import Database
from netfw.store.errors import StoreError


@contextmanager
def open_store(config: Path | None) -> Iterator[Database]:
    """The store of the configuration; what it refuses is a ClickException."""
    configuration = load_config(find_config(config).absolute(), with_files=False)
    if configuration.policy.store is None:
        raise click.ClickException(
            f"the policy of {configuration.path} is in files: change them, and run netfw reload; this needs"
            " policy: {store: sqlite:///... or postgresql://...}"
        )
    database = open_configured(configuration)
    try:
        yield database
    except StoreError as error:
        raise click.ClickException(str(error)) from None
    finally:
        database.close()
