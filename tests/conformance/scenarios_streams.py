"""What a client sees of streams: their life, limits, publish headers and acknowledgements, purges.

Streams have the storage of the run (`Session.storage`), so that each scenario is told of both stores.
"""

from __future__ import annotations

import json
from typing import Any

from .compare import Session

EXPECT = "Nats-Expected-"
SECOND_NS = 1_000_000_000


def update(s: Session, stream: str, **config: Any) -> Any:
    chosen = {"storage": s.storage} if s.storage else {}
    return s.api(f"STREAM.UPDATE.{stream}", {"name": stream, **chosen, **config})


def whole_info(s: Session, name: str) -> Any:
    return s.api(f"STREAM.INFO.{name}", {"subjects_filter": ">", "deleted_details": True})


def stream_life(s: Session) -> None:
    s.account()
    s.stream("LIFE", subjects=["life.>"])
    s.stream("LIFE", subjects=["life.>"])
    s.stream("LIFE", subjects=["life.x"])
    for number in range(5):
        s.publish(f"life.{number % 2}", b"data %d" % number)
    s.publish("life.h", b"data", {"A": "b"})
    s.api("STREAM.INFO.LIFE")
    whole_info(s, "LIFE")
    for body in ({"seq": 2}, {"seq": 2}, {"seq": 3, "no_erase": True}, {"seq": 99}, {"seq": 6}):
        s.api("STREAM.MSG.DELETE.LIFE", body)
        s.api("STREAM.INFO.LIFE", {"subjects_filter": "life.0", "deleted_details": True})
    update(s, "LIFE", subjects=["life.>"], max_msgs=3)
    s.api("STREAM.INFO.LIFE")
    s.api("STREAM.LIST")
    s.account()
    s.api("STREAM.DELETE.LIFE")
    s.api("STREAM.DELETE.LIFE")
    s.api("STREAM.INFO.LIFE")
    s.account()
    s.stream("LIFE", subjects=["life.>"])
    s.publish("life.0", b"again")


def stream_every_field(s: Session) -> None:
    s.stream(
        "FULL", description="<all> & more", subjects=["full.*", "other"], max_consumers=3, max_msgs=10,
        max_bytes=10_000, max_age=3600 * SECOND_NS, max_msgs_per_subject=2, max_msg_size=100, discard="new",
        discard_new_per_subject=True, duplicate_window=SECOND_NS, allow_rollup_hdrs=True, allow_direct=True,
        deny_delete=True, first_seq=100, metadata={"b": "2", "a": "1", "é": "", "_nats.x": "kept", "_nats.ver": "gone"},
        consumer_limits={"inactive_threshold": 5 * SECOND_NS, "max_ack_pending": 10},
        placement={"cluster": "<c>", "tags": ["t"]},
    )
    s.publish("other", b"x")
    s.api("STREAM.INFO.FULL")
    s.api("STREAM.MSG.DELETE.FULL", {"seq": 100})
    s.publish("other", b"x")
    s.publish("other", b"x")
    s.publish("full.a", b"x" * 101)
    s.api("STREAM.LIST")
    s.account()


def stream_updates(s: Session) -> None:
    s.stream("UP", subjects=["up"])
    s.publish("up", b"1")
    changes: list[dict[str, Any]] = [
        {"subjects": ["up", "up2"]}, {"storage": "memory"}, {"storage": "file"}, {"max_consumers": 2},
        {"max_msgs": 5, "max_bytes": 1000, "max_age": 10**10, "discard": "new"}, {"duplicate_window": 10**9},
        {"max_msg_size": 3}, {"max_msgs_per_subject": 1}, {"allow_direct": True}, {"allow_direct": False},
        {"allow_rollup_hdrs": True}, {"deny_delete": True}, {"deny_delete": False},
        {"deny_delete": True, "deny_purge": True}, {"deny_delete": True, "deny_purge": False},
        {"deny_delete": True, "deny_purge": True, "first_seq": 9}, {"num_replicas": 3},
        {"deny_delete": True, "deny_purge": True, "description": "d", "metadata": {"a": "b"}},
        {"deny_delete": True, "deny_purge": True, "consumer_limits": {"max_ack_pending": 5}}, {"unknown": 1},
        {"name": "OTHER"}, {"subjects": ["$JS.x"]}, {"persist_mode": "default"},
    ]
    for change in changes:
        update(s, "UP", **{"subjects": ["up"], **change})
        s.publish("up", b"1234")
        s.publish("up2", b"1234")
        s.api("STREAM.INFO.UP")
    update(s, "NOT")
    update(s, "NOT", max_age=1)
    s.api("STREAM.UPDATE.UP", b"")
    s.stream("OVER", subjects=["over.*"])
    update(s, "OVER", subjects=["up"])
    update(s, "OVER", subjects=["OVER"])
    update(s, "OVER")


