"""Performing an operation inside a transaction: right, function, generation, and the store's errors in the API's words.

It runs on the database's thread, and runs again when the database says so: nothing here may be seen from outside before
the transaction is committed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from netfw.control.operations.call import Call, Change, Input, Output, Site
from netfw.control.operations.table import FUNCTIONS, target
from netfw.control.refusals import InternalFailure, InvalidRequest, InvalidToken, Refusal, ResourceNotFound
from netfw.control.roles import Caller, check_right
from netfw.control.service_model import Operation
from netfw.store.errors import NoSuchResource, ResourceExists, ResourceInUse, StaleToken, StoreError, StoreUnavailable


@dataclass(frozen=True, slots=True)
class Performed:
    """How a call ended. `generation`: the one that it made, None when the policy is as it was."""

    output: Output
    changes: tuple[Change, ...]
    generation: int | None


def perform(transaction: Any, operation: Operation, given: Input, caller: Caller, site: Site) -> Performed:
    """Do it. Raises a `Refusal` and changes nothing then."""
    call = Call(caller, site)
    try:
        if operation.writes:
            kind, name = target(operation, transaction, given)
            check_right(caller, operation.name, True, kind, name)
        else:
            check_right(caller, operation.name, False, operation.resource, None)
        output = FUNCTIONS[operation.name](transaction, given, call)
        generation = None
        if any(change.policy for change in call.changes):
            generation = transaction.bump_generation(caller.name, f"{operation.name} {call.changes[0].arn}")
    except StoreError as error:
        raise refusal_of(error) from error
    return Performed(output, tuple(call.changes), generation)


def refusal_of(error: StoreError) -> Refusal:
    """What a client is told of the store's error."""
    if isinstance(error, StaleToken):
        return InvalidToken(str(error))
    if isinstance(error, NoSuchResource):
        return ResourceNotFound(str(error))
    if isinstance(error, ResourceExists | ResourceInUse):
        return InvalidRequest(str(error))
    if isinstance(error, StoreUnavailable):
        return InternalFailure("the store does not answer; nothing is known to have changed: try again")
    return InternalFailure("the store failed; the log says why")
