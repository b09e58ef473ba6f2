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
from .target import Target

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


def test_a_server_that_stops_answers_waiting_pull_requests(pair: tuple[Target, Target]) -> None:
    """What is left of a request, so that its client asks for it where it reconnects."""
    seen = []
    for running in pair:
        target = Target(running.kind).start()
        try:
            with target.connect() as client:
                client.subscribe("_INBOX.>")
                client.request("$JS.API.STREAM.CREATE.S", b'{"name":"S","subjects":["s"],"storage":"file"}')
                consumer = b'{"stream_name":"S","config":{"durable_name":"C","ack_policy":"explicit"}}'
                client.request("$JS.API.CONSUMER.DURABLE.CREATE.S.C", consumer)
                client.publish("$JS.API.CONSUMER.MSG.NEXT.S.C", b'{"batch":5,"max_bytes":1000}', "_INBOX.pull")
                client.request("s", b"one")
                client.next_message("s")
                target.stop()
                frames = client.until_closed()
            seen.append([(frame.subject, frame.headers, frame.payload) for frame in frames if frame.op == "HMSG"])
        finally:
            target.discard()
    assert seen[0] == seen[1]
    assert len(seen[0]) == 1
    assert b"409 Server Shutdown" in seen[0][0][1]