def tightened_limits(s: Session) -> None:
    for kind, bound in (("max_msgs", 3), ("max_bytes", 120), ("max_msgs_per_subject", 1)):
        name = f"T_{kind}"
        s.stream(name, subjects=[f"{name}.*"])
        for number in range(9):
            s.publish(f"{name}.{number % 3}", b"0123456789")
        update(s, name, subjects=[f"{name}.*"], **{kind: bound})
        whole_info(s, name)
        s.publish(f"{name}.0", b"x")
        update(s, name, subjects=[f"{name}.*"])
        s.publish(f"{name}.0", b"x")
        whole_info(s, name)
    for name, other in (("ALL", {"max_msgs": 5}), ("BYTES", {"max_bytes": 200})):
        s.stream(name, subjects=[f"{name}.*"])
        for number in range(12):                 # the oldest of the stream go first, then those of a subject
            s.publish(f"{name}.{'abcbcbcbcccc'[number]}", b"x" * 20)
        update(s, name, subjects=[f"{name}.*"], max_msgs_per_subject=1, **other)
        whole_info(s, name)


def sealing(s: Session) -> None:
    s.stream("SEAL", subjects=["seal"], allow_rollup_hdrs=True, max_age=3600 * SECOND_NS)
    s.publish("seal", b"1")
    update(s, "SEAL", subjects=["seal"], sealed=True, deny_purge=False)
    s.publish("seal", b"2")
    s.publish("seal", b"2", {"Nats-Incr": "x"})
    s.api("STREAM.MSG.DELETE.SEAL", {"seq": 1})
    s.api("STREAM.PURGE.SEAL")
    s.api("STREAM.MSG.GET.SEAL", {"seq": 1})
    update(s, "SEAL", subjects=["seal"], sealed=False)
    update(s, "SEAL", subjects=["seal"], sealed=True, description="still", deny_delete=True, deny_purge=True)
    s.api("STREAM.INFO.SEAL")
    s.api("STREAM.DELETE.SEAL")


def denials(s: Session) -> None:
    s.stream("DENY", subjects=["deny"], deny_delete=True, deny_purge=True)
    s.publish("deny", b"1")
    s.api("STREAM.MSG.DELETE.DENY", {"seq": 1})
    s.api("STREAM.PURGE.DENY")
    s.api("STREAM.PURGE.DENY", {"seq": 1, "keep": 1})
    s.publish("deny", b"1", {"Nats-Rollup": "sub"})
    s.api("STREAM.INFO.DENY")


def first_sequence(s: Session) -> None:
    for number, first in enumerate((0, 1, 2, 1000, 1 << 40, (1 << 63) - 1)):
        s.stream(f"F{number}", subjects=[f"f.{number}"], first_seq=first)
        s.api(f"STREAM.INFO.F{number}")
        s.publish(f"f.{number}", b"x")
        s.publish(f"f.{number}", b"x", {EXPECT + "Last-Sequence": str(first)})
        s.api(f"STREAM.INFO.F{number}")
        s.api(f"STREAM.PURGE.F{number}")
        s.api(f"STREAM.INFO.F{number}")


def purge_forms(s: Session) -> None:
    s.stream("P", subjects=["P.*"])
    bodies: list[Any] = [
        {"filter": "P.0"}, {"filter": "P.1", "keep": 2}, {"seq": 5}, {"keep": 6}, {"filter": "P.2", "seq": 12},
        {"seq": 3, "keep": 3}, {"filter": "none"}, {"unknown": 1}, {"keep": -1}, {"filter": "P..x"}, {"filter": "P.>"},
        {"filter": "P.3", "keep": 100}, {"filter": "*.3", "seq": 18}, {"seq": 1000}, b"[]", b"x", b" ", b"{}", b"1",
    ]
    for number in range(20):
        s.publish(f"P.{number % 4}", b"x")
    for body in bodies:
        s.api("STREAM.PURGE.P", body)
        whole_info(s, "P")
        s.publish("P.9", b"x")
        s.publish("P.3", b"x")
    s.api("STREAM.PURGE.P")
    s.api("STREAM.INFO.P")
    s.publish("P.9", b"x")
    s.api("STREAM.PURGE.P", {"seq": 1 << 63})
    s.api("STREAM.INFO.P")
    s.publish("P.9", b"x")
    s.api("STREAM.PURGE.NONE")
    s.api("STREAM.PURGE.NONE", b"{")


