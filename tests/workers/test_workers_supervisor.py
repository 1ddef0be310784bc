"""The pool: who is started, replaced and ended, and which policy decides; with children that a test speaks for."""

from typing import Any

from netfw.testing.deferreds import result_of
from netfw.workers import messages
from netfw.workers.child import ChildState


def of_kind(got: list[Any], kind: type) -> list[Any]:
    """The messages of one kind."""
    return [message for message in got if isinstance(message, kind)]


def serials(got: list[Any]) -> list[tuple[str, int]]:
    """Kinds and serials of what is about policies."""
    kinds = (messages.Snapshot, messages.Swap, messages.Forget)
    return [(type(message).__name__, message.serial) for message in got if isinstance(message, kinds)]


# starting


def test_a_worker_gets_its_start_and_a_policy_and_serves_when_it_has_swapped(pool: Any) -> None:
    """Not before: a worker without a policy accepts nothing."""
    pool.supervisor.start()
    first, second = pool.spawned
    assert [type(message).__name__ for message in first.sent_to()] == ["Start", "Snapshot"]
    assert (first.number, second.number, pool.supervisor.serving) == (1, 2, 0)
    first.say(messages.SnapshotAccepted(1))
    assert serials(first.sent_to()) == [("Swap", 1)]
    assert first.state is ChildState.STARTING
    first.say(messages.Swapped(1))
    assert (first.state, first.generation, pool.supervisor.serving) == (ChildState.SERVING, 1, 1)
    assert not pool.supervisor.complete
    second.come_up()
    assert pool.supervisor.complete


def test_a_process_that_cannot_be_started_is_tried_again(pool: Any) -> None:
    """With back-off, as one that ended at once."""
    pool.refuse_to_spawn = 3
    pool.supervisor.start()
    assert len(pool.spawned) == 0
    pool.pass_time(0.25)
    assert len(pool.spawned) == 1
    pool.pass_time(0.5)
    assert len(pool.spawned) == 2


# replacing


def test_a_worker_that_ends_is_replaced_in_its_place_ever_more_slowly(pool: Any) -> None:
    """0.1 s at first, doubling; the other one is left alone."""
    first, second = pool.started()
    first.end()
    assert pool.supervisor.serving == 1
    for wait in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0):
        count = len(pool.spawned)
        pool.clock.advance(wait - 0.01)
        assert len(pool.spawned) == count
        pool.clock.advance(0.02)
        assert len(pool.spawned) == count + 1
        assert pool.spawned[-1].number == 1
        pool.spawned[-1].end()
    assert second.state is ChildState.SERVING


def test_a_worker_that_lived_long_is_replaced_at_once(pool: Any) -> None:
    """Half a minute is long."""
    first, second = pool.started()
    first.end()
    pool.clock.advance(0.11)
    pool.spawned[-1].come_up()
    for _ in range(31):
        for child in (second, pool.spawned[-1]):
            child.say(messages.Pong(1))
        pool.pass_time(1.0)
    pool.spawned[-1].end()
    pool.clock.advance(0.11)
    assert len(pool.spawned) == 4


def test_a_silent_worker_is_killed_and_replaced(pool: Any) -> None:
    """Ten ticks without a word; any word counts."""
    first, second = pool.started()
    for _ in range(8):
        pool.pass_time(1.0)
        second.say(messages.Pong(1))
    assert not first.killed
    for _ in range(3):
        pool.pass_time(1.0)
        second.say(messages.Pong(1))
    assert first.killed
    assert not second.killed
    pool.pass_time(0.5)
    assert [child.number for child in pool.spawned] == [1, 2, 1]


def test_a_supervisor_that_was_stopped_itself_kills_nobody(pool: Any) -> None:
    """After a minute asleep every worker looks silent: ticks are counted, not seconds."""
    children = pool.started()
    pool.clock.advance(60.0)
    assert [child.killed for child in children] == [False, False]


def test_a_slow_start_is_given_more_time(pool: Any) -> None:
    """A minute for the first word: a cold disk, a busy machine."""
    pool.supervisor.start()
    pool.pass_time(50.0)
    assert not any(child.killed for child in pool.spawned)
    pool.pass_time(15.0)
    assert pool.spawned[0].killed


