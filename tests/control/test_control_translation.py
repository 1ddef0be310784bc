"""Rules of files as the store keeps them and as the API shows them."""

import pytest

from netfw.control.translation import shown_rule, stored_rule
from netfw.policy.model import Action, Condition, Rule


@pytest.mark.parametrize("end", [0.0, 1893456000.0, 253_402_300_799.0, 253_402_300_800.0, 999_999_999_999.0])
def test_any_end_is_kept(end: float) -> None:
    """Also one behind the last year that a calendar has, in whole seconds."""
    condition = Condition("request:DestinationDomain", "StringEquals", ("a.example",))
    stored = stored_rule(Rule("a", Action.ALLOW, (condition,), not_after=end))
    assert shown_rule(stored)["NotAfter"] == end
    assert stored == stored_rule(Rule("a", Action.ALLOW, (condition,), not_after=end + 0.25))