def purge_of_nothing(s: Session) -> None:
    """Where a stream begins in which nothing ever was."""
    bodies: list[dict[str, Any]] = [
        {}, {"keep": 2}, {"filter": ">"}, {"filter": "p.>"}, {"filter": "none"}, {"seq": 1}, {"seq": 2}, {"keep": 0},
        {"filter": ">", "keep": 1}, {"filter": ">", "seq": 1}, {"filter": "p", "keep": 1}, {"filter": "p", "seq": 1},
    ]  # fmt: skip
    for first_seq in (0, 1, 5):
        for number, body in enumerate(bodies):
            name = f"P{first_seq}_{number}"
            s.stream(name, subjects=[f"{name}.>"], **({"first_seq": first_seq} if first_seq else {}))
            s.api(f"STREAM.PURGE.{name}", body)
            s.api(f"STREAM.INFO.{name}")
            s.publish(f"{name}.a", b"x")
            s.api(f"STREAM.INFO.{name}")


def purge_by_sequence_beyond_the_end(s: Session) -> None:
    s.stream("B", subjects=["b.*"])
    for number in range(4):
        s.publish(f"b.{number % 2}", b"x")
    for body in ({"seq": 100, "filter": "b.0"}, {"seq": 4}, {"seq": 5}, {"seq": 100}, {"seq": 50}):
        s.api("STREAM.PURGE.B", body)
        whole_info(s, "B")
        s.publish("b.0", b"x")
    s.api("STREAM.PURGE.B", {"keep": 1})
    whole_info(s, "B")


def limits(s: Session) -> None:
    for discard in ("old", "new"):
        for kind, bound in (("max_msgs", 3), ("max_bytes", 150), ("max_msgs_per_subject", 2)):
            name = f"L{discard}{kind}"
            s.stream(name, subjects=[f"{name}.*"], discard=discard, allow_rollup_hdrs=True, **{kind: bound})
            for number in range(6):
                s.publish(f"{name}.{number % 2}", b"0123456789")
            s.publish(f"{name}.0", b"z" * 300)
            s.publish(f"{name}.0", b"roll", {"Nats-Rollup": "sub"})
            s.publish(f"{name}.1", b"roll", {"Nats-Rollup": "all"})
            whole_info(s, name)
    for kind, bound in (("max_msgs", 3), ("max_bytes", 150)):
        name = f"D{kind}"
        s.stream(name, subjects=[f"{name}.*"], discard="new", max_msgs_per_subject=1, **{kind: bound})
        for number in range(6):
            s.publish(f"{name}.{number}", b"0123456789")
        s.publish(f"{name}.0", b"replaces")
        s.publish(f"{name}.0", b"z" * 300)
        whole_info(s, name)


def lock_stream(s: Session) -> None:
    """The stream of the issue: at most one message of a subject, a second one is refused."""
    s.stream("LOCK", subjects=["lock.*"], discard="new", discard_new_per_subject=True, max_msgs_per_subject=1,
             allow_rollup_hdrs=True, max_age=3600 * SECOND_NS, duplicate_window=SECOND_NS)
    for _ in range(2):
        s.publish("lock.a", b"mine")
        s.publish("lock.a", b"theirs", {EXPECT + "Last-Subject-Sequence": "0"})
        s.publish("lock.b", b"mine", {EXPECT + "Last-Subject-Sequence": "0"})
        s.publish("lock.a", b"rolled", {"Nats-Rollup": "sub"})
        s.publish("lock.a", b"x", {"Nats-Msg-Id": "m"})
        s.api("STREAM.PURGE.LOCK", {"filter": "lock.a"})
        whole_info(s, "LOCK")
    s.publish("lock.a", b"x", {"Nats-Msg-Id": "m"})
    s.publish("lock.c", b"x", {"Nats-Msg-Id": "m"})


