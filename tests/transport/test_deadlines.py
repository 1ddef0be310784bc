"""Deadlines: one sweep for all of them."""

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from netfw.transport.deadlines import Deadlines, later, next_turn


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def deadlines(clock):
    return Deadlines(clock)


@pytest.fixture
def fired():
    return []


def test_fires_once_with_its_arguments(clock, deadlines, fired):
    """A deadline calls back once, with the arguments given, and is inactive after."""
    deadline = deadlines.start(1, fired.append, "x")
    assert deadline.active
    clock.pump([0.25] * 12)
    assert fired == ["x"]
    assert not deadline.active
    assert len(deadlines) == 0


@given(st.floats(0, 100), st.floats(0, 50), st.sampled_from([0.1, 0.25, 0.3, 1.0]))
def test_fires_in_its_tick(start, seconds, granularity):
    """Never before its time, and no later than one tick after it."""
    clock = Clock()
    clock.advance(start)
    times = []
    Deadlines(clock, granularity).start(seconds, lambda: times.append(clock.seconds()))
    for _ in range(int(seconds / granularity) + 3):
        calls = clock.getDelayedCalls()
        if calls:
            clock.advance(calls[0].getTime() - clock.seconds())
    assert len(times) == 1
    assert start + seconds <= times[0] <= start + seconds + granularity * 1.51


def test_another_wait_of_the_same_object(clock, deadlines, fired):
    """The former callback is never called, however much sooner or later the new one is due; what is over stays over."""
    for seconds in (0.5, 5):
        deadline = deadlines.start(2, fired.append, "former")
        deadline.change(seconds, fired.append, seconds)
        clock.pump([0.25] * 24)
        assert not deadline.active
    assert fired == [0.5, 5]
    deadline.change(1, fired.append, "late")
    clock.pump([0.25] * 12)
    assert (fired, len(deadlines)) == ([0.5, 5], 0)


def test_restart_pushes_back(clock, deadlines, fired):
    """A restarted deadline waits for its whole time again."""
    deadline = deadlines.start(1, fired.append, 1)
    for _ in range(10):
        clock.advance(0.75)
        deadline.restart(1)
    assert fired == []
    clock.pump([0.25] * 5)
    assert fired == [1]


def test_restart_can_shorten(clock, deadlines, fired):
    """A restart to an earlier time is kept too."""
    deadline = deadlines.start(100, fired.append, 1)
    clock.advance(0.25)
    deadline.restart(1)
    clock.pump([0.25] * 5)
    assert fired == [1]


def test_restart_makes_no_delayed_call(clock, deadlines):
    """However many deadlines, and however often restarted, there is one delayed call."""
    for _ in range(100):
        deadlines.start(10, list).restart(20)
    assert len(clock.getDelayedCalls()) == 1


def test_cancelled_never_fires(clock, deadlines, fired):
    """A cancelled deadline stays silent; cancelling and restarting it again do nothing."""
    deadline = deadlines.start(1, fired.append, 1)
    deadline.cancel()
    deadline.cancel()
    deadline.restart(1)
    clock.pump([0.25] * 20)
    assert fired == []
    assert len(deadlines) == 0


def test_no_delayed_call_is_left(clock, deadlines):
    """When the last one is gone the sweep ends with its next tick."""
    deadline = deadlines.start(60, list)
    clock.advance(1)
    deadline.cancel()
    clock.advance(0.25)
    assert clock.getDelayedCalls() == []


def test_starts_again_after_rest(clock, deadlines, fired):
    """A pause without deadlines does not disturb the next one."""
    deadlines.start(1, fired.append, 1)
    clock.advance(1.25)
    clock.advance(1000)
    deadlines.start(1, fired.append, 2)
    clock.advance(0.75)
    assert fired == [1]
    clock.pump([0.25] * 2)
    assert fired == [1, 2]


def test_stop_cancels_all(clock, deadlines, fired):
    """After stop nothing fires and nothing is left in the reactor."""
    for seconds in (1, 2, 300):
        deadlines.start(seconds, fired.append, seconds)
    deadlines.stop()
    assert (len(deadlines), clock.getDelayedCalls()) == (0, [])
    clock.advance(1000)
    assert fired == []