def test_who_leaves_on_its_own_is_replaced_before_it_has_ended(pool: Any) -> None:
    """Its queue must not wait for its drain."""
    first, _ = pool.started()
    first.say(messages.Leaving())
    assert [child.number for child in pool.spawned] == [1, 2, 1]
    assert first.state is ChildState.DRAINING
    first.end()
    pool.pass_time(10.0)
    assert [child.number for child in pool.spawned] == [1, 2, 1]


def test_all_are_replaced_one_after_the_other(pool: Any) -> None:
    """The new one serves before the old one drains."""
    first, second = pool.started()
    done = pool.supervisor.replace_all()
    third = pool.spawned[2]
    assert third.number == 1
    assert of_kind(first.sent_to(), messages.Drain) == []
    third.come_up()
    assert of_kind(first.sent_to(), messages.Drain) == [messages.Drain(30.0)]
    fourth = pool.spawned[3]
    first.end()
    fourth.come_up()
    assert of_kind(second.sent_to(), messages.Drain) == [messages.Drain(30.0)]
    second.end()
    assert result_of(done) is True
    pool.pass_time(0.5)
    assert len(pool.spawned) == 4
    assert pool.supervisor.serving == 2


def test_replacing_stops_at_the_first_that_does_not_come_up(pool: Any) -> None:
    """The old ones stay and serve."""
    first, second = pool.started()
    done = pool.supervisor.replace_all()
    pool.spawned[2].end()
    assert result_of(done) is False
    pool.pass_time(5.0)
    assert len(pool.spawned) == 3
    assert [child.state for child in (first, second)] == [ChildState.SERVING] * 2
    first.end()
    pool.pass_time(0.5)
    assert len(pool.spawned) == 4


# policies


def test_a_policy_is_swapped_when_all_have_compiled_it(pool: Any) -> None:
    """And reported when all have swapped."""
    first, second = pool.started()
    done = pool.supervisor.publish(pool.published(2))
    assert serials(first.sent_to()) == serials(second.sent_to()) == [("Snapshot", 2)]
    first.say(messages.SnapshotAccepted(2))
    assert serials(first.sent_to()) == []
    second.say(messages.SnapshotAccepted(2))
    assert serials(first.sent_to()) == serials(second.sent_to()) == [("Swap", 2)]
    first.say(messages.Swapped(2))
    assert not done.called
    second.say(messages.Swapped(2))
    assert result_of(done) == ()
    assert [child.generation for child in (first, second)] == [2, 2]


def test_one_refusal_refuses_it_everywhere(pool: Any) -> None:
    """Those who had it prepared forget it; the old one stays, also for who comes later."""
    first, second = pool.started()
    done = pool.supervisor.publish(pool.published(2))
    first.say(messages.SnapshotAccepted(2))
    second.say(messages.SnapshotRefused(2, ("too odd",)))
    assert result_of(done) == ("worker 2: too odd",)
    assert serials(first.sent_to()) == [("Snapshot", 2), ("Forget", 2)]
    second.end()
    pool.pass_time(0.25)
    assert serials(pool.spawned[-1].sent_to()) == [("Snapshot", 1)]


def test_a_policy_that_ends_a_worker_is_refused(pool: Any) -> None:
    """Its replacement would end by it too."""
    first, second = pool.started()
    done = pool.supervisor.publish(pool.published(2))
    second.say(messages.SnapshotAccepted(2))
    first.end()
    assert result_of(done) == ("worker 1 ended while it compiled the policy",)


def test_a_worker_that_never_compiles_stops_it(pool: Any) -> None:
    """Five minutes are given."""
    first, second = pool.started()
    done = pool.supervisor.publish(pool.published(2))
    first.say(messages.SnapshotAccepted(2))
    for _ in range(301):
        pool.pass_time(1.0)
        for child in (first, second):
            child.say(messages.Pong(1))
    assert result_of(done) == ("worker 2 did not compile the policy in time",)


def test_a_worker_that_does_not_swap_is_ended(pool: Any) -> None:
    """It would go on deciding by rules that are no more; its replacement begins with the new ones."""
    first, second = pool.started()
    done = pool.supervisor.publish(pool.published(2))
    for child in (first, second):
        child.say(messages.SnapshotAccepted(2))
    first.say(messages.Swapped(2))
    for _ in range(11):
        pool.pass_time(1.0)
        for child in (first, second):
            if child.state is ChildState.SERVING:
                child.say(messages.Pong(1))
    assert result_of(done) == ()
    assert second.killed
    pool.pass_time(1.0)
    assert serials(pool.spawned[-1].sent_to()) == [("Snapshot", 2)]


