"""Reading values against shapes: just inside every bound, just outside, and everything wrong at once."""

from typing import Any

import pytest

from netfw.control import resource_shapes as table
from netfw.control.shapes import ListOf, Member, Moment, Number, Shape, ShapeProblems, Structure, Text, read_structure

TOKEN = "6a0b7c1e-5d0e-4b55-9a5a-0c3f5e5b7a11"
RULE = {
    "ProxyRuleName": "a",
    "Action": "ALLOW",
    "Conditions": [{"ConditionKey": "k", "ConditionOperator": "o", "ConditionValues": ["v"]}],
}
TAGS = [{"Key": f"k{number}", "Value": ""} for number in range(201)]
LISTENERS = [{"Port": port, "Type": "HTTP"} for port in (1, 2, 3)]

# shape, values just inside, values just outside
BOUNDS: list[tuple[Shape, list[Any], list[Any]]] = [
    (
        table.CREATE_RULES_BY_PHASE.members[0].shape,
        [[RULE], [RULE] * 50],
        [[], [RULE] * 51],
    ),
    (table.DESCRIPTION, ["", "d" * 512, "ä" * 512], ["d" * 513, "two\nlines", "line\n"]),
    (table.LISTENER_REQUESTS, [[], LISTENERS[:2]], [LISTENERS]),
    (table.LISTENER_REQUESTS, [[{"Port": 65535, "Type": "HTTPS"}]], [[{"Port": 65536, "Type": "HTTPS"}]]),
    (table.LISTENER_REQUESTS, [[{"Port": 1, "Type": "HTTP"}]], [[{"Port": 0, "Type": "HTTP"}], [{"Port": 1}]]),
    (table.LISTENER_REQUESTS, [], [[{"Port": 1, "Type": "http"}], [{"Port": "1", "Type": "HTTP"}]]),
    (table.NAT_GATEWAY_ID, ["n", "n" * 128], ["", "n" * 129]),
    (table.PAGINATION_MAX_RESULTS, [1, 100, 100.0], [0, 101, -1, 1.5, True, "1"]),
    (table.TAGS_PAGINATION_MAX_RESULTS, [0, 100], [-1, 101]),
    (table.PAGINATION_TOKEN, ["a", "A0:/+=", "a" * 4096], ["", "a" * 4097, "a b", "a-b", "a\n"]),
    (table.ACTION, ["ALLOW", "DENY", "ALERT"], ["DROP", "MAYBE", "allow", ""]),
    (table.RESOURCE_ARN, ["arn:aws", "arn:aws:" + "x" * 248], ["", "arn", "arn:aws:" + "x" * 249, "arn:aws:\n"]),
    (table.RESOURCE_NAME, ["a", "a" * 128, "A-9"], ["", "a" * 129, "a_b", "a b", "ä", "a\n", "a.b", 7]),
    (table.PHASE, ["PRE_DNS", "PRE_REQ", "POST_RES"], ["PreDNS", "PRE_REQUEST"]),
    (table.TAG_LIST, [TAGS[:1], TAGS[:200]], [[], TAGS, [{"Key": "k"}], [{"Value": "v"}]]),
    (table.TAG_LIST, [[{"Key": "k" * 128, "Value": "v" * 256}]], [[{"Key": "k" * 129, "Value": "v"}]]),
    (table.TAG_LIST, [], [[{"Key": "", "Value": "v"}], [{"Key": "k", "Value": "v" * 257}]]),
    (table.TAG_KEY_LIST, [["k"], ["k"] * 200], [[], ["k"] * 201, [""]]),
    (table.TLS_REQUEST, [{}, {"TlsInterceptMode": "ENABLED"}], [{"TlsInterceptMode": "ON"}, {"PcaArn": "pca"}, []]),
    (table.UPDATE_TOKEN, [TOKEN], [TOKEN.upper(), TOKEN[:-1], TOKEN + "0", "", TOKEN + "\n", TOKEN.replace("-", "")]),
    (table.INSERT_POSITION, [0, 1_000_000], [-1, 1_000_001]),
    (table.RULE, [RULE, {**RULE, "NotAfter": 1.5}], [{}, {**RULE, "Conditions": None}, {**RULE, "NotAfter": -1}]),
    (table.CONDITION, [RULE["Conditions"][0]], [{"ConditionKey": "k", "ConditionOperator": "o"}]),  # type: ignore[index]
    (table.CONDITION, [], [{"ConditionKey": "k", "ConditionOperator": "o", "ConditionValues": []}]),
    (
        table.DEFAULT_ACTIONS,
        [dict.fromkeys(("PreDNS", "PreREQUEST", "PostRESPONSE"), "DENY")],
        [{}, {"PreDNS": "DENY"}],
    ),
]
INSIDE = [(shape, value) for shape, inside, _ in BOUNDS for value in inside]
OUTSIDE = [(shape, value) for shape, _, outside in BOUNDS for value in outside]


def read(shape: Shape, value: Any) -> Any:
    """The value as a member of a structure."""
    return read_structure(Structure("Request", (Member("Value", shape),)), {"Value": value}).get("Value")


@pytest.mark.parametrize(("shape", "value"), INSIDE)
def test_a_value_just_inside_its_bounds_is_taken_as_it_is(shape: Shape, value: Any) -> None:
    """Nothing is cut, changed or filled in."""
    assert read(shape, value) == value


@pytest.mark.parametrize(("shape", "value"), OUTSIDE)
def test_a_value_just_outside_its_bounds_is_refused(shape: Shape, value: Any) -> None:
    """The message begins with the place."""
    with pytest.raises(ShapeProblems) as caught:
        read(shape, value)
    assert all(problem.startswith("Value") for problem in caught.value.problems)


def test_every_problem_is_told_at_once() -> None:
    """With its path."""
    shape = Structure(
        "Request",
        (
            Member("Name", Text("Name", 1, 3), required=True),
            Member("Items", ListOf("Items", Number("Count", 1, 9))),
            Member("When", Moment("When"), demanded=True),
        ),
    )
    with pytest.raises(ShapeProblems) as caught:
        read_structure(shape, {"Name": "long name", "Items": [1, 10, "x"], "Other": 1})
    assert caught.value.problems == [
        "Name: it has 9 characters, at most 3 are allowed",
        'Items[1]: "10" is out of bounds: write a number from 1 to 9',
        "Items[2]: a whole number is wanted, not text",
        "When: it is missing",
        'Request: unknown member "Other"; known are Items, Name, When',
    ]


def test_null_is_as_good_as_nothing() -> None:
    """Some SDKs send members without a value."""
    shape = Structure("Request", (Member("Name", Text("Name", 1, 3)),))
    assert read_structure(shape, {"Name": None}) == {}


def test_what_a_message_repeats_is_printable_and_short() -> None:
    """Control characters are escaped, long texts cut."""
    with pytest.raises(ShapeProblems) as caught:
        read(table.RESOURCE_NAME, "\x1b[31m" + "x" * 100)
    assert caught.value.problems[0].startswith('Value: "\\x1b[31mxxx')
    assert len(caught.value.problems[0]) < 200
