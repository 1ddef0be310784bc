"""ARNs of this account, names and ARNs that must agree, and lists in pages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.control.arns import Arns, named, read_arn
from netfw.control.pages import page, read_token
from netfw.control.refusals import InvalidRequest
from netfw.control.service_model import Resource

ARNS = Arns("us-east-2", "123456789012")
GROUP = "arn:aws:network-firewall:us-east-2:123456789012:proxy-rule-group/rg1"


def test_an_arn_is_the_vendors() -> None:
    """And reads back."""
    assert ARNS.of(Resource.RULE_GROUP, "rg1") == GROUP
    assert read_arn(GROUP) == (Resource.RULE_GROUP, "rg1")


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws",
        "arn:aws:s3:::bucket",
        GROUP + "/x",
        GROUP + "\n",
        GROUP.replace("rule-group", "rulegroup"),
        GROUP[:-3],
    ],
)
def test_what_is_no_arn_of_this_service_is_invalid(arn: str) -> None:
    """Whatever it is instead."""
    with pytest.raises(InvalidRequest):
        read_arn(arn)


def test_an_arn_of_any_place_is_read() -> None:
    """Whether it is a resource's is for whoever has the resource to say."""
    assert read_arn("arn:aws-cn:network-firewall:local:1:proxy/p") == (Resource.PROXY, "p")


def test_name_and_arn_must_agree() -> None:
    """One of the two is enough, and a wrong kind is said."""
    assert named(Resource.RULE_GROUP, "rg1", None, "ProxyRuleGroup") == "rg1"
    assert named(Resource.RULE_GROUP, None, GROUP, "ProxyRuleGroup") == "rg1"
    assert named(Resource.RULE_GROUP, "rg1", GROUP, "ProxyRuleGroup") == "rg1"
    for name, arn, kind in (
        ("rg2", GROUP, Resource.RULE_GROUP),
        (None, None, Resource.PROXY),
        (None, GROUP, Resource.PROXY),
    ):
        with pytest.raises(InvalidRequest):
            named(kind, name, arn, "X")


@given(st.sets(st.text("abcxyz-0189", min_size=1, max_size=5), max_size=30), st.integers(1, 10))
def test_pages_hold_everything_once(names: set[str], limit: int) -> None:
    """In order, and the last page has no token."""
    seen: list[str] = []
    token = None
    while True:
        after = read_token("g", token)
        found = [name for name in sorted(names) if after is None or name > after][: limit + 1]
        items, token = page("g", found, limit, str)
        assert len(items) <= limit
        seen += items
        if token is None:
            break
    assert seen == sorted(names)


@pytest.mark.parametrize("token", ["x", "eA==", "====", "OmE=", "+", "cDph"])
def test_a_token_of_another_list_is_refused(token: str) -> None:
    """Or of none at all."""
    with pytest.raises(InvalidRequest, match="NextToken"):
        read_token("g", token)
