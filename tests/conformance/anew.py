"""Comparisons with a server that does not always agree with itself: nats-server on a busy machine."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeVar

from .compare import Recorded, Scenario, Session, differences, record
from .target import Target

ANEW_MAX = 2
R = TypeVar("R")


def agreeing(truth: Recorded, found: Recorded) -> bool:
    return not differences(truth, found)


def both(
    ask_reference: Callable[[], R], ask_other: Callable[[], R], same: Callable[[R, R], bool] = agreeing
) -> tuple[R, R]:
    """What the two servers did. On a busy machine nats-server's own answers vary now and then (a stream that is not
    deleted in time, an advisory that is lost): where it does not do again what they differ in, both are asked anew.
    """
    truth, found = _patiently(ask_reference), ask_other()
    for _ in range(ANEW_MAX):
        if same(truth, found):
            break
        again = _patiently(ask_reference)
        if same(truth, again):
            break                                  # it is sure of itself: the difference is ours
        truth, found = again, ask_other()
    return truth, found


def _patiently(ask_reference: Callable[[], R]) -> R:
    """The reference's answers, asked anew where it left one out."""
    for _ in range(ANEW_MAX):
        try:
            return ask_reference()
        except TimeoutError as error:
            warnings.warn(f"nats-server left out an answer and was asked anew: {error!r}", stacklevel=2)
    return ask_reference()


def recorded(reference: Target, other: Target, scenario: Scenario, storage: str = "") -> tuple[Session, Session]:
    """What both saw of a scenario."""
    return both(
        lambda: record(reference, scenario, is_truth=True, storage=storage),
        lambda: record(other, scenario, storage=storage),
    )
