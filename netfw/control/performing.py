"""Performing an operation inside a transaction: right, function, generation, and the store's errors in the API's words.

It runs on the database's thread, and runs again when the database says so: nothing here may be seen from outside before
the transaction is committed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from netfw.control.json_protocol import print_output
from netfw.control.operations.call import Call, Change, Input, Output, Site
from netfw.control.operations.table import FUNCTIONS, target
from netfw.control.refusals import (
    AccessDenied,
    InternalFailure,
    InvalidRequest,
    InvalidToken,
    Refusal,
    ResourceNotFound,
    UnsupportedOperation,
)
from netfw.control.roles import Caller, Role, check_right
from netfw.control.service_model import Operation
from netfw.control.translation import told_problems
from netfw.policy.problems import PolicyErrors
from netfw.store.errors import (
    GenerationPassed,
    NoSuchException,
    NoSuchGeneration,
    NoSuchResource,
    PlanOutdated,
    ResourceExists,
    ResourceInUse,
    StaleToken,
    StoreError,
    StoreUnavailable,
)


@dataclass(frozen=True, slots=True)
class Performed:
    """How a call ended. `generation`: the one that it made, None when the policy is as it was."""

    output: Output
    changes: tuple[Change, ...]
    generation: int | None


def perform(transaction: Any, operation: Operation, given: Input, caller: Caller, site: Site) -> Performed:
    """Do it. Raises a `Refusal` and changes nothing then."""
    call = Call(caller, site)
    if operation.own:
        return _perform_own(transaction, operation, given, call)
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


def perform_and_print(
    transaction: Any, operation: Operation, given: Input, caller: Caller, site: Site
) -> tuple[Performed, bytes]:
    """The same, and the answer's bytes: large ones are made on the database's thread too."""
    performed = perform(transaction, operation, given, caller, site)
    return performed, print_output(operation, performed.output)


def _perform_own(transaction: Any, operation: Operation, given: Input, call: Call) -> Performed:
    """The same for an operation of ours, which may be about several resources."""
    if not transaction.has_history:
        raise UnsupportedOperation(
            f"{operation.name} needs a policy in a store (policy.store): here the policy is files, which are changed "
            "by hand and taken with `netfw reload`"
        )
    # With these comes the database library, which a proxy with files does without.
    from netfw.control.own_operations import FUNCTIONS as OWN_FUNCTIONS
    from netfw.control.whole_changes import judge_changes

    check_right(call.caller, operation.name, False, operation.resource, None)
    if operation.writes and call.caller.roles <= {Role.VIEWER}:
        raise AccessDenied(f"{call.caller.name} may not call {operation.name}: a viewer changes nothing")
    try:
        former = transaction.generation
        output = OWN_FUNCTIONS[operation.name](transaction, given, call)
        if transaction.generation == former:
            return Performed(output, (), None)
        bounded = operation.name != "RollBack"
        changes = judge_changes(transaction, former, operation, call, bounded=bounded)
        return Performed(output, changes, transaction.generation)
    except StoreError as error:
        raise refusal_of(error) from error
    except PolicyErrors as errors:
        raise InvalidRequest(told_problems(errors.problems)) from None


def refusal_of(error: StoreError) -> Refusal:
    """What a client is told of the store's error."""
    if isinstance(error, StaleToken | PlanOutdated | GenerationPassed):
        return InvalidToken(str(error))
    if isinstance(error, NoSuchResource | NoSuchGeneration | NoSuchException):
        return ResourceNotFound(str(error))
    if isinstance(error, ResourceExists | ResourceInUse):
        return InvalidRequest(str(error))
    if isinstance(error, StoreUnavailable):
        return InternalFailure("the store does not answer; nothing is known to have changed: try again")
    return InternalFailure("the store failed; the log says why")
