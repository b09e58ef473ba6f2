"""Counters, atomic batches, fast ingest and schedules, as a client sees them."""

from __future__ import annotations

import json
from typing import Any

from .compare import Session
from .scenarios_api import told
from .scenarios_streams import update, whole_info

SECOND_NS = 1_000_000_000
EXPECT = "Nats-Expected-"
ID, NUMBER, COMMIT = "Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Batch-Commit"


def stored(s: Session, name: str) -> None:
    """Every message of the stream, with its headers."""
    state = whole_info(s, name)["state"]
    for stream_seq in range(state["first_seq"], state["last_seq"] + 1):
        s.api(f"STREAM.MSG.GET.{name}", {"seq": stream_seq})


def counter_configurations(s: Session) -> None:
    for number, config in enumerate((
        {}, {"discard": "new"}, {"allow_msg_ttl": True}, {"allow_msg_schedules": True}, {"max_msgs_per_subject": 1},
        {"allow_direct": True}, {"deny_purge": True}, {"subject_delete_marker_ttl": SECOND_NS}, {"max_msg_size": 20},
    )):
        s.stream(f"C{number}", subjects=[f"c.{number}"], allow_msg_counter=True, **config)
    update(s, "C0", subjects=["c.0"])
    update(s, "C0", subjects=["c.0"], allow_msg_counter=True, description="x")
    s.stream("PLAIN", subjects=["plain"])
    update(s, "PLAIN", subjects=["plain"], allow_msg_counter=True)


def counter_arithmetic(s: Session) -> None:
    s.stream("C", subjects=["c.*"], allow_msg_counter=True, allow_direct=True, allow_rollup_hdrs=True)
    for value in ("1", "+5", "-10", "0", "007", "+0", "-0", "x", "", "1.5", "1e3", "0x10", "1_000", " 5", "5 ", "++1",
                  "+", "99999999999999999999999999999999", "-1" + "0" * 50, "1" * 4000, "-" + "9" * 4000):
        s.publish("c.a", b"", {"Nats-Incr": value})
    s.publish("c.b", b"", {"Nats-Incr": "3"})
    s.publish("c.a", b"")
    s.publish("c.a", b"payload", {"Nats-Incr": "1"})
    s.publish("c.a", b"payload", {"Nats-Incr": "x"})
    s.publish("c.a", b"", {"A": "b"})
    stored(s, "C")
    s.frame("direct", s.client.request("$JS.API.DIRECT.GET.C.c.a"))


def counter_headers(s: Session) -> None:
    s.stream("C", subjects=["c.*"], allow_msg_counter=True, allow_rollup_hdrs=True, max_msg_size=100)
    for name, value in ((EXPECT + "Last-Sequence", "0"), (EXPECT + "Stream", "C"), (EXPECT + "Last-Msg-Id", ""),
                        (EXPECT + "Last-Subject-Sequence", "0"), ("Nats-Rollup", "sub"), ("Nats-Rollup", "bad"),
                        (EXPECT + "Last-Subject-Sequence-Subject", "c.a"), ("Nats-Msg-Id", "one"),
                        ("Nats-Msg-Id", "one"), ("A", "b"), ("A", "b" * 70), ("A", "b" * 120), ("Nats-TTL", "5")):
        s.publish("c.a", b"", {"Nats-Incr": "1", name: value})
        s.publish("c.a", b"", {name: value})
    for sources in ('{"S":{"x":"5"}}', '{"Z":{"b":"2","a":"1"},"A":{}}', "x", "[]", '{"S":5}', ""):
        subject = f"c.{len(sources)}"
        for _ in range(3):
            s.publish(subject, b"", {"Nats-Incr": "1", "Nats-Counter-Sources": sources})
            s.publish(subject, b"", {"Nats-Incr": "2"})
    stored(s, "C")


def counter_limits(s: Session) -> None:
    s.stream("C", subjects=["c.*"], allow_msg_counter=True, max_msgs_per_subject=2, max_msgs=5)
    for number in range(12):
        s.publish(f"c.{number % 4}", b"", {"Nats-Incr": str(number)})
    stored(s, "C")
    s.api("STREAM.PURGE.C", {"filter": "c.0"})
    s.api("STREAM.MSG.DELETE.C", {"seq": 12})
    s.publish("c.0", b"", {"Nats-Incr": "1"})
    s.publish("c.3", b"", {"Nats-Incr": "1"})
    stored(s, "C")


# --- atomic batches ---


def batch(s: Session, name: str, number: Any, subject: str = "a.x", body: bytes = b"m", **headers: str) -> Any:
    fields = {ID: name, NUMBER: str(number)} | {key.replace("_", "-"): value for key, value in headers.items()}
    return s.publish(subject, body, fields)


def commit(s: Session, name: str, number: Any, how: str = "1", subject: str = "a.x", **headers: str) -> Any:
    return batch(s, name, number, subject, b"last", Nats_Batch_Commit=how, **headers)