def message_sizes(s: Session) -> None:
    s.stream("SIZE", subjects=["size"], max_msg_size=100)
    for size in (0, 99, 100, 101):
        s.publish("size", b"x" * size)
    block = b"NATS/1.0\r\nA: " + b"b" * 60 + b"\r\n\r\n"
    for size in (100 - len(block), 101 - len(block)):
        s.publish("size", b"x" * size, block)
    s.stream("BIG", subjects=["big"])
    for size in (65_518, 65_519, 65_520, 65_521, 65_522):
        s.publish("big", b"", b"NATS/1.0\r\nA: " + b"b" * size + b"\r\n\r\n")
    s.api("STREAM.INFO.BIG")


def byte_accounting(s: Session) -> None:
    s.stream("B", subjects=["B.>"])
    for subject, payload, headers in (("a", b"", None), ("a", b"x", None), ("abc.def", b"x" * 1000, None),
                                      ("a", b"x", {"A": "b"}), ("a", b"", {"A": "b", "C": "d" * 100})):
        s.publish(f"B.{subject}", payload, headers)
        state = s.api("STREAM.INFO.B")
        assert state["state"]["bytes"] > 0
    s.publish("B.a", b"", b"NATS/1.0\r\n\r\n")
    s.publish("B.a", b"", b"NATS/1.0 503 No\r\nA: b\r\n\r\n")
    s.api("STREAM.MSG.GET.B", {"seq": 6})
    s.api("STREAM.MSG.GET.B", {"seq": 7})
    s.api("STREAM.INFO.B")


def duplicates(s: Session) -> None:
    s.stream("DUP", subjects=["dup.*"])
    for subject, message_id in (("a", "1"), ("a", "1"), ("b", "1"), ("a", "2"), ("a", ""), ("a", ""), ("a", "x y:z")):
        s.publish(f"dup.{subject}", b"x", {"Nats-Msg-Id": message_id})
    s.publish("dup.a", b"x", {"nats-msg-id": "1"})
    s.publish("dup.a", b"x", b"NATS/1.0\r\nNats-Msg-Id:1\r\n\r\n")
    s.publish("dup.a", b"x", b"NATS/1.0\r\nNats-Msg-Id:   1   \r\n\r\n")
    s.publish("dup.a", b"x", b"NATS/1.0\r\nNats-Msg-Id: 3\r\nNats-Msg-Id: 1\r\n\r\n")
    s.api("STREAM.PURGE.DUP")
    s.publish("dup.a", b"x", {"Nats-Msg-Id": "1"})
    for expected in ("1", "3", "", "nothing"):
        s.publish("dup.a", b"x", {EXPECT + "Last-Msg-Id": expected})
    s.publish("dup.a", b"x", {"Nats-Msg-Id": "4"})
    s.publish("dup.a", b"x", {EXPECT + "Last-Msg-Id": "4"})
    s.publish("dup.a", b"x", {EXPECT + "Last-Msg-Id": "4"})
    update(s, "DUP", subjects=["dup.*"], duplicate_window=0)
    s.publish("dup.a", b"x", {"Nats-Msg-Id": "4"})
    s.api("STREAM.INFO.DUP")


def expectations(s: Session) -> None:
    s.stream("H", subjects=["h.*"])
    for header, value in (
        ("Stream", "H"), ("Stream", "X"), ("Stream", ""), ("Last-Sequence", "1"), ("Last-Sequence", "0"),
        ("Last-Sequence", "x"), ("Last-Sequence", "-1"), ("Last-Sequence", "+2"), ("Last-Sequence", "002"),
        ("Last-Sequence", "18446744073709551615"), ("Last-Sequence", "9223372036854775807"),
        ("Last-Sequence", "99999999999999999999999"), ("Last-Sequence", "2 "), ("Last-Sequence", ""),
        ("Last-Subject-Sequence", "0"), ("Last-Subject-Sequence", "1"), ("Last-Subject-Sequence", "x"),
        ("Last-Subject-Sequence", "3"), ("Last-Subject-Sequence", "18446744073709551615"), ("Last-Msg-Id", "no"),
    ):
        s.publish("h.a", b"2", {EXPECT + header: value})
    subject = EXPECT + "Last-Subject-Sequence-Subject"
    last = EXPECT + "Last-Subject-Sequence"
    for value in ("h.*", "h.z", "h.a", ">", "h..a", "z", "h.b", ""):
        for sequence in ("0", "3", "5"):
            s.publish("h.b", b"", {last: sequence, subject: value})
        s.publish("h.b", b"", {subject: value})
    s.api("STREAM.INFO.H", {"subjects_filter": ">"})
    s.stream("EMPTY", subjects=["empty"])
    s.publish("empty", b"", {EXPECT + "Last-Sequence": "5"})
    s.publish("empty", b"", {last: "5"})
    s.publish("empty", b"", {EXPECT + "Last-Msg-Id": "x"})
    s.publish("empty", b"", {EXPECT + "Last-Sequence": "0", last: "0"})


