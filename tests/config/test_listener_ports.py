"""What a store may say of ports, and what that makes of each listener."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from netfw.config.listener_ports import chosen_ports, homeless, parse_ports, permitted
from netfw.config.model import ListenerSection, ListenerType

FIXED = ListenerSection("fixed", ListenerType.HTTP, ip_address("127.0.0.1"), 3128, None, None, ())
PORTS = st.integers(3120, 3140)
ASKED = st.lists(st.tuples(PORTS, st.sampled_from(["HTTP", "HTTPS"])), max_size=6, unique=True)
RANGES = st.lists(st.tuples(PORTS, st.integers(0, 4)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=2)


def section(number: int, ranges: list[tuple[int, int]], kind: ListenerType) -> ListenerSection:
    """A listener of its own address."""
    port = ranges[0][0] if ranges else 3128 + number
    return replace(
        FIXED,
        name=f"l{number}",
        type=kind,
        port=port,
        address=ip_address(f"127.0.0.{number + 1}"),
        from_store=tuple(ranges),
    )


SECTIONS = st.lists(st.tuples(RANGES, st.sampled_from(ListenerType)), min_size=1, max_size=4).map(
    lambda rows: [section(number, ranges, kind) for number, (ranges, kind) in enumerate(rows)]
)


@given(SECTIONS, ASKED)
def test_what_is_permitted_has_a_home_and_is_opened_nowhere_else(
    sections: list[ListenerSection], asked: list[tuple[int, str]]
) -> None:
    """The API's word, the node's and the ports that come of it are the same."""
    rules = permitted(sections, [None] * len(sections))
    wanted = list(dict.fromkeys([*rules.fixed, *asked]))
    ports = chosen_ports(sections, asked)
    assert (rules.problem(wanted) is None) is (homeless(sections, wanted) == [])
    opened = {(port, one.type.value) for one, some in zip(sections, ports, strict=True) for port in some}
    assert opened == set(wanted) - set(homeless(sections, wanted))
    for one, some in zip(sections, ports, strict=True):
        if not one.from_store:
            assert some == (one.port,)
        assert all(not one.from_store or any(a <= port <= b for a, b in one.from_store) for port in some)


@given(SECTIONS)
def test_where_nobody_asks_each_has_its_own_port(sections: list[ListenerSection]) -> None:
    """The one of proxy.yaml."""
    assert chosen_ports(sections, None) == tuple((one.port,) for one in sections)


def test_what_is_wrong_is_said_with_what_would_be_right() -> None:
    """Both kinds of mistakes at once."""
    rules = permitted([FIXED, replace(FIXED, name="b", port=80, from_store=((80, 80), (8080, 8089)))], [None, None])
    assert rules.problem([(3128, "HTTP"), (8089, "HTTP")]) is None
    assert rules.problem([(81, "HTTP"), (82, "HTTP")]) == (
        "81 HTTP, 82 HTTP are not permitted and 3128 HTTP is always open by proxy.yaml, where listeners are 3128 HTTP, "
        "HTTP on 80, 8080-8089 (from_store)"
    )


def test_ports_are_written_alone_or_from_to() -> None:
    """Both ends count."""
    assert [parse_ports(value) for value in (80, "80-90", "1-65535")] == [(80, 80), (80, 90), (1, 65535)]
