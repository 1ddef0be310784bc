"""Durations and sizes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.config.units import LARGEST_SIZE, UnitError, parse_duration, parse_size


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30s", 30),
        ("250ms", 0.25),
        ("5m", 300),
        ("2h", 7200),
        ("1d", 86400),
        (0, 0),
        (1.5, 1.5),
        ("30", 30),
        ("1.5 m", 90),
    ],
)
def test_a_duration_is_a_number_with_a_unit(written: object, seconds: float) -> None:
    """Each unit is what it is called; a plain number is seconds."""
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    ("written", "size"),
    [("64KiB", 65536), ("64K", 65536), ("1MiB", 1 << 20), ("1G", 1 << 30), ("512B", 512), (7, 7), ("0.5K", 512)],
)
def test_a_size_is_a_number_with_a_binary_unit(written: object, size: int) -> None:
    """Each unit is what it is called; a plain number is bytes."""
    assert parse_size(written) == size


@pytest.mark.parametrize(
    "written", ["3x", "s", "", "-3s", "3 0s", "1e3s", "٣s", True, None, [], -1, float("nan"), "367d"]
)
def test_what_is_no_duration_is_refused(written: object) -> None:
    """Nothing is guessed, and no wait is longer than a year."""
    with pytest.raises(UnitError):
        parse_duration(written)


@pytest.mark.parametrize("written", ["64kb", "3x", "KiB", "-1", "0.3B", True, None, {}, -1, float("inf"), "2000000GiB"])
def test_what_is_no_size_is_refused(written: object) -> None:
    """Nothing is guessed; half a byte is no size."""
    with pytest.raises(UnitError):
        parse_size(written)


def test_a_decimal_unit_is_refused_with_the_binary_one() -> None:
    """KB means 1000 to some and 1024 to others."""
    with pytest.raises(UnitError, match="64KiB"):
        parse_size("64KB")


@given(st.text(max_size=20))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """Nothing else than UnitError comes out, and what is accepted is in bounds."""
    for parse in (parse_duration, parse_size):
        try:
            assert 0 <= parse(text) <= LARGEST_SIZE
        except UnitError as error:
            assert repr(text) in str(error)


@given(st.integers(0, 10**6))
def test_whole_numbers_of_bytes_survive(number: int) -> None:
    """A plain number, its text and its text with B are the same size."""
    assert parse_size(number) == parse_size(str(number)) == parse_size(f"{number}B") == number
