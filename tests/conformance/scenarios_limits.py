"""What a server's own limits refuse (with `CONFIG`), and those of its accounts (with `ACCOUNTS`)."""

from __future__ import annotations

import json

from .compare import Session
from .scenarios_fast_batches import APPEND, BEGIN, COMMIT_WITHOUT
from .scenarios_features import batch, commit

CONFIG = """
jetstream {
    max_mem: 4096, max_file: 8192
    limits { max_request_batch: 10, max_ack_pending: 20, duplicate_window: "1m" }
}
"""

ACCOUNT = """
jetstream { max_mem: 1M, max_file: 1M }
accounts { FEW { users: [ { user: few, password: x } ], jetstream { max_mem: 4096, max_file: 8192 } } }
no_auth_user: few
"""

ACCOUNTS = """
jetstream { max_mem: 1M, max_file: 1M }
accounts {
  OPEN { users: [ { user: open, pass: x } ], jetstream: enabled }
  WITHOUT { users: [ { user: without, pass: x } ] }
  FEW { users: [ { user: few, pass: x } ], jetstream { max_streams: 1, max_consumers: 1, max_ack_pending: 50 } }
  BOUND { users: [ { user: bound, pass: x } ], jetstream {
    max_mem: 6000, max_file: 7000, max_bytes: true, mem_max_stream_bytes: 4000, disk_max_stream_bytes: 5000 } }
  SMALL { users: [ { user: small, pass: x } ], jetstream { max_mem: 3000, max_file: 5000 } }
}
no_auth_user: open
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


def full_batches(s: Session) -> None:
    """Messages of batches meet the same limits, one by one; who is refused may come again when there is room."""
    s.stream("B", subjects=["b.*"], allow_atomic=True, allow_batched=True)
    s.client.subscribe("$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.>")
    s.client.subscribe("fi.>")
    batch(s, "one", 1, "b.x", b"x" * 500)
    s.client.publish("b.x", b"x" * 500, f"fi.f.1.ok.1.{BEGIN}.$FI")
    for _ in range(10):
        s.publish("b.y", b"x" * 1000)
    s.frames("begun", s.client.flush())
    batch(s, "one", 2, "b.x", b"x" * 500)
    batch(s, "late", 1, "b.x", b"x" * 500)
    s.client.publish("b.x", b"x" * 500, f"fi.f.1.ok.2.{APPEND}.$FI")
    s.client.publish("b.x", b"x" * 500, f"fi.g.1.ok.1.{BEGIN}.$FI")
    s.publish("b.y", b"x" * 1000)
    commit(s, "one", 2, "1", "b.x")
    s.frames("refused", s.client.flush())
    s.api("STREAM.PURGE.B")
    commit(s, "one", 2, "1", "b.x")
    s.client.publish("b.x", b"x" * 500, f"fi.f.1.ok.2.{APPEND}.$FI")
    s.client.publish("b.x", b"", f"fi.f.1.ok.3.{COMMIT_WITHOUT}.$FI")
    s.publish("b.y", b"x")
    s.frames("taken", s.client.flush())
    s.api("STREAM.INFO.B")


def batch_larger_than_room(s: Session) -> None:
    s.stream("B", subjects=["b.*"], allow_atomic=True)
    for number in range(1, 12):
        batch(s, "one", number, "b.x", b"x" * 1000)
    s.client.publish("b.x", b"x", s.client.new_reply(), {"Nats-Batch-Id": "one", "Nats-Batch-Sequence": "12",
                                                         "Nats-Batch-Commit": "1"})  # fmt: skip
    s.publish("b.y", b"")
    s.frames("answers", s.client.flush())
    s.api("STREAM.INFO.B")


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


def accounts(s: Session) -> None:
    """Each account by its own limits; one has no streams at all."""
    without, few, bound, small = (beside(s, user) for user in ("without", "few", "bound", "small"))
    for verb in ("INFO", "STREAM.NAMES", "STREAM.LIST", "STREAM.INFO.X", "STREAM.CREATE.X", "STREAM.DELETE.X"):
        without.api(verb)
    without.client.publish("nobody", b"x")
    few.stream("A", subjects=["a"])
    few.stream("A", subjects=["a"])
    few.stream("B", subjects=["b"])
    few.stream("A", subjects=["a"], max_consumers=2)
    few.api("STREAM.UPDATE.A", {"name": "A", "subjects": ["a"], "max_consumers": 2})
    for name, config in (("c", {"max_ack_pending": 51}), ("c", {"max_ack_pending": 50}), ("d", {}), ("c", {})):
        few.consumer("A", name, ack_policy="explicit", **config)
    few.account()
    for size in (None, 0, -1, 4001, 5001, 4000, 2000):
        config = {} if size is None else {"max_bytes": size}
        bound.stream("C", subjects=["c"], **config)
    bound.api("STREAM.UPDATE.C", {"name": "C", "subjects": ["c"], "max_bytes": 5001, "storage": s.storage})
    bound.stream("D", subjects=["d"], max_bytes=3001)
    bound.account()
    small.stream("E", subjects=["e"])
    small.stream("F", subjects=["f"], max_bytes=5001)
    for _ in range(6):
        small.publish("e", b"x" * 1000)
    small.api("STREAM.PURGE.E")
    small.publish("e", b"x" * 1000)
    small.account()
    for other in (without, few, bound, small):
        other.client.close()


def beside(s: Session, user: str) -> Session:
    """An account without streams."""
    other = s.beside(user)
    while names := json.loads(other.client.request("$JS.API.STREAM.NAMES").payload).get("streams"):
        for name in names:
            other.client.request(f"$JS.API.STREAM.DELETE.{name}")
    return other


BATCHES = """
jetstream { limits { batch { max_inflight_per_stream: 2, max_inflight_total: 3, max_msgs: 3, timeout: "1s" } } }
"""


def few_batches(s: Session) -> None:
    """The servers run with `BATCHES`."""
    for name in ("A", "B"):
        s.stream(name, subjects=[f"{name.lower()}.*"], allow_atomic=True, allow_batched=True)
    answers = s.client.subscribe("fi.>")
    abandoned = "$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.>"
    sid = s.client.subscribe(abandoned)
    for batch_id, number, subject in (
        ("1", 1, "a.x"), ("2", 1, "a.x"), ("3", 1, "a.x"), ("3", 1, "b.x"), ("4", 1, "b.x"), ("9", 5, "a.x"),
        ("1", 2, "a.x"), ("1", 3, "a.x"), ("1", 4, "a.x"), ("2", 2, "a.x"),
    ):  # fmt: skip
        batch(s, batch_id, number, subject, b"x")
    commit(s, "2", 3, "1", "a.x")
    s.frame("the one that is too large", s.client.next_message(sid=sid))
    for batch_id in ("f", "g", "h"):
        s.client.publish("a.x", b"x", f"fi.{batch_id}.1.ok.1.{BEGIN}.$FI")
    answer = s.client.next_message(sid=answers)
    while b"error" not in answer.payload:  # when the others come depends on the disk
        answer = s.client.next_message(sid=answers)
    s.frame("fast", answer)
    s.frame("the one that waited", s.client.next_message(sid=sid))
    commit(s, "3", 2, "1", "b.x")
    batch(s, "5", 1, "b.x", b"x")
    s.api("STREAM.INFO.A")


BUFFERED = "jetstream { max_buffered_size: 100, max_buffered_msgs: 1000 }"
"""Less than one message may have: what is refused does not depend on what else is under way."""


def buffered(s: Session) -> None:
    """The servers run with `BUFFERED`."""
    s.stream("S", subjects=["s", "longer.subject"], allow_atomic=True, allow_batched=True)
    first = {"Nats-Batch-Id": "b", "Nats-Batch-Sequence": "1"}
    for subject, size, headers in (
        ("s", 1, None), ("s", 99, None), ("s", 200, None), ("s", 70, {"A": "b"}), ("s", 60, {"A": "b"}),
        ("longer.subject", 79, None), ("longer.subject", 60, None), ("s", 1, first), ("s", 50, first),
    ):  # fmt: skip
        s.publish(subject, b"x" * size, headers)
    s.client.publish("s", b"x" * 200)
    s.frames("nobody waits", s.client.flush())
    for length in range(80, 92):
        # Of a length that does not depend on how many requests there were.
        reply = s.client.new_reply().rpartition(".")[0] + ".reply"
        s.client.publish("s", b"x" * length, reply)
        s.note(f"{length}: {s.client.next_message(reply).payload!r}")
    s.api("STREAM.INFO.S")
