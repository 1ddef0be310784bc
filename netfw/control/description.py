"""The service description for AWS SDKs and the AWS CLI, printed from the tables. PURE but for `main`.

`python -m netfw.control.description DIRECTORY` writes two services, to be put on `AWS_DATA_PATH`: `nfw-proxy`, whole,
and `network-firewall`, as an addition to what the SDK already has under that name, so that none of its own operations
is hidden. `netfw/control/botocore/` is what it writes; a test compares them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from netfw.control.service_model import API_VERSION, ERRORS, OPERATIONS, SIGNING_NAME, TARGET_PREFIX, Operation
from netfw.control.shapes import Document, Flag, ListOf, Moment, Number, Shape, Structure, Text

_METADATA = {
    "apiVersion": API_VERSION,
    "endpointPrefix": "network-firewall",
    "jsonVersion": "1.0",
    "protocol": "json",
    "protocols": ["json"],
    "serviceAbbreviation": "Network Firewall",
    "serviceFullName": "AWS Network Firewall",
    "serviceId": "Network Firewall",
    "signatureVersion": "v4",
    "signingName": SIGNING_NAME,
    "targetPrefix": TARGET_PREFIX,
    "uid": f"network-firewall-{API_VERSION}",
    "auth": ["aws.auth#sigv4"],
}


def service_description(*, extensions: bool = True) -> dict[str, Any]:
    """The description that botocore reads; `extensions=False` leaves out what is ours alone."""
    return {
        "version": "2.0",
        "metadata": _METADATA,
        "operations": {operation.name: _operation(operation) for operation in OPERATIONS},
        "shapes": dict(sorted((name, _described(shape, extensions)) for name, shape in all_shapes(extensions).items())),
    }


def paginators() -> dict[str, Any]:
    """Which lists come in pages."""
    return {
        "pagination": {
            operation.name: {
                "input_token": "NextToken",
                "output_token": "NextToken",
                "limit_key": "MaxResults",
                "result_key": operation.paged,
            }
            for operation in OPERATIONS
            if operation.paged is not None
        }
    }


def files() -> dict[str, dict[str, Any]]:
    """Every file of the directory: its path in it, and what it says."""
    whole, pages = service_description(), paginators()
    own = {**whole, "metadata": {**_METADATA, "serviceAbbreviation": "netfw proxy", "serviceId": "nfw proxy"}}
    addition = {"version": 1.0, "merge": {"operations": whole["operations"], "shapes": whole["shapes"]}}
    return {
        f"nfw-proxy/{API_VERSION}/service-2.json": own,
        f"nfw-proxy/{API_VERSION}/paginators-1.json": pages,
        f"network-firewall/{API_VERSION}/service-2.sdk-extras.json": addition,
        f"network-firewall/{API_VERSION}/paginators-1.sdk-extras.json": {"version": 1.0, "merge": pages},
    }


def all_shapes(extensions: bool = True, operations: Iterable[Operation] = OPERATIONS) -> dict[str, Shape]:
    """Every shape that one of these operations or an error uses, by name."""
    found: dict[str, Shape] = {}
    for operation in operations:
        for structure in (operation.input, operation.output):
            _collect(structure, extensions, found)
    for error in ERRORS.values():
        _collect(error, extensions, found)
    return found


def _collect(shape: Shape, extensions: bool, found: dict[str, Shape]) -> None:
    known = found.setdefault(shape.name, shape)
    if known != shape:
        raise ValueError(f"two shapes are called {shape.name}")
    for inner in _inner(shape, extensions):
        _collect(inner, extensions, found)


def _inner(shape: Shape, extensions: bool) -> Iterator[Shape]:
    if isinstance(shape, ListOf):
        yield shape.item
    elif isinstance(shape, Structure):
        for member in shape.members:
            if extensions or not member.extension:
                yield member.shape


def _operation(operation: Operation) -> dict[str, Any]:
    return {
        "name": operation.name,
        "http": {"method": "POST", "requestUri": "/"},
        "input": {"shape": operation.input.name},
        "output": {"shape": operation.output.name},
        "errors": [{"shape": error} for error in operation.errors],
        "documentation": f"<p>{operation.about}</p>",
    }


def _described(shape: Shape, extensions: bool) -> dict[str, Any]:
    if isinstance(shape, Text):
        words = {"enum": list(shape.words)} if shape.words else {}
        pattern = {"pattern": shape.pattern} if shape.pattern is not None else {}
        return {"type": "string", **_bounds(shape.least, shape.most), **pattern, **words}
    if isinstance(shape, Number):
        return {"type": "integer", **_bounds(shape.least, shape.most)}
    if isinstance(shape, Moment):
        return {"type": "timestamp"}
    if isinstance(shape, ListOf):
        return {"type": "list", "member": {"shape": shape.item.name}, **_bounds(shape.least, shape.most)}
    if isinstance(shape, Flag):
        return {"type": "boolean"}
    if isinstance(shape, Document):
        raise TypeError(f"{shape.name}: SDKs are told of no documents")
    members = [member for member in shape.members if extensions or not member.extension]
    described: dict[str, Any] = {"type": "structure"}
    required = [member.name for member in members if member.required]
    if required:
        described["required"] = required
    described["members"] = {member.name: {"shape": member.shape.name} for member in members}
    if shape.exception:
        described["exception"] = True
    if shape.fault:
        described["fault"] = True
    return described


def _bounds(least: int | None, most: int | None) -> dict[str, int]:
    bounds = {"max": most, "min": least}
    return {name: value for name, value in bounds.items() if value is not None}


def printed(content: dict[str, Any]) -> str:
    """A file's text."""
    return json.dumps(content, indent=1, ensure_ascii=True) + "\n"


def main(directory: Path) -> None:
    """Write the files."""
    for name, content in files().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(printed(content), encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