def rollups(s: Session) -> None:
    s.stream("R", subjects=["r.*"], allow_rollup_hdrs=True)
    for number in range(6):
        s.publish(f"r.{number % 3}", b"x")
    for subject, value in (("r.0", "sub"), ("r.1", "SUB"), ("r.1", "bad"), ("r.1", ""), ("r.9", "sub"), ("r.2", "All")):
        s.publish(subject, b"3", {"Nats-Rollup": value})
        whole_info(s, "R")
    s.stream("NOROLL", subjects=["noroll"])
    s.publish("noroll", b"3", {"Nats-Rollup": "sub"})
    s.publish("noroll", b"3", {"Nats-Rollup": "bad"})


def headers_of_absent_features(s: Session) -> None:
    s.stream("N", subjects=["n.*"])
    for header, value in (
        ("Nats-TTL", "5"), ("Nats-TTL", "x"), ("Nats-TTL", "0"), ("Nats-TTL", "never"), ("Nats-Incr", "+5"),
        ("Nats-Incr", "x"), ("Nats-Incr", ""), ("Nats-Incr", "1_0"), ("Nats-Incr", "0x1"), ("Nats-Batch-Id", "b"),
        ("Nats-Batch-Sequence", "1"), ("Nats-Batch-Commit", "1"), ("Nats-Schedule", "@every 1s"), ("Nats-Schedule",
        "x"),
        ("Nats-Schedule", ""), ("Nats-Schedule-Time-Zone", "x"), ("Nats-Schedule-Target", "x"),
        ("Nats-Schedule-TTL", "x"), ("Nats-Schedule-Next", "x"), ("Nats-Schedule-Next", "purge"), ("Nats-Scheduler",
        "x"),
        ("Nats-Schedule-Rollup", "x"), ("Nats-Schedule-Source", "x"), ("Nats-Stream-Source", "x"),
        ("Nats-Required-Api-Level", "99"), ("Nats-Request-Info", "x"), ("Nats-Counter-Sources", "x"),
        ("Nats-Marker-Reason", "Purge"), ("KV-Operation", "DEL"),
    ):
        s.publish("n.a", b"4", {header: value})
    s.publish("n.a", b"4", {"Nats-Batch-Id": "b", "Nats-Batch-Sequence": "1"})
    s.publish("n.a", b"4", {"Nats-Schedule-Next": "purge", "Nats-Scheduler": "n.b"})
    s.publish("n.a", b"4", {"Nats-Request-Info": "x", "A": "b"})
    state = whole_info(s, "N")["state"]
    for stream_seq in range(1, state["last_seq"] + 1):
        s.api("STREAM.MSG.GET.N", {"seq": stream_seq})


def acknowledgements(s: Session) -> None:
    s.stream("NOACK", subjects=["noack"], no_ack=True, max_msg_size=5)
    for payload in (b"x", b"too long"):
        s.client.publish("noack", payload, s.client.new_reply())
    s.api("STREAM.INFO.NOACK")
    s.frames("no ack", s.client.flush())
    s.stream("ACK", subjects=["ack"])
    s.client.publish("ack", b"without reply")
    s.client.publish("ack", b"without reply", "", {EXPECT + "Last-Sequence": "77"})
    s.publish("ack", b"with reply")
    s.publish("nobody.listens", b"")
    s.stream("A" * 200, subjects=["long"])
    s.publish("long", b"")
    s.stream("é<>"[:1], subjects=["utf8"])
    s.publish("utf8", b"")
    s.publish("utf8", b"", {EXPECT + "Stream": "é"})