def test_a_callback_may_start_and_cancel_others(clock, deadlines, fired):
    """A callback that cancels a deadline of the same tick wins; one that starts a deadline starts no second sweep."""
    others = []

    def first():
        fired.append("first")
        others[0].cancel()
        deadlines.start(1, fired.append, "third")

    deadlines.start(1, first)
    others.append(deadlines.start(1, fired.append, "second"))
    clock.advance(1.25)
    assert fired == ["first"]
    assert len(clock.getDelayedCalls()) == 1
    clock.pump([0.25] * 5)
    assert fired == ["first", "third"]


def test_a_callback_may_restart_others(clock, deadlines, fired):
    """A deadline of the same tick that a callback pushes back does not fire yet."""
    others = []
    deadlines.start(1, lambda: others[0].restart(5))
    others.append(deadlines.start(1, fired.append, 1))
    clock.advance(1.25)
    assert fired == []
    clock.pump([0.25] * 21)
    assert fired == [1]


def test_a_callback_may_stop_the_sweep(clock, deadlines, fired):
    """stop() out of a callback is final."""
    deadlines.start(1, deadlines.stop)
    deadlines.start(1, fired.append, 1)
    clock.advance(1.25)
    assert (fired, clock.getDelayedCalls()) == ([], [])


def test_a_failing_callback_is_logged_and_stops_nothing(clock, deadlines, fired):
    """What a callback raises reaches the log; the others still fire."""
    events = []

    def fail():
        raise RuntimeError("broken")

    globalLogPublisher.addObserver(events.append)
    try:
        deadlines.start(1, fail)
        deadlines.start(1, fired.append, 1)
        clock.advance(1.25)
        deadlines.start(1, fired.append, 2)
        clock.pump([0.25] * 5)
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert fired == [1, 2]
    assert [str(event["log_failure"].value) for event in events if "log_failure" in event] == ["broken"]


def test_a_jump_of_the_clock(clock, deadlines, fired):
    """After a long sleep all that is due fires, in order."""
    for seconds in (30, 10, 20, 100_000_000):
        deadlines.start(seconds, fired.append, seconds)
    clock.advance(10_000_000)
    assert fired == [10, 20, 30]


def test_an_ended_deadline_holds_nothing(clock, deadlines):
    """Neither a fired nor a cancelled deadline keeps its callback's object alive."""

    class Owner:
        def expire(self):
            pass

    gc.disable()
    try:
        owners = [Owner(), Owner()]
        for owner in owners:
            owner.deadline = deadlines.start(1, owner.expire)
        gone = [weakref.ref(owner) for owner in owners]
        owners[0].deadline.cancel()
        clock.advance(2)
        del owner
        owners.clear()
        assert [each() for each in gone] == [None, None]
    finally:
        gc.enable()


def test_repr(deadlines):
    """It says how long it has, or that it has ended."""
    deadline = deadlines.start(2, list)
    assert "in 2.00 s" in repr(deadline)
    deadline.cancel()
    assert "inactive" in repr(deadline)


def test_granularity_is_checked(clock):
    """A sweep without a pause is refused."""
    with pytest.raises(ValueError, match="above 0"):
        Deadlines(clock, 0)


def test_next_turn_and_later(clock, fired):
    """Both are plain delayed calls."""
    next_turn(clock, fired.append, 1)
    later(clock, 0.1, fired.append, 2)
    assert fired == []
    clock.advance(0)
    assert fired == [1]
    clock.advance(0.1)
    assert fired == [1, 2]


@given(st.lists(st.tuples(st.sampled_from("src"), st.integers(0, 7), st.integers(0, 40)), max_size=40))
def test_agrees_with_a_list(actions):
    """Whatever is started, restarted and cancelled, what fires is what a plain list of times says."""
    clock, fired, handles, due = Clock(), [], {}, {}
    deadlines = Deadlines(clock)
    for kind, key, quarter in actions:
        seconds = quarter / 4
        if kind == "s" and key not in due:
            handles[key] = deadlines.start(seconds, fired.append, key)
            due[key] = clock.seconds() + seconds
        elif kind == "r" and key in due:
            handles[key].restart(seconds)
            due[key] = clock.seconds() + seconds
        elif kind == "c" and key in due:
            handles[key].cancel()
            del due[key]
        clock.advance(0.25)
        expected = {number for number, time in due.items() if time < clock.seconds()}
        possible = {number for number, time in due.items() if time <= clock.seconds()}
        assert expected <= set(fired) <= possible
        for number in fired:
            del due[number]
        fired.clear()
        assert len(due) == len(deadlines)
