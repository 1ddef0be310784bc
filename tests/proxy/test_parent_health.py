"""When a parent proxy is down, and when it is up again: a machine of counts and times, nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netfw.config.way_model import HealthSection
from netfw.proxy.parent_health import ParentHealth


class Clock:
    """The time is what a test says."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def made(**section):
    """A health, its clock, and what it told."""
    clock, told = Clock(), []
    return ParentHealth(HealthSection(**section), clock, lambda up, why: told.append((up, why))), clock, told


def test_failures_in_a_row_take_it_down_and_checks_in_a_row_bring_it_back():
    """A success in between begins the count anew, and so does a failure on the way up."""
    health, clock, told = made(fall=3, rise=2)
    for outcome in ("no", "no", None, "no", "no"):
        health.failed(outcome) if outcome else health.worked()
    assert health.is_up and told == [] and health.problem == "no"
    clock.now = 5.0
    health.failed("gone")
    assert not health.is_up and health.since == 5.0 and told == [(False, "gone")]
    health.worked()
    health.failed("again")
    health.worked()
    assert not health.is_up
    health.worked()
    assert health.is_up and told == [(False, "gone"), (True, "")]


def test_one_that_is_checked_is_not_tried_while_it_is_down():
    """However long: a check finds that it is back."""
    health, clock, _ = made(fall=1, interval=10.0)
    health.failed("no")
    clock.now = 1e9
    assert not health.may_try()


def test_one_that_is_not_checked_is_tried_by_one_at_a_time():
    """After the wait, and after as long again; the first success brings it back."""
    health, clock, _ = made(fall=1, rise=5, interval=0.0, retry=30.0)
    health.failed("no")
    clock.now = 29.0
    assert not health.may_try()
    clock.now = 30.0
    assert health.may_try() and not health.may_try()
    clock.now = 61.0
    assert health.may_try()
    health.worked()
    assert health.is_up and health.may_try()


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 5), st.integers(1, 5), st.sampled_from([0.0, 1.0]))
def test_it_is_down_only_after_enough_failures_and_up_only_after_a_success(outcomes, fall, rise, interval):
    """Whatever happens: the last `fall` outcomes before each fall are failures, the last before each rise is none."""
    health, _, told = made(fall=fall, rise=rise, interval=interval)
    for position, works in enumerate(outcomes):
        before = len(told)
        health.worked() if works else health.failed("no")
        assert health.is_up == (told[-1][0] if told else True)
        if len(told) > before and told[-1][0]:
            needed = rise if interval else 1
            assert all(outcomes[position - needed + 1 : position + 1])
        elif len(told) > before:
            assert not any(outcomes[position - fall + 1 : position + 1])


def test_it_begins_up():
    """Nothing speaks against it yet."""
    health, _, told = made()
    assert health.is_up and health.may_try() and told == []