def max_age(s: Session) -> None:
    s.stream("AGE", subjects=["age"], max_age=SECOND_NS // 2, duplicate_window=SECOND_NS // 10)
    for _ in range(3):
        s.publish("age", b"x")
    wait_until_gone(s, "AGE", 3)
    s.api("STREAM.INFO.AGE")
    s.api("STREAM.MSG.GET.AGE", {"seq": 3})
    s.publish("age", b"x")
    update(s, "AGE", subjects=["age"], max_age=0, duplicate_window=SECOND_NS // 10)
    s.api("STREAM.INFO.AGE")
    update(s, "AGE", subjects=["age"], max_age=SECOND_NS, duplicate_window=SECOND_NS // 10)
    wait_until_gone(s, "AGE", 4)
    s.api("STREAM.INFO.AGE")


def wait_until_gone(s: Session, name: str, stream_seq: int) -> None:
    """Asks until the message is gone. The questions are no part of the record, and the server does not count them."""
    body = json.dumps({"seq": stream_seq}).encode()
    while b"no message found" not in s.client.request(f"$JS.API.STREAM.MSG.GET.{name}", body).payload:
        pass


def subject_forms(s: Session) -> None:
    s.stream("ALL", subjects=[">"], no_ack=True)
    s.stream("MORE", subjects=["more"])
    s.stream("WILD", subjects=["a.*.c", "b.>", "*.d"], no_ack=True)
    s.api("STREAM.DELETE.ALL")
    s.stream("WILD", subjects=["a.*.c", "b.>", "*.d"])
    for subject in ("a.b.c", "a.c", "b.x.y", "b", "x.d", "a.d"):
        s.publish(subject, b"")
    s.stream("CASE", subjects=["A.b.c"])
    s.publish("A.b.c", b"")
    for names in ("a.b.c", "a.*.c", "*.*.c", ">", "b.>", "b", "x.*", "A.b.c", "a..c", "", "*"):
        s.api("STREAM.NAMES", {"subject": names})
    for names in ("b.>", ""):
        s.api("STREAM.LIST", {"subject": names})
    whole_info(s, "WILD")
    for filter in ("a.*.c", "*.d", "nobody", "a..c", "b.>", "b.x.*"):
        s.api("STREAM.INFO.WILD", {"subjects_filter": filter})


def deleted_and_subject_details(s: Session) -> None:
    s.stream("DET", subjects=["det.*"])
    for number in range(12):
        s.publish(f"det.{number % 5}", b"x")
    for stream_seq in (1, 4, 5, 9, 12):
        s.api("STREAM.MSG.DELETE.DET", {"seq": stream_seq})
    for body in ({"deleted_details": True}, {"subjects_filter": "det.*", "offset": 2}, {"subjects_filter": "det.3"},
                 {"subjects_filter": ">", "offset": 99}, {"subjects_filter": ">", "offset": -1}, {"offset": 3},
                 {"subjects_filter": "none", "offset": 1}, {"subjects_filter": ""}, {"deleted_details": False}):
        s.api("STREAM.INFO.DET", body)
    s.api("STREAM.PURGE.DET")
    whole_info(s, "DET")


def paging(s: Session) -> None:
    for number in range(260):
        frame = s.client.request(
            f"$JS.API.STREAM.CREATE.PAGE{number:03d}",
            json.dumps({"name": f"PAGE{number:03d}", "subjects": [f"page.{number % 2}.{number}"],
            "storage": "memory"}).encode(),
        )
        assert b"did_create" in frame.payload
    for offset in (0, 200, 255, 256, 259, 260, 1000):
        for body in ({"offset": offset}, {"offset": offset, "subject": "page.1.*"}):
            for verb in ("NAMES", "LIST"):
                answer = json.loads(s.client.request(f"$JS.API.STREAM.{verb}", json.dumps(body).encode()).payload)
                shown = answer.pop("streams") or []
                names = [item if isinstance(item, str) else item["config"]["name"] for item in shown]
                s.note(f"{verb} {body} -> {answer} {len(names)} {names[:1]} {names[-1:]}")
    s.account()


def reserved_bytes(s: Session) -> None:
    s.stream("RES", subjects=["res"], max_bytes=1 << 20)
    s.account()
    update(s, "RES", subjects=["res"], max_bytes=1 << 10)
    s.account()
    update(s, "RES", subjects=["res"])
    s.account()


def reservations_beyond_the_machine(s: Session) -> None:
    s.stream("RES", subjects=["res"], max_bytes=1 << 20)
    s.stream("RES2", subjects=["res2"], max_bytes=1 << 62)
    update(s, "RES", subjects=["res"], max_bytes=1 << 62)
    s.stream("RES2", subjects=["res2"], max_bytes=1 << 62, max_age=1)
    s.account()
