"""AWS JSON 1.0: from the bytes of a request to an operation and its checked input, and from a result to bytes. PURE.

`X-Amz-Target: NetworkFirewall_20201112.<Operation>`, a JSON object as the body; times are numbers; members without a
value are left out; an error is `{"__type": code, "Message": text}`. Not here: who asks (`signature`), and sockets
(`resource`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from netfw.control.own_model import OWN_OPERATIONS
from netfw.control.refusals import InvalidRequest, Malformed, Refusal, UnknownOperation
from netfw.control.service_model import OPERATIONS, TARGET_PREFIX, Operation
from netfw.control.shapes import ListOf, Moment, Shape, ShapeProblems, Structure, read_structure, shown

CONTENT_TYPE = "application/x-amz-json-1.0"
GENERATION_FIELD = "x-netfw-generation"
"""The field of an answer that says which generation the call made."""
BODY_LIMIT = 32 * 1024 * 1024
"""Octets of a request: a group's rules are at most 30 MB of keys and values."""
_BY_TARGET = {operation.target: operation for operation in (*OPERATIONS, *OWN_OPERATIONS)}


def operation_of(target: str) -> Operation:
    """The operation that X-Amz-Target names."""
    operation = _BY_TARGET.get(target)
    if operation is None:
        raise UnknownOperation(f"{shown(target)} is not offered here; X-Amz-Target is {TARGET_PREFIX}.<Operation>")
    return operation


def read_input(operation: Operation, body: bytes) -> dict[str, Any]:
    """The checked input. Raises `Malformed`, or `InvalidRequest` with everything that is wrong."""
    try:
        value = json.loads(body.decode("utf-8") or "{}", object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is not JSON: {_reason(error)}") from None
    if not isinstance(value, dict):
        raise Malformed("the body is not a JSON object")
    try:
        return read_structure(operation.input, value)
    except ShapeProblems as error:
        raise InvalidRequest(_told(error.problems)) from None


def print_output(operation: Operation, output: Mapping[str, Any]) -> bytes:
    """The result as bytes; a member that the operation does not have is a mistake of ours and raises."""
    return json.dumps(_printed(operation.output, output), separators=(",", ":"), allow_nan=False).encode("ascii")


def print_refusal(refusal: Refusal) -> bytes:
    """The error as bytes."""
    return json.dumps({"__type": refusal.code, "Message": refusal.message}).encode("ascii")


def _printed(shape: Shape, value: Any) -> Any:
    if isinstance(shape, Structure):
        members = {member.name: member.shape for member in shape.members}
        return {name: _printed(members[name], inner) for name, inner in value.items() if inner is not None}
    if isinstance(shape, ListOf):
        return [_printed(shape.item, item) for item in value]
    if isinstance(shape, Moment):
        return round(float(value), 3)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a member stands there twice")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error)


def _told(problems: list[str]) -> str:
    most = 20
    rest = f"; and {len(problems) - most} more" if len(problems) > most else ""
    return "; ".join(problems[:most]) + rest
