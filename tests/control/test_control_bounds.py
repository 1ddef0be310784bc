"""Every bound of every operation's input, taken from the preview's own description: just inside, and just outside.

Each value is put into a request that is otherwise in order, and travels as its bytes do. A refusal names the place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from netfw.control.json_protocol import read_input
from netfw.control.refusals import InvalidRequest, ResourceNotFound
from netfw.control.service_model import OPERATION
from netfw.control.shapes import Structure
from tests.control.conftest import DEFAULTS, Api, rule

REFERENCE = json.loads((Path(__file__).parents[1] / "conformance" / "control_api.json").read_text())
SHAPES = REFERENCE["shapes"]
TOKEN = "6a0b7c1e-5d0e-4b55-9a5a-0c3f5e5b7a11"
# A text of so many characters that a pattern accepts; None: there is none of this length.
FITTING: dict[str, Callable[[int], str | None]] = {
    "^[a-zA-Z0-9-]+$": lambda length: "a" * length,
    "^arn:aws.*": lambda length: "arn:aws" + "x" * (length - 7) if length >= 7 else None,
    "^.*$": lambda length: "é" * length,
    r"[0-9A-Za-z:\/+=]+$": lambda length: "=" * length,
    "^([0-9a-f]{8})-([0-9a-f]{4}-){3}([0-9a-f]{12})$": lambda length: TOKEN if length == len(TOKEN) else None,
}
AGAINST = {
    "^[a-zA-Z0-9-]+$": ["a_b", "a b", "a\n", "é", "a/b"],
    "^arn:aws.*": ["arn:other", "ARN:aws", "xarn:aws", "arn:aws\nx"],
    "^.*$": ["two\nlines"],
    r"[0-9A-Za-z:\/+=]+$": ["a b", "a-b", "a\n"],
    "^([0-9a-f]{8})-([0-9a-f]{4}-){3}([0-9a-f]{12})$": [TOKEN.upper(), TOKEN + "0", TOKEN[1:], TOKEN.replace("-", "_")],
}
Case = tuple[str, list[Any], list[Any], Callable[[Any], None]]


def test_every_bound_of_the_description_is_known_here() -> None:
    """Patterns that somebody adds need texts for and against them."""
    patterns = {shape["pattern"] for shape in SHAPES.values() if "pattern" in shape}
    assert patterns == set(FITTING) == set(AGAINST)


def example(name: str) -> Any:
    """A value of this shape that is in order, with every member."""
    shape = SHAPES[name]
    if shape["type"] == "structure":
        return {member: example(inner["shape"]) for member, inner in shape["members"].items()}
    if shape["type"] == "list":
        return [example(shape["member"]["shape"])]
    if shape["type"] == "string":
        if "enum" in shape:
            return shape["enum"][0]
        fitting = FITTING[shape.get("pattern", "^[a-zA-Z0-9-]+$")]
        return next(text for length in (3, 9, 36) if (text := fitting(length)) is not None)
    return shape.get("min", 1)


def bounds(name: str) -> tuple[list[Any], list[Any]]:
    """Values inside and outside of what the description says of this shape, and of another type."""
    shape = SHAPES[name]
    kind, least, most = shape["type"], shape.get("min"), shape.get("max")
    inside: list[Any] = []
    outside: list[Any] = [True, 1.5] if kind == "integer" else [7, {}] if kind == "string" else ["text", 7]
    if kind == "structure":
        return inside, outside
    if "enum" in shape:
        return list(shape["enum"]), [*outside, "", "MAYBE", shape["enum"][0].lower(), shape["enum"][0] + " "]
    if kind == "string":
        fitting = FITTING[shape.get("pattern", "^[a-zA-Z0-9-]+$")]
        inside = [text for length in (least, most) if length and (text := fitting(length)) is not None]
        outside += ["" for _ in range(1) if least] + ([(fitting(most + 1) or "a" * (most + 1))] if most else [])
        return inside, outside + AGAINST.get(shape.get("pattern", ""), [])
    if kind == "integer":
        inside = [number for number in (least, most) if number is not None]
        return inside, outside + [least - 1 for _ in range(1) if least is not None] + ([most + 1] if most else [])
    if kind == "list":
        item = example(shape["member"]["shape"])
        inside = [[item] * number for number in (least, most) if number is not None]
        return inside, outside + ([[]] if least else []) + ([[item] * (most + 1)] if most else [])
    return inside, outside


def cases(name: str, path: str, put: Callable[[Any], None]) -> Iterator[Case]:
    """This value's bounds, and those of all that is in it."""
    shape = SHAPES[name]
    inside, outside = bounds(name)
    yield path, inside, outside, put
    if shape["type"] == "list":
        yield from cases(shape["member"]["shape"], f"{path}[0]", lambda value: put([value]))
    elif shape["type"] == "structure":
        for member, inner in shape["members"].items():
            whole = example(name)
            yield from cases(
                inner["shape"],
                f"{path}.{member}" if path else member,
                lambda value, member=member, whole=whole: put({**whole, member: value}),
            )


