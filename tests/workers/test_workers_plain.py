"""Dataclasses as plain data: whole configurations come back equal, and nothing else comes in."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.config.load import load_config
from netfw.config.log_model import OutputSection
from netfw.config.model import Configuration
from netfw.workers.plain import PlainError, from_plain, to_plain

ROOT = Path(__file__).parents[2]


class Colour(Enum):
    """A choice."""

    RED = "red"


@dataclass(frozen=True, slots=True)
class Inner:
    """A part."""

    number: int
    share: float


@dataclass(frozen=True, slots=True)
class Whole:
    """Everything there is."""

    text: str | None
    flag: bool
    colour: Colour
    place: Path | None
    address: IPv4Address | IPv6Address
    pair: tuple[str, int]
    many: tuple[Inner, ...]
    by_colour: Mapping[Colour, tuple[str, ...]]
    ports: frozenset[int]
    anything: Any


WHOLE = Whole(
    text="a",
    flag=True,
    colour=Colour.RED,
    place=Path("/a"),
    address=ip_address("::1"),
    pair=("a", 1),
    many=(Inner(1, 0.5),),
    by_colour={Colour.RED: ("x",)},
    ports=frozenset({1, 2}),
    anything=[1],
)


def through_json(value: Any, kind: type[Any]) -> Any:
    """There and back."""
    return from_plain(kind, json.loads(json.dumps(to_plain(value))))


@given(
    st.builds(
        Whole,
        text=st.none() | st.text(),
        flag=st.booleans(),
        colour=st.sampled_from(Colour),
        place=st.none() | st.just(Path("/etc/x")),
        address=st.ip_addresses(),
        pair=st.tuples(st.text(), st.integers()),
        many=st.lists(st.builds(Inner, st.integers(), st.floats(allow_nan=False, allow_infinity=False))).map(tuple),
        by_colour=st.dictionaries(st.sampled_from(Colour), st.lists(st.text()).map(tuple)),
        ports=st.frozensets(st.integers()),
        anything=st.none() | st.lists(st.integers()),
    )
)
def test_values_come_back_equal(value: Whole) -> None:
    """Of every kind that is known."""
    assert through_json(value, Whole) == value


@pytest.mark.parametrize(
    ("member", "wrong"),
    [
        ("text", 1), ("flag", 1), ("colour", "blue"), ("colour", 3), ("place", 5), ("address", "1.2.3"), ("address", 7),
        ("pair", ["a"]), ("pair", ["a", "b"]), ("pair", "ab"), ("many", {}), ("many", [{"number": 1}]),
        ("many", [{"number": True, "share": 1.0}]), ("many", [{"number": 1, "share": "1"}]), ("by_colour", []),
        ("by_colour", {"blue": []}), ("by_colour", {"red": "x"}), ("by_colour", {"red": [1]}),
        ("ports", 1), ("ports", ["1"]),
    ],
)  # fmt: skip
def test_what_the_annotation_does_not_say_is_refused(member: str, wrong: Any) -> None:
    """A type confused is an error, not a value."""
    with pytest.raises(PlainError):
        from_plain(Whole, {**to_plain(WHOLE), member: wrong})


def test_a_field_too_many_or_too_few_is_refused() -> None:
    """There are no defaults in between."""
    plain = to_plain(WHOLE)
    with pytest.raises(PlainError):
        from_plain(Whole, {**plain, "more": 1})
    del plain["flag"]
    with pytest.raises(PlainError):
        from_plain(Whole, plain)


def test_what_json_cannot_say_has_no_plain_form() -> None:
    """Nothing is guessed."""
    with pytest.raises(TypeError):
        to_plain(b"bytes")
    with pytest.raises(TypeError):
        from_plain(set, [])


def test_the_shipped_configuration_comes_back_equal() -> None:
    """With all its sections, and with everything that is optional set too."""
    configuration = load_config(ROOT / "etc" / "proxy.yaml", with_files=False)
    assert through_json(configuration, Configuration) == configuration
    other = replace(
        configuration,
        egress=replace(configuration.egress, source_addresses=(ip_address("192.0.2.1"), ip_address("2001:db8::1"))),
        dns=replace(configuration.dns, resolvers=((ip_address("192.0.2.53"), 53),)),
        upstream=replace(configuration.upstream, trust=(Path("/a"),)),
        log=replace(configuration.log, outputs=(OutputSection("stdout"),), hash_key=Path("/a")),
    )
    assert through_json(other, Configuration) == other
