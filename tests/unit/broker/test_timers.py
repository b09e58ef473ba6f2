"""The timer heap: order, re-arming, cancelling, timers that arm themselves again."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from millpond.broker.timers import CallbackTimer, Timers


def test_fires_in_order_and_only_what_is_due() -> None:
    timers, fired = Timers(), []
    for deadline in (30, 10, 20):
        timers.start(CallbackTimer(lambda deadline=deadline: fired.append(deadline)), deadline)
    assert timers.next_deadline() == 10
    assert timers.run_due(20) == 2
    assert fired == [10, 20]
    assert timers.next_deadline() == 30


def test_a_timer_may_arm_itself_again() -> None:
    timers, fired = Timers(), []

    def again() -> None:
        fired.append(1)
        if len(fired) < 3:
            timers.start(timer, 10 * len(fired) + 10)

    timer = CallbackTimer(again)
    timers.start(timer, 10)
    for now in (10, 20, 30, 40):
        timers.run_due(now)
    assert len(fired) == 3
    assert len(timers) == 0


def test_a_timer_that_arms_itself_for_the_past_does_not_hold_the_turn() -> None:
    timers, fired = Timers(), []
    timer = CallbackTimer(lambda: (fired.append(1), timers.start(timer, 1)))
    timers.start(timer, 1)
    assert timers.run_due(10) == 1
    assert fired == [1]
    assert timers.next_deadline() == 1, "it waits for the next turn"


def test_a_timer_that_is_always_late_keeps_no_other_from_its_turn() -> None:
    timers, fired = Timers(), []
    timer = CallbackTimer(lambda: (fired.append("late"), timers.start(timer, 1)))
    timers.start(timer, 1)
    timers.start(CallbackTimer(lambda: fired.append("due")), 5)
    assert timers.run_due(10) == 2
    assert fired == ["late", "due"]


def test_what_another_timer_cancels_or_puts_off_does_not_fire() -> None:
    timers, fired = Timers(), []
    cancelled, later = (CallbackTimer(lambda name=name: fired.append(name)) for name in ("cancelled", "later"))
    first = CallbackTimer(lambda: (timers.stop(cancelled), timers.start(later, 20)))
    for timer, deadline in ((first, 1), (cancelled, 2), (later, 3)):
        timers.start(timer, deadline)
    assert timers.run_due(10) == 1
    assert (fired, timers.next_deadline()) == ([], 20)
    assert timers.run_due(20) == 1
    assert fired == ["later"]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 50)), max_size=60))
def test_agrees_with_a_dictionary(steps: list[tuple[int, int]]) -> None:
    timers, fired, model = Timers(), [], {}
    pool = [CallbackTimer(lambda number=number: fired.append(number)) for number in range(10)]
    for number, deadline in steps:
        if deadline:
            timers.start(pool[number], deadline)
            model[number] = deadline
        else:
            timers.stop(pool[number])
            model.pop(number, None)
        assert len(timers) == len(model)
        assert timers.next_deadline() == min(model.values(), default=0)
    timers.run_due(25)
    assert sorted(fired) == sorted(number for number, deadline in model.items() if deadline <= 25)