def test_a_worker_that_starts_meanwhile_takes_part(pool: Any) -> None:
    """It never serves by the old policy once the new one is in force."""
    first, second = pool.started()
    first.end()
    pool.pass_time(0.25)
    late = pool.spawned[-1]
    late.sent_to()
    done = pool.supervisor.publish(pool.published(2))
    late.say(messages.SnapshotAccepted(1))
    assert serials(late.sent_to()) == [("Snapshot", 2)]
    second.come_up()
    late.say(messages.SnapshotAccepted(2))
    second.come_up()
    late.come_up()
    assert result_of(done) == ()
    assert (late.state, late.generation) == (ChildState.SERVING, 2)


def test_a_worker_that_is_started_meanwhile_is_brought_up_afterwards(pool: Any) -> None:
    """It holds back until the policy is decided, then takes the one in force."""
    first, second = pool.started()
    done = pool.supervisor.publish(pool.published(2))
    pool.supervisor.replace_all()
    late = pool.spawned[-1]
    late.say(messages.SnapshotAccepted(1))
    assert serials(late.sent_to()) == [("Snapshot", 1)]
    for child in (first, second, first, second):
        child.come_up()
    assert result_of(done) == ()
    late.come_up()
    assert (late.state, late.generation) == (ChildState.SERVING, 2)


def test_a_starting_worker_is_given_the_old_policy_again_when_the_new_one_is_refused(pool: Any) -> None:
    """It keeps one prepared policy, and that was the refused one: its answer for the first one came too late."""
    first, second = pool.started()
    first.end()
    pool.pass_time(0.25)
    late = pool.spawned[-1]
    late.sent_to()
    done = pool.supervisor.publish(pool.published(2))
    late.say(messages.SnapshotAccepted(1))
    assert serials(late.sent_to()) == [("Snapshot", 2)]
    late.say(messages.SnapshotAccepted(2))
    second.say(messages.SnapshotRefused(2, ("no",)))
    assert result_of(done) == ("worker 2: no",)
    late.come_up()
    assert (late.state, late.generation) == (ChildState.SERVING, 1)


def test_a_policy_without_workers_is_the_next_ones(pool: Any) -> None:
    """Both are being replaced: what comes up begins with it."""
    for child in pool.started():
        child.end()
    assert result_of(pool.supervisor.publish(pool.published(2))) == ()
    pool.pass_time(0.25)
    assert serials(pool.spawned[-1].sent_to()) == [("Snapshot", 2)]


def test_who_cannot_use_the_policy_in_force_is_ended(pool: Any) -> None:
    """Others decide by it."""
    first, _ = pool.started()
    first.end()
    pool.pass_time(0.25)
    pool.spawned[-1].say(messages.SnapshotRefused(1, ("odd",)))
    assert pool.spawned[-1].killed


# figures


def test_figures_are_gathered_from_all_and_kept_from_the_dead(pool: Any) -> None:
    """Counters never go backwards; what was open is not any more."""
    first, second = pool.started()
    supervisor = pool.supervisor
    done = supervisor.gather()
    (asked,) = of_kind(first.sent_to(), messages.Status)
    first.say(pool.reply(asked.serial, connections=3, requests=10))
    assert not done.called
    second.say(pool.reply(asked.serial, connections=4, requests=20))
    assert result_of(done) is None
    assert sum(figures.connections for figures in supervisor.living()) == 7
    assert supervisor.tally.records(supervisor.living()) == {"written": 30, "dropped": 0, "errors": 0}
    first.end()
    assert sum(figures.connections for figures in supervisor.living()) == 4
    assert supervisor.tally.records(supervisor.living())["written"] == 30
    assert supervisor.tally.refused(supervisor.living()) == {"draining": 30}


def test_one_that_does_not_answer_delays_the_rest_by_a_second(pool: Any) -> None:
    """Its last words stand in."""
    first, second = pool.started()
    second.say(pool.reply(0, requests=5))
    done = pool.supervisor.gather()
    first.say(pool.reply(1_000, requests=1))
    pool.pass_time(0.5)
    assert not done.called
    pool.pass_time(1.0)
    assert result_of(done) is None
    assert pool.supervisor.tally.records(pool.supervisor.living())["written"] == 6


