"""Bad input by the hundred: both servers answer the same, and what they refuse changes nothing."""

from __future__ import annotations

import json

import pytest

from . import scenarios_bad_input as bad
from . import scenarios_bad_publishes as publishes
from .compare import Session, clean

STORAGES = ["memory", "file"]
EVERYWHERE = [bad.small_requests, bad.consumer_fields, bad.every_verb, publishes.publish_headers]
ONCE = [bad.pull_requests, bad.pull_bodies, bad.direct_gets, bad.huge_bodies, bad.pairs, bad.pedantic_pairs,
        bad.every_feature_updated, publishes.overlaps,
        publishes.batch_headers]
"""Where the storage makes no difference, or nats-server one of its own: a file stream that it creates a moment after
another of the same name was deleted may begin where that one ended, and one does not answer any more after some
batches whose headers make no sense."""
pytestmark = pytest.mark.reference


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("scenario", EVERYWHERE, ids=lambda scenario: scenario.__name__)
def test_same_answers(compare, scenario, storage):
    compare(scenario, storage)


@pytest.mark.parametrize("scenario", ONCE, ids=lambda scenario: scenario.__name__)
def test_same_answers_once(compare, scenario):
    compare(scenario, "memory")


@pytest.mark.parametrize("storage", STORAGES)
def test_everything_is_answered_before_its_stream_goes(pair, storage):
    """Requests and publishes that arrive together with the end of their stream."""
    _, other = pair
    clean(other)
    session = Session(other, storage)
    config = {"name": "P", "subjects": ["p"], "storage": storage}
    consumer = {"stream_name": "P", "config": {"durable_name": "d", "ack_policy": "explicit"}}
    asked = [
        ("STREAM.UPDATE.P", json.dumps({**config, "max_msgs": 5}).encode()), ("STREAM.PURGE.P", b""),
        ("CONSUMER.DURABLE.CREATE.P.d", json.dumps(consumer).encode()), ("CONSUMER.DELETE.P.d", b""),
        ("STREAM.MSG.DELETE.P", b'{"seq":1}'), ("STREAM.DELETE.P", b""),
    ]
    session.stream("P", subjects=["p"])
    replies = [session.client.new_reply() for _ in range(3)]
    for reply in replies:
        session.client.publish("p", b"x", reply)
    answers = bad.many(session, asked)
    assert [json.loads(session.client.next_message(reply).payload)["seq"] for reply in replies] == [1, 2, 3]
    assert all("error" not in answer for answer in answers[:4]), answers
    assert answers[-1]["success"]