def atomic_commits(s: Session) -> None:
    s.stream("A", subjects=["a.*"], allow_atomic=True, allow_direct=True)
    s.publish("a.0", b"before")
    for number in (1, 2, 3):
        batch(s, "one", number, f"a.{number}")
    s.api("STREAM.INFO.A")
    commit(s, "one", 4)
    stored(s, "A")
    commit(s, "single", 1)
    batch(s, "eob", 1)
    batch(s, "eob", 2)
    commit(s, "eob", 3, "eob")
    commit(s, "only-eob", 1, "eob")
    for name in ("b" * 64, "b" * 65, "", 'q"uo\\te', "é", "a b"):
        batch(s, name, 1)
        commit(s, name, 2)
    s.client.publish("a.x", b"no reply", "", {ID: "quiet", NUMBER: "1"})
    batch(s, "quiet", 2)
    s.client.publish("a.x", b"no reply", "", {ID: "quiet", NUMBER: "3", COMMIT: "1"})
    s.publish("a.x", b"after")
    stored(s, "A")


def atomic_refusals(s: Session) -> None:
    s.client.subscribe("$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.>")
    s.stream("OFF", subjects=["off"])
    batch(s, "x", 1, "off")
    batch(s, "x" * 65, 1, "off")
    s.stream("A", subjects=["a.*"], allow_atomic=True, max_msg_size=200)
    for number in ("", "x", "0", "2", "-1", "1.0", "1001", "1002", "01", str(2**64 - 1), str(2**64)):
        batch(s, "n" + number, number)
        commit(s, "n" + number, number, "eob")
    s.publish("a.x", b"", {ID: "nonumber"})
    s.publish("a.x", b"", {ID: "nonumber", COMMIT: "1"})
    batch(s, "gap", 1)
    batch(s, "gap", 3)
    batch(s, "gap", 2)
    batch(s, "again", 1)
    batch(s, "again", 1)
    for how in ("0", "", "EOB", "2", "true"):
        batch(s, "how", 1)
        commit(s, "how", 2, how)
        commit(s, "how", 1, how)
    batch(s, "level", 1, Nats_Required_Api_Level="2")
    batch(s, "level", 2, Nats_Required_Api_Level="99")
    commit(s, "level", 3)
    batch(s, "size", 1, body=b"x" * 300)
    batch(s, "size", 1)
    batch(s, "size", 2, body=b"x" * 300)
    commit(s, "size", 2)
    commit(s, "level2", 1, Nats_Required_Api_Level="1")
    stored(s, "A")
    update(s, "A", subjects=["a.*"], allow_atomic=True, deny_delete=True)
    batch(s, "open", 1)
    update(s, "A", subjects=["a.*"], deny_delete=True)
    batch(s, "open", 2)
    update(s, "A", subjects=["a.*"], allow_atomic=True, deny_delete=True)
    batch(s, "open", 2)
    batch(s, "sealed", 1)
    update(s, "A", subjects=["a.*"], allow_atomic=True, sealed=True)
    commit(s, "sealed", 2)
    s.frames("abandoned", s.client.flush())


def atomic_expectations(s: Session) -> None:
    s.stream("A", subjects=["a.*"], allow_atomic=True, allow_rollup_hdrs=True)
    s.publish("a.0", b"0", {"Nats-Msg-Id": "zero"})
    s.publish("a.1", b"1")
    last, by_subject = EXPECT + "Last-Sequence", EXPECT + "Last-Subject-Sequence"
    subject = by_subject + "-Subject"
    cases: list[list[tuple[str, dict[str, str]]]] = [
        [("a.0", {last: "2"}), ("a.1", {})], [("a.0", {last: "1"}), ("a.1", {})], [("a.0", {}), ("a.1", {last: "9"})],
        [("a.0", {}), ("a.1", {last: "5"})], [("a.0", {by_subject: "1"}), ("a.1", {})],
        [("a.2", {by_subject: "0"}), ("a.2", {by_subject: "0"})], [("a.2", {by_subject: "7"}), ("a.0", {})],
        [("a.7", {by_subject: "0"}), ("a.8", {by_subject: "0"})],
        [("a.7", {by_subject: "0", subject: "a.*"}), ("a.8", {})],
        [("a.9", {by_subject: "0", subject: "a.z"}), ("a.9", {by_subject: "0", subject: "a.z"})],
        [("a.9", {by_subject: "1", subject: "a.y"}), ("a.9", {by_subject: "0", subject: "a.y"})],
        [("a.9", {subject: "a.z"}), ("a.9", {})], [("a.0", {EXPECT + "Stream": "B"}), ("a.0", {})],
        [("a.0", {EXPECT + "Stream": "A"}), ("a.0", {})], [("a.0", {EXPECT + "Last-Msg-Id": "zero"}), ("a.0", {})],
        [("a.0", {"Nats-Msg-Id": "zero"}), ("a.0", {})], [("a.0", {"Nats-Msg-Id": "n"}), ("a.1", {"Nats-Msg-Id": "n"})],
        [("a.0", {"Nats-Msg-Id": "n1"}), ("a.1", {"Nats-Msg-Id": "n2"})], [("a.0", {"Nats-Msg-Id": "n1"}), ("a.1", {})],
        [("a.0", {"Nats-TTL": "5"}), ("a.1", {})], [("a.0", {"Nats-TTL": "x"}), ("a.1", {})],
        [("a.0", {"Nats-Incr": "5"}), ("a.1", {})], [("a.0", {"Nats-Incr": "x"}), ("a.1", {})],
        [("a.0", {"Nats-Stream-Source": "x"}), ("a.1", {})], [("a.0", {"A": "b" * 70_000}), ("a.1", {})],
        [("a.0", {"Nats-Rollup": "sub"}), ("a.1", {"Nats-Rollup": "sub"})],
        [("a.0", {}), ("a.0", {"Nats-Rollup": "sub"})],
        [("a.0", {"Nats-Rollup": "sub"}), ("a.0", {})], [("a.3", {"Nats-Rollup": "all"}), ("a.4", {})],
        [("a.3", {}), ("a.4", {"Nats-Rollup": "all"})], [("a.3", {"Nats-Rollup": "bad"}), ("a.4", {})],
    ]
    for number, messages in enumerate(cases):
        for at, (where, headers) in enumerate(messages, 1):
            end = {COMMIT: "1"} if at == len(messages) else {}
            s.publish(where, b"%d" % at, {ID: f"b{number}", NUMBER: str(at), **headers, **end})
        whole_info(s, "A")
    stored(s, "A")
    s.publish("a.0", b"", {EXPECT + "Last-Msg-Id": "n2"})
    s.publish("a.0", b"", {"Nats-Msg-Id": "n2"})


