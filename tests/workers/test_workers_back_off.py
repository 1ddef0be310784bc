"""Replacements: quick at first, ever rarer for one that keeps ending."""

from netfw.workers.back_off import BackOff


def test_waits_double_up_to_the_longest() -> None:
    """A worker that ends at once costs one start in five seconds."""
    back_off = BackOff()
    waits = [back_off.after(0.0) for _ in range(8)]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_long_life_is_rewarded() -> None:
    """One that served for half a minute is replaced at once."""
    back_off = BackOff()
    for _ in range(8):
        back_off.after(29.9)
    assert back_off.after(30.0) == 0.1
    assert back_off.after(0.0) == 0.2
