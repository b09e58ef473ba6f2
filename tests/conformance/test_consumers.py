"""Consumers: both servers answer the same."""

from __future__ import annotations

import inspect
from types import ModuleType

import pytest

from . import (
    scenarios_consumers,
    scenarios_consumers_acks,
    scenarios_consumers_control,
    scenarios_consumers_counts,
    scenarios_consumers_priority,
    scenarios_consumers_pull,
    scenarios_consumers_push,
)
from .compare import Scenario

MODULES = [
    scenarios_consumers, scenarios_consumers_pull, scenarios_consumers_push, scenarios_consumers_acks,
    scenarios_consumers_counts, scenarios_consumers_control, scenarios_consumers_priority,
]
ON_DISK = [
    scenarios_consumers.update_rules_pull, scenarios_consumers_pull.one_shots, scenarios_consumers_pull.max_bytes,
    scenarios_consumers_pull.starts_in_a_stream_with_gaps, scenarios_consumers_pull.starts_with_one_message_per_subject,
    scenarios_consumers_push.push_delivery, scenarios_consumers_push.ordered_consumer, scenarios_consumers_acks.acks,
    scenarios_consumers_acks.exhausted, scenarios_consumers_acks.deleted_while_pending,
    scenarios_consumers_acks.max_ack_pending, scenarios_consumers_counts.counts_under_limits,
    scenarios_consumers_counts.counts_with_limits_per_subject, scenarios_consumers_control.reset_delivers_again,
    scenarios_consumers_priority.pinned,
]
"""Where the store or the consumer journal could make a difference."""
pytestmark = pytest.mark.reference


def scenarios(module: ModuleType) -> list[Scenario]:
    """The functions of this module that take a session and nothing else."""
    return [
        function
        for name, function in vars(module).items()
        if inspect.isfunction(function)
        and function.__module__ == module.__name__
        and not name.startswith("_")
        and list(inspect.signature(function).parameters) == ["s"]
    ]


ALL = [function for module in MODULES for function in scenarios(module)]


@pytest.mark.parametrize("scenario", ALL, ids=lambda scenario: scenario.__name__)
def test_same_answers(compare, scenario):
    compare(scenario)


@pytest.mark.parametrize("scenario", ON_DISK, ids=lambda scenario: scenario.__name__)
def test_same_answers_on_disk(compare, scenario):
    compare(scenario, "file")
