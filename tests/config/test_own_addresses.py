"""Source addresses that this machine does not have are told before a start."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from netfw.config.model import EgressSection
from netfw.config.own_addresses import address_problems, unbindable
from netfw.config.way_model import EgressPool, Selector
from netfw.testing.conversation import settings


def test_an_address_of_this_machine_can_be_left_from():
    assert unbindable(ip_address("127.0.0.1")) is None


def test_each_that_is_not_here_is_named_with_its_place():
    """Of the section and of every pool."""
    here, elsewhere = ip_address("127.0.0.3"), ip_address("198.51.100.7")
    pools = (EgressPool("a", (here,), Selector()), EgressPool("b", (here, elsewhere), Selector()))
    configuration = replace(settings(), egress=EgressSection((elsewhere,), pools))
    problems = address_problems(configuration)
    assert [problem.path for problem in problems] == ["egress.source_addresses[0]", "egress.pools[1].addresses[1]"]
    assert all("this machine does not have 198.51.100.7" in problem.message for problem in problems)
