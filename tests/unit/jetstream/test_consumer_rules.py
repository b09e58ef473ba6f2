"""Filters of one consumer and of several, in any number."""

from __future__ import annotations

import pytest

from millpond.base.errors import ApiError
from millpond.jetstream import consumer_rules, retention_rules
from millpond.jetstream.consumer_config import ConsumerConfig
from millpond.jetstream.stream_config import StreamConfig

STREAM = StreamConfig(name="S", subjects=["s.>"])
QUEUE = StreamConfig(name="S", subjects=["s.>"], retention="workqueue")
SHARING = [f"s.*.{number}" if number % 2 else f"s.{number}.*" for number in range(20_000)]
"""Every odd one shares a subject with every even one, and none is within another."""


def refusal(filters: list[str]) -> int:
    config = consumer_rules.with_defaults(ConsumerConfig(filter_subjects=filters, ack_policy="explicit"), STREAM)
    try:
        consumer_rules.check(config, STREAM)
    except ApiError as error:
        return error.err_code
    return 0


@pytest.mark.parametrize(
    ("filters", "code"),
    [
        (["s.a", "s.b"], 0), (["s.a", "s.a"], 10138), (["s.a", "s.*"], 10138), (["s.>", "s.*.b"], 10138),
        (["s.*.b", "s.a.*"], 0), (["s.a", "s. b", "s.*"], 10138), (["s. b", "s.a", "s.*"], 10052),
        (["s.a", ""], 10139), (SHARING, 0), ([*SHARING, "s.7.x"], 0), ([*SHARING, "s.8.x"], 10138),
        ([*SHARING, "s.>"], 10138),
    ],
)  # fmt: skip
def test_filters_of_one_consumer(filters, code):
    assert refusal(filters) == code


def config(*filters: str) -> ConsumerConfig:
    return ConsumerConfig(filter_subjects=list(filters), ack_policy="explicit")


def test_filters_of_two_consumers_of_a_work_queue():
    many = config(*(f"s.{number}" for number in range(20_000)))
    retention_rules.check_new(many, QUEUE, [config(*(f"s.x.{number}" for number in range(20_000)))])
    for other in (config("s.*"), config("s.x", "s.19999"), config()):
        with pytest.raises(ApiError) as raised:
            retention_rules.check_new(many, QUEUE, [other])
        assert raised.value.err_code == 10100
