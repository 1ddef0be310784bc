"""Counting the objects of a class."""

from netfw.testing.living_objects import alive


class Kind:
    """Nobody else makes any."""


class Heir(Kind):
    """Not counted as its parent."""


def test_alive():
    """Those that are there, and no longer when they are gone."""
    held = [Kind(), Kind(), Heir()]
    assert (alive(Kind), alive(Heir)) == (2, 1)
    del held[0]
    assert alive(Kind) == 1
