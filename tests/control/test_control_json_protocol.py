"""AWS JSON 1.0: targets, bodies, results and errors."""

import json

import pytest

from netfw.control.json_protocol import operation_of, print_output, print_refusal, read_input
from netfw.control.refusals import InvalidRequest, InvalidToken, Malformed, UnknownOperation
from netfw.control.service_model import OPERATION, OPERATIONS

DESCRIBE = OPERATION["DescribeProxyRuleGroup"]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_is_found_by_its_target(operation: object) -> None:
    """`NetworkFirewall_20201112.` and the name."""
    assert operation_of(f"NetworkFirewall_20201112.{operation.name}") is operation  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "target", ["", "DescribeProxy", "NetworkFirewall_20201112.CreateFirewall", "Other.DescribeProxy", "a.b.c"]
)
def test_other_targets_are_unknown_operations(target: str) -> None:
    """Also those that the vendor offers beside the proxy's."""
    with pytest.raises(UnknownOperation):
        operation_of(target)


@pytest.mark.parametrize(
    "body",
    [b"[]", b"1", b'"x"', b"{", b"\xff", b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":Infinity}', b"[" * 100_000, b"{} x"],
)
def test_a_body_that_is_no_json_object_is_malformed(body: bytes) -> None:
    """Neither is one in which a member stands twice, for two readers would see two requests."""
    with pytest.raises(Malformed):
        read_input(DESCRIBE, body)


def test_an_empty_body_is_an_empty_object() -> None:
    """Some clients send none."""
    assert read_input(DESCRIBE, b"") == {}


def test_a_wrong_member_is_an_invalid_request() -> None:
    """And the message says which and why."""
    with pytest.raises(InvalidRequest, match='ProxyRuleGroupName: "a b" does not match'):
        read_input(DESCRIBE, b'{"ProxyRuleGroupName": "a b"}')


def test_members_without_a_value_are_left_out_and_times_are_numbers() -> None:
    """Milliseconds are enough for anybody's clock."""
    printed = print_output(
        DESCRIBE, {"ProxyRuleGroup": {"ProxyRuleGroupName": "g", "CreateTime": 1795219200.12345, "Tags": None}}
    )
    assert json.loads(printed) == {"ProxyRuleGroup": {"ProxyRuleGroupName": "g", "CreateTime": 1795219200.123}}


def test_a_result_with_a_member_that_the_operation_does_not_have_is_a_mistake() -> None:
    """It would be lost on clients."""
    with pytest.raises(KeyError):
        print_output(DESCRIBE, {"Extra": 1})


def test_an_error_has_its_code_in_the_body() -> None:
    """botocore raises the typed exception by it and by nothing else."""
    assert json.loads(print_refusal(InvalidToken("stale"))) == {"__type": "InvalidTokenException", "Message": "stale"}
