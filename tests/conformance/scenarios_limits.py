"""What a server's own limits refuse. The servers run with `CONFIG`."""

from __future__ import annotations

from .compare import Session

CONFIG = """
jetstream {
    max_mem: 4096, max_file: 8192
    limits { max_request_batch: 10, max_ack_pending: 20, duplicate_window: "1m" }
}
"""


def full(s: Session) -> None:
    """Publishes until there is no room, in all streams together; what is removed makes room again."""
    s.stream("R", subjects=["r"])
    s.stream("OTHER", subjects=["other"])
    for _ in range(10):
        s.publish("r", b"x" * 1000)
    s.publish("other", b"x")
    s.publish("r", b"x", {"Nats-Expected-Last-Sequence": "77"})
    s.api("STREAM.MSG.DELETE.R", {"seq": 1})
    for _ in range(2):
        s.publish("other", b"x" * 1000)
    s.api("STREAM.PURGE.R")
    s.publish("other", b"x" * 1000, {"Nats-Msg-Id": "1"})
    s.publish("other", b"x" * 1000, {"Nats-Msg-Id": "1"})
    s.account()


def reserved(s: Session) -> None:
    for number, size in enumerate((4096, 1, 4097, 8192, 8193)):
        s.stream(f"S{number}", subjects=[f"s{number}"], max_bytes=size)
    s.account()


def asked_for(s: Session) -> None:
    """What one consumer, one stream may have."""
    s.stream("E", subjects=["e"])
    for pedantic in (False, True):
        for config in ({}, {"max_batch": 10}, {"max_batch": 11}, {"max_ack_pending": 20}, {"max_ack_pending": 21},
                       {"max_ack_pending": -1}, {"max_ack_pending": -2}, {"ack_policy": "none"},
                       {"max_batch": 11, "max_ack_pending": 21}, {"max_batch": 11, "deliver_subject": "d"}):
            body = {"ack_policy": "explicit", "durable_name": "c", **config}
            s.api("CONSUMER.CREATE.E.c", {"stream_name": "E", "config": body, "pedantic": pedantic})
            s.api("CONSUMER.DELETE.E.c")
        for config in ({}, {"duplicate_window": 60 * 10**9}, {"duplicate_window": 61 * 10**9}, {"max_age": 10**10},
                       {"duplicate_window": 61 * 10**9, "max_age": 10**10}, {"max_age": 90 * 10**9},
                       {"consumer_limits": {"max_ack_pending": 30}}):
            s.stream("W", subjects=["w"], pedantic=pedantic, **config)
            s.api("STREAM.DELETE.W")