def atomic_limits(s: Session) -> None:
    for discard in ("old", "new"):
        for kind, bound in (("max_msgs", 4), ("max_bytes", 500), ("max_msgs_per_subject", 2)):
            name = f"L{discard}{kind}"
            s.stream(name, subjects=[f"{name}.*"], discard=discard, allow_atomic=True, **{kind: bound})
            for size in (2, 3, 6):
                for number in range(1, size + 1):
                    how = {"Nats_Batch_Commit": "1"} if number == size else {}
                    batch(s, f"b{size}", number, f"{name}.{number % 2}", b"0123456789", **how)
                whole_info(s, name)
    s.stream("PER", subjects=["per.*"], discard="new", discard_new_per_subject=True, max_msgs_per_subject=1,
             allow_atomic=True, allow_rollup_hdrs=True)
    for name, where in (("one", ("a", "b")), ("two", ("c", "a")), ("three", ("d", "d")), ("four", ("e", "f"))):
        batch(s, name, 1, f"per.{where[0]}")
        commit(s, name, 2, subject=f"per.{where[1]}")
    batch(s, "five", 1, "per.a", Nats_Rollup="sub")
    commit(s, "five", 2, subject="per.g")
    stored(s, "PER")


def atomic_counters(s: Session) -> None:
    s.stream("C", subjects=["c.*"], allow_msg_counter=True, allow_atomic=True)
    s.publish("c.a", b"", {"Nats-Incr": "5"})
    for name, increments in (("one", ("1", "2", "-10")), ("two", ("1", "x", "1")), ("three", ("1", "", "1"))):
        for number, value in enumerate(increments, 1):
            end = {COMMIT: "1"} if number == len(increments) else {}
            s.publish("c.a" if number != 2 else "c.b", b"", {ID: name, NUMBER: str(number), "Nats-Incr": value, **end})
    s.publish("c.a", b"", {"Nats-Incr": "0"})
    stored(s, "C")


def atomic_numbers(s: Session) -> None:
    """How many batches, and how many messages in one."""
    s.client.subscribe("$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.>")
    s.stream("A", subjects=["a.*"], allow_atomic=True)
    for number in range(50):
        s.client.publish("a.x", b"", "", {ID: f"b{number}", NUMBER: "1"})
    batch(s, "one-more", 1)
    commit(s, "b7", 2)
    batch(s, "one-more", 1)
    for number in range(2, 1001):
        s.client.publish("a.x", b"", "", {ID: "one-more", NUMBER: str(number)})
    commit(s, "one-more", 1001, "eob")
    batch(s, "large", 1)
    for number in range(2, 1001):
        s.client.publish("a.x", b"", "", {ID: "large", NUMBER: str(number)})
    commit(s, "large", 1001)
    s.api("STREAM.INFO.A")
    told(s, "2", 1)


def atomic_reads(s: Session) -> None:
    """Nobody sees a batch before it is whole."""
    s.stream("A", subjects=["a.*"], allow_atomic=True, allow_direct=True)
    s.consumer("A", "C", ack_policy="none")
    batch(s, "b", 1)
    batch(s, "b", 2, "a.y")
    s.frame("none", s.client.request("$JS.API.DIRECT.GET.A.a.x"))
    s.pull("A", "C", {"batch": 1, "no_wait": True}, 1)
    commit(s, "b", 3)
    s.frame("there", s.client.request("$JS.API.DIRECT.GET.A.a.x"))
    s.pull("A", "C", {"batch": 3}, 3)
    s.publish("a.x", json.dumps({"plain": True}).encode())