@pytest.mark.parametrize("name", sorted(REFERENCE["operations"]))
def test_an_operation_takes_what_is_inside_and_names_what_is_outside(name: str) -> None:
    """Of every member, at every depth."""
    operation = OPERATION[name]
    request = example(REFERENCE["operations"][name]["input"]["shape"])
    assert read_input(operation, json.dumps(request).encode()) == request
    tried = 0
    for member, inner in SHAPES[REFERENCE["operations"][name]["input"]["shape"]]["members"].items():
        given: dict[str, Any] = {}

        def put(value: Any, member: str = member, given: dict[str, Any] = given) -> None:
            given.clear()
            given.update({**deepcopy(request), member: value})

        for path, inside, outside, put_there in cases(inner["shape"], member, put):
            for value in inside:
                put_there(value)
                assert read_input(operation, json.dumps(given).encode()) == given, (path, value)
            for value in outside:
                put_there(value)
                with pytest.raises(InvalidRequest) as caught:
                    read_input(operation, json.dumps(given).encode())
                assert caught.value.message.startswith(f"{path}"), (path, value, caught.value.message)
                tried += 1
    assert tried or not request


@pytest.mark.parametrize("name", sorted(REFERENCE["operations"]))
def test_what_the_description_requires_must_be_there(name: str) -> None:
    """One left out at a time, and null is as good as nothing; all others are ours to decide."""
    shape = SHAPES[REFERENCE["operations"][name]["input"]["shape"]]
    request = example(REFERENCE["operations"][name]["input"]["shape"])
    for member in shape.get("required", ()):
        for left in ({key: value for key, value in request.items() if key != member}, {**request, member: None}):
            with pytest.raises(InvalidRequest, match=f"^{member}: it is missing"):
                read_input(OPERATION[name], json.dumps(left).encode())
    with pytest.raises(InvalidRequest, match="unknown member"):
        read_input(OPERATION[name], json.dumps({**request, "Surplus": 1}).encode())


@pytest.mark.parametrize(
    "name", sorted(one for one, known in OPERATION.items() if "ResourceNotFoundException" in known.errors)
)
def test_what_is_not_there_is_not_found(api: Api, name: str) -> None:
    """Each operation that models it says so, of every resource that it can name; lists find nothing, and say that."""
    api("CreateProxyRuleGroup", ProxyRuleGroupName="here", Rules={"PreDNS": [rule("r")]})
    api("CreateProxyConfiguration", ProxyConfigurationName="here", DefaultRulePhaseActions=DEFAULTS)
    tried = 0
    for given in _naming_nobody(OPERATION[name].input):
        with pytest.raises(ResourceNotFound):
            api(name, **given)
        tried += 1
    assert tried or name.startswith("List")


def _naming_nobody(shape: Structure) -> Iterator[dict[str, Any]]:
    request = {
        "Rules": {"PreDNS": [rule("x")]},
        "RuleGroups": [{"ProxyRuleGroupName": "nobody", "InsertPosition": 0, "NewPosition": 0}],
        "DefaultRulePhaseActions": DEFAULTS,
        "RuleGroupRequestPhase": "PRE_DNS",
        "TlsInterceptProperties": {},
        "NatGatewayId": "nat-nobody",
        "UpdateToken": TOKEN,
        "Tags": [{"Key": "k", "Value": "v"}],
        "TagKeys": ["k"],
        "ProxyName": "nobody",
        "ProxyConfigurationName": "nobody",
        "ProxyRuleGroupName": "nobody",
        "ProxyRuleName": "nobody",
        "RuleGroupNames": ["nobody"],
        "RuleGroupArns": ["arn:aws:network-firewall:us-east-2:123456789012:proxy-rule-group/nobody"],
    }
    members = {member.name for member in shape.members}
    wanted = {key: value for key, value in request.items() if key in members}
    if shape.name == "DeleteProxyRulesRequest":
        wanted["Rules"] = ["nobody"]
    if shape.name == "UpdateProxyRulePrioritiesRequest":
        wanted["Rules"] = [{"ProxyRuleName": "nobody", "NewPosition": 0}]
    if shape.name == "UpdateProxyRuleGroupPrioritiesRequest":
        wanted["RuleGroups"] = [{"ProxyRuleGroupName": "nobody", "NewPosition": 0}]
    if shape.name == "AttachRuleGroupsToProxyConfigurationRequest":
        wanted["RuleGroups"] = [{"ProxyRuleGroupName": "nobody"}]
    if shape.name.startswith("List") and "ResourceArn" not in members:
        return
    if "ResourceArn" in members:
        for kind in ("proxy", "proxy-configuration", "proxy-rule-group"):
            yield {**wanted, "ResourceArn": f"arn:aws:network-firewall:us-east-2:123456789012:{kind}/nobody"}
        return
    yield wanted
    if shape.name in ("DescribeProxyRuleRequest", "DeleteProxyRulesRequest", "UpdateProxyRuleRequest"):
        # The group is there, the rule is not.
        yield {**wanted, "ProxyRuleGroupName": "here"}
    if shape.name.startswith(("Attach", "CreateProxyConfiguration")):
        yield {**wanted, "ProxyConfigurationName": "here" if shape.name.startswith("Attach") else "new"}
