"""Inserting at positions and moving to positions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.control.positions import insert, move
from netfw.control.refusals import InvalidRequest


def test_what_stands_at_a_position_moves_down() -> None:
    """And so does all behind it."""
    assert insert(["a", "b"], [("n", 1)], "it") == ["a", "n", "b"]


def test_the_order_of_the_list_does_not_matter() -> None:
    """Positions do: clients fill such lists from maps."""
    wanted = ["x", "a", "y", "b", "z"]
    added: list[tuple[str, int | None]] = [("z", 4), ("x", 0), ("y", 2)]
    assert insert(["a", "b"], added, "it") == wanted
    assert insert(["a", "b"], added[::-1], "it") == wanted


def test_without_a_position_it_goes_to_the_end() -> None:
    """In the order of the request."""
    assert insert(["a"], [("y", None), ("x", None), ("n", 0)], "it") == ["n", "a", "y", "x"]


@pytest.mark.parametrize("positions", [[1], [0, 2], [0, 0]])
def test_gaps_and_positions_taken_twice_are_refused(positions: list[int]) -> None:
    """The vendor's words for a gap."""
    with pytest.raises(InvalidRequest, match="continuous|twice"):
        insert([], [(str(number), position) for number, position in enumerate(positions)], "it")


@given(st.permutations("abcdefg"), st.permutations("abcdefg"))
def test_a_full_list_of_positions_is_the_order(before: list[str], after: list[str]) -> None:
    """Whatever it was."""
    assert move(before, [(name, position) for position, name in enumerate(after)], "it") == after


@given(st.permutations("abcdefg"), st.lists(st.sampled_from("abcdefg"), unique=True), st.data())
def test_each_that_is_moved_gets_its_position_and_the_others_keep_their_order(
    before: list[str], names: list[str], data: st.DataObject
) -> None:
    """So the order in which the request lists them cannot matter."""
    positions = data.draw(st.permutations(range(7)))[: len(names)]
    moved = list(zip(names, positions, strict=True))
    after = move(before, moved, "it")
    assert [after[position] for _, position in moved] == names
    assert [name for name in after if name not in names] == [name for name in before if name not in names]
    assert move(before, moved[::-1], "it") == after


@pytest.mark.parametrize("moved", [[("x", 0)], [("a", 0), ("a", 1)], [("a", 0), ("b", 0)], [("a", 3)]])
def test_what_cannot_be_moved_is_refused(moved: list[tuple[str, int]]) -> None:
    """Unknown, twice, two to one place, past the end."""
    with pytest.raises(InvalidRequest):
        move(["a", "b", "c"], moved, "it")
