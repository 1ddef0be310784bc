"""Calls without a server: performed in this process on the store that the configuration names, where no proxy runs.

It is the mechanism that serves the API, so what is checked, refused and recorded is the same. Whoever can open the
store is its owner. Not here: when this way is taken (`control_access`).
"""

from __future__ import annotations

from uuid import uuid4

import click
from sqlalchemy.exc import SQLAlchemyError

from netfw.cli.audit import local_caller, recorded
from netfw.cli.control_client import Reply
from netfw.config import defaults
from netfw.config.model import Configuration
from netfw.control.arns import Arns
from netfw.control.audit import subject
from netfw.control.json_protocol import operation_of, print_refusal, read_input
from netfw.control.operations.call import Site
from netfw.control.performing import perform_and_print, refusal_of
from netfw.control.refusals import InternalFailure, Refusal
from netfw.store.configured import open_configured
from netfw.store.database import shown
from netfw.store.errors import StoreError, StoreUnavailable


class StoreWay:
    """See `control_client.Way`. Raises ConfigErrors where the store cannot be opened."""

    def __init__(self, configuration: Configuration) -> None:
        assert configuration.policy.store is not None
        self.place = shown(configuration.policy.store)
        self._configuration = configuration
        self._database = open_configured(configuration)
        control = configuration.control
        region, account = (defaults.REGION, defaults.ACCOUNT) if control is None else (control.region, control.account)
        quotas = defaults.QUOTAS if control is None else control.quotas
        self._site = Site(Arns(region, account), quotas)
        self._caller = local_caller()

    def send(self, target: str, body: bytes) -> Reply:
        """Perform the call. What cannot be recorded is not done."""
        operation = operation_of(target)
        try:
            given = read_input(operation, body)
            if not operation.writes:
                _, output = self._database.read(perform_and_print, operation, given, self._caller, self._site)
                return Reply(200, output)
            with recorded(self._configuration, operation.name, subject(operation, given), str(uuid4())) as record:
                try:
                    performed, output = self._database.transact(
                        perform_and_print, operation, given, self._caller, self._site
                    )
                except Refusal as refusal:
                    record.outcome = refusal.code
                    raise
                except StoreUnavailable:
                    # It may have been stored all the same.
                    record.outcome = "unknown"
                    raise
                record.outcome, record.changes, record.generation = "done", performed.changes, performed.generation
            return Reply(200, output, performed.generation)
        except Refusal as refusal:
            cause = refusal.__cause__
            if isinstance(refusal, InternalFailure) and isinstance(cause, StoreError):
                # There is no log to look into: this is the place to say it.
                raise click.ClickException(str(cause)) from None
            return Reply(refusal.status, print_refusal(refusal))
        except StoreUnavailable as error:
            raise click.ClickException(str(error)) from None
        except StoreError as error:
            told = refusal_of(error)
            return Reply(told.status, print_refusal(told))
        except SQLAlchemyError as error:
            raise click.ClickException(f"{self.place}: {error}") from None

    def close(self) -> None:
        """Let go of the store."""
        self._database.close()