def test_one_that_ends_is_not_waited_for(pool: Any) -> None:
    """Nor are answers to earlier questions taken for this one's."""
    first, second = pool.started()
    early = pool.supervisor.gather()
    late = pool.supervisor.gather()
    early_serial, late_serial = (message.serial for message in of_kind(first.sent_to(), messages.Status))
    first.say(pool.reply(early_serial))
    second.end()
    assert result_of(early) is None
    assert not late.called
    first.say(pool.reply(late_serial))
    assert result_of(late) is None


def test_new_settings_are_in_force_when_all_workers_say_so(pool: Any) -> None:
    """One that has not said a word yet is told, and not waited for; nor is one that ends, or hangs for ten seconds."""
    first, second = pool.started()
    done = pool.supervisor.reconfigure({"a": 1}, {}, 7.0)
    (asked,) = of_kind(first.sent_to(), messages.Reconfigure)
    assert asked.configuration == {"a": 1}
    assert of_kind(second.sent_to(), messages.Reconfigure) == [asked]
    first.say(messages.Reconfigured(asked.serial))
    assert not done.called
    second.say(messages.Reconfigured(asked.serial))
    assert done.called
    first.end()
    pool.pass_time(0.5)
    third = pool.spawned[-1]
    third.sent_to()
    ended = pool.supervisor.reconfigure({}, {}, 7.0)
    assert len(of_kind(third.sent_to(), messages.Reconfigure)) == 1
    assert not ended.called
    second.end()
    assert ended.called


def test_a_worker_that_does_not_take_settings_over_is_not_waited_for_long(pool: Any) -> None:
    """It is replaced for hanging, if it does."""
    pool.started()
    done = pool.supervisor.reconfigure({}, {}, 7.0)
    pool.pass_time(9.0)
    assert not done.called
    pool.pass_time(1.25)
    assert done.called


def test_counters_that_cannot_be_read_change_nothing(pool: Any) -> None:
    """A worker may be broken; the admin surface is not."""
    first, _ = pool.started()
    first.say(pool.reply(0, requests=5))
    broken = pool.reply(0, requests=7)
    object.__setattr__(broken, "families", [["os", "x", "counter", []]])
    first.say(broken)
    assert pool.supervisor.tally.records(pool.supervisor.living())["written"] == 5


def test_rows_tell_who_serves_how(pool: Any) -> None:
    """Each process, with how often its place was filled anew."""
    first, _ = pool.started()
    first.say(pool.reply(0, connections=3))
    first.end()
    pool.pass_time(0.25)
    rows = pool.supervisor.rows()
    assert [(row["worker"], row["state"], row["generation"], row["restarts"]) for row in rows] == [
        (1, "starting", None, 1),
        (2, "serving", 1, 0),
    ]
    assert pool.supervisor.restarts == 1


# ending


def test_draining_waits_for_all_and_replaces_nobody(pool: Any) -> None:
    """Those that are being replaced are not any more."""
    first, second = pool.started()
    first.end()
    done = pool.supervisor.drain()
    pool.pass_time(2.0)
    assert of_kind(second.sent_to(), messages.Drain) == [messages.Drain(30.0)]
    second.end()
    assert result_of(done) is None
    pool.pass_time(10.0)
    assert len(pool.spawned) == 2


def test_who_does_not_drain_in_time_is_ended(pool: Any) -> None:
    """A little after the time that it was given."""
    first, second = pool.started()
    done = pool.supervisor.drain()
    for _ in range(39):
        for child in (first, second):
            child.say(messages.Pong(1))
        pool.pass_time(1.0)
        if first.killed:
            break
    assert first.killed
    assert second.killed
    assert result_of(done) is None


def test_an_abort_cuts_and_then_kills(pool: Any) -> None:
    """Five seconds to go by themselves."""
    first, second = pool.started()
    done = pool.supervisor.drain()
    pool.supervisor.abort()
    assert of_kind(first.sent_to(), messages.Drain) == [messages.Drain(30.0), messages.Drain(0.0)]
    first.end()
    pool.pass_time(6.0)
    assert second.killed
    assert result_of(done) is None


def test_draining_nobody_is_done_at_once(pool: Any) -> None:
    """A start that never came to its workers."""
    assert result_of(pool.supervisor.drain()) is None
    pool.supervisor.start()
    assert pool.spawned == []
