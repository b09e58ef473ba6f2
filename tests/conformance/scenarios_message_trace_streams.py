"""Message traces (ADR-41) that come to streams and to the JetStream API."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from .core_target import Settings
from .raw import CoreRecord, Raw
from .scenarios_message_trace import ASKS, BOTH, Watcher, hpub, person, told
from .scenarios_permissions import pub

CONFIG = """
jetstream { store_dir: "STORE", DOMAIN }
accounts {
  A { jetstream: enabled, users: [ { user: a, pass: x } ], exports: [ { stream: "out.>" }, { service: kept } ] }
  B {
    jetstream: enabled
    users: [ { user: b, pass: x } ]
    imports: [
      { stream: { account: A, subject: "out.yes.>" }, to: "in.yes.>", allow_trace: true }
      { stream: { account: A, subject: "out.no.>" }, to: "in.no.>" }
    ]
  }
  NONE { users: [ { user: none, pass: x } ] }
  SYS { users: [ { user: sys, pass: x } ] }
}
system_account: SYS
"""
STREAMS: Settings = {"config": CONFIG.replace("DOMAIN", "")}
DOMAIN: Settings = {"config": CONFIG.replace("DOMAIN", "domain: here")}


NEWLINE = b"\r\n"


class Sender:
    """Publishes into streams; hears every answer."""

    def __init__(self, s: CoreRecord, name: str = "a") -> None:
        self.record = s
        self.raw: Raw = person(s, name)
        self.watcher = Watcher(s, name)
        self.raw.until_pong_of(b"SUB inbox 1\r\nSUB fast.> 2\r\n")

    def answer(self) -> bytes:
        """The body of the next answer."""
        return self.raw.message().body

    def api(self, verb: str, **body: Any) -> Any:
        self.raw.send(pub(f"$JS.API.{verb}".encode(), b"inbox", json.dumps(body).encode() if body else b""))
        return json.loads(self.answer())

    def stream(self, name: str, **config: Any) -> None:
        answer = self.api(f"STREAM.CREATE.{name}", name=name, **{"storage": "memory", **config})
        assert "error" not in answer, answer

    def publish(
        self, subject: str, *lines: str, body: bytes = b"x", reply: str = "inbox", answered: bool = True
    ) -> None:
        """Records the answer and the trace; not `answered`: only the trace."""
        self.raw.send(hpub(subject, *lines, reply=reply, body=body))
        self.record.note(f"{subject} {lines} {body[:20]!r} -> {self.answer()!r}" if answered else f"{subject} {lines}")
        self.watcher.next("  trace")

    def stored(self, stream: str, seq: int) -> None:
        found = self.api(f"STREAM.MSG.GET.{stream}", seq=seq).get("message", {})
        self.record.note(f"{stream} {seq}: {found.get('subject')} {base64.b64decode(found.get('hdrs', ''))!r}")

    def end(self, *streams: str) -> None:
        for name in streams:
            assert self.api(f"STREAM.DELETE.{name}")["success"]


REFUSED: list[tuple[str, ...]] = [
    ("Nats-Expected-Stream: X",), ("Nats-Expected-Last-Sequence: 99",), ("Nats-Expected-Last-Sequence: x",),
    ("Nats-Expected-Last-Subject-Sequence: 77",), ("Nats-Expected-Last-Subject-Sequence-Subject: s.b",),
    ("Nats-Expected-Last-Subject-Sequence: 1", "Nats-Expected-Last-Sequence: 5"), ("Nats-Expected-Last-Msg-Id: zz",),
    ("Nats-Expected-Last-Subject-Sequence: 7", "Nats-Expected-Last-Sequence: 5"), ("Nats-Rollup: sub",),
    ("Nats-Rollup: odd",), ("Nats-Incr: 1",), ("Nats-Incr: x",), ("Nats-Schedule: @at 2030-01-01T00:00:00Z",),
    ("Nats-Stream-Source: x",), ("Nats-Batch-Id: b", "Nats-Batch-Sequence: 1"), ("Nats-Msg-Id: 1",), ("Nats-TTL: 1s",),
    ("Nats-Batch-Id: b",),
]  # fmt: skip


def stored_and_refused(s: CoreRecord) -> None:
    a = Sender(s)
    a.stream("S", subjects=["s.>"], max_msg_size=250)
    a.publish("s.a", ASKS, "A: b", "Nats-Msg-Id: 1")
    a.stored("S", 1)
    for lines in BOTH:
        for refused in REFUSED:
            a.publish("s.a", *lines, *refused)
        a.publish("s.a", *lines, body=b"x" * 300)
    a.publish("s.a", *BOTH[1], answered=False)
    a.publish("s.a", ASKS, "Nats-Trace-Only: no")
    a.stored("S", 2)
    s.note(str(a.api("STREAM.INFO.S")["state"]["last_seq"]))
    a.end("S")


def what_is_found_late(s: CoreRecord) -> None:
    """What a message only asks for a trace does not meet."""
    a = Sender(s)
    a.stream("S", subjects=["s.>"], discard="new", max_msgs=2, allow_msg_ttl=True, allow_rollup_hdrs=True)
    for lines in BOTH:
        a.publish("s.a", *lines, "Nats-TTL: x", answered=lines != BOTH[1])
        a.publish("s.a", *lines, "Nats-Rollup: odd")
    for _ in range(3):
        a.publish("s.a", ASKS)
    a.publish("s.a", *BOTH[1], answered=False)
    a.stream("P", subjects=["p.>"], discard="new", max_msgs_per_subject=1, discard_new_per_subject=True)
    for _ in range(2):
        a.publish("p.a", ASKS)
    a.stream("F", subjects=["f.>"], storage="file", sealed=False)
    for lines in BOTH:
        a.publish("f.a", *lines, answered=lines != BOTH[1])
    sealed = a.api("STREAM.INFO.F")["config"]
    a.api("STREAM.UPDATE.F", **{**sealed, "sealed": True})
    for lines in BOTH:
        a.publish("f.a", *lines)
    a.end("S", "P", "F")


def interest_and_transforms(s: CoreRecord) -> None:
    a = Sender(s)
    a.stream("I", subjects=["i.>"], retention="interest", subject_transform={"src": "i.*", "dest": "j.$1"})
    for wanted in ("", "j.other", "j.a"):
        if wanted:
            a.api(f"CONSUMER.CREATE.I.{wanted[-1]}", stream_name="I", config={
                "durable_name": wanted[-1], "ack_policy": "explicit", "filter_subject": wanted})
        for lines in BOTH:
            a.publish("i.a", *lines, answered=lines != BOTH[1])
    a.stored("I", 3)
    a.end("I")


def with_republish_and_listeners(s: CoreRecord) -> None:
    a = Sender(s)
    other = person(s, "a")
    s.say(other, b"SUB r.> 1\r\nSUB s.* q 2\r\n")
    a.stream("S", subjects=["s.>"], republish={"src": "s.*", "dest": "r.$1"})
    for lines in BOTH:
        a.publish("s.a", *lines, answered=lines != BOTH[1])
    for frame in other.until_pong_of(b""):
        s.note(f"{frame.split()[1]!r} {frame.partition(b'Nats-Time-Stamp')[0].partition(NEWLINE)[2]!r}")
    a.end("S")


def counters_and_schedules(s: CoreRecord) -> None:
    a = Sender(s)
    a.stream("C", subjects=["c.>"], allow_msg_counter=True)
    for lines in BOTH:
        only = lines == BOTH[1]
        a.publish("c.a", *lines, "Nats-Incr: 1", body=b"", answered=not only)
        a.publish("c.a", *lines, "Nats-Incr: 1")
        a.publish("c.a", *lines)
        a.publish("c.a", *lines, "Nats-Incr: 1", "Nats-Rollup: sub", body=b"")
    a.stored("C", 1)
    a.stream("T", subjects=["t.>"], allow_msg_schedules=True, allow_msg_ttl=True)
    for lines in BOTH:
        for more in ((), ("Nats-Schedule-Target: x",), ("Nats-Schedule-Target: t.b", "Nats-Schedule-TTL: x")):
            a.publish("t.a", *lines, "Nats-Schedule: @at 2030-01-01T00:00:00Z", *more)
        a.publish("t.a", *lines, "Nats-Schedule: @at 2030-01-01T00:00:00Z", "Nats-Schedule-Target: t.b",
                  answered=lines != BOTH[1])
        a.publish("t.c", *lines, "Nats-Schedule-Next: purge")
    a.end("C", "T")


def batches_that_are_refused(s: CoreRecord) -> None:
    a = Sender(s)
    a.stream("B", subjects=["b.>"], allow_atomic=True, allow_batched=True)
    a.publish("b.a", ASKS, "Nats-Batch-Id: b", "Nats-Batch-Sequence: 7")
    a.publish("b.a", ASKS, "Nats-Batch-Id: " + "x" * 65, "Nats-Batch-Sequence: 1")
    a.publish("b.a", *BOTH[1], "Nats-Batch-Id: " + "x" * 65, "Nats-Batch-Sequence: 1")
    a.publish("b.a", ASKS, "Nats-Batch-Id: b", "Nats-Batch-Sequence: 1", "Nats-Batch-Commit: odd")
    for lines in BOTH:
        a.publish("b.a", *lines, reply="fast.id.10.ok.3.1.$FI")
        a.publish("b.a", *lines, reply="fast.id.$FI")
    a.end("B")


def batches_that_are_stored(s: CoreRecord) -> None:
    a = Sender(s)
    a.stream("B", subjects=["b.>"], allow_atomic=True, allow_batched=True)
    a.raw.send(hpub("b.a", "Nats-Batch-Id: b", "Nats-Batch-Sequence: 1", reply="inbox"))
    a.answer()
    a.publish("b.a", ASKS, "Nats-Batch-Id: b", "Nats-Batch-Sequence: 2", "Nats-Batch-Commit: 1")
    a.stored("B", 2)
    a.publish("b.a", ASKS, reply="fast.id.10.ok.1.0.$FI")
    a.publish("b.a", ASKS, reply="fast.id.10.ok.2.1.$FI", answered=False)
    a.publish("b.a", ASKS, reply="fast.id.10.ok.3.2.$FI")
    a.publish("b.a", *BOTH[1], reply="fast.other.10.ok.1.2.$FI", answered=False)
    s.note(str(a.api("STREAM.INFO.B")["state"]["last_seq"]))
    a.end("B")


def staged_in_a_batch(s: CoreRecord) -> None:
    """nats-server says nothing of a message that waits for its batch's end, nor of one that only seems to."""
    a = Sender(s)
    a.stream("B", subjects=["b.>"], allow_atomic=True)
    for lines in BOTH:
        a.raw.send(hpub("b.a", *lines, f"Nats-Batch-Id: b{len(lines)}", "Nats-Batch-Sequence: 1"))
        a.raw.send(hpub("b.z", ASKS))
        a.watcher.next("the next trace")
    a.end("B")


def streams_of_another_account(s: CoreRecord) -> None:
    """A stream that hears what its account imports."""
    a, b = Sender(s), Sender(s, "b")
    b.stream("IN", subjects=["in.>"])
    for lines in BOTH:
        for subject in ("out.yes.a", "out.no.a"):
            told(s, a.raw, a.watcher, hpub(subject, *lines))
    for seq in (1, 2):
        b.stored("IN", seq)
    b.end("IN")


def into_a_stream(s: CoreRecord) -> None:
    a = Sender(s)
    a.stream("W", subjects=["told.>", "w"])
    a.raw.send(hpub("foo", "Nats-Trace-Dest: told.a"))
    while a.api("STREAM.INFO.W")["state"]["last_seq"] < 1:
        pass
    a.raw.send(hpub("w", "Nats-Trace-Dest: told.b", reply="inbox"))
    s.note(repr(a.answer()))
    while a.api("STREAM.INFO.W")["state"]["last_seq"] < 3:
        pass
    for seq in (1, 2, 3):
        a.stored("W", seq)
    a.end("W")


def the_api(s: CoreRecord) -> None:
    a = Sender(s)
    a.stream("S", subjects=["s.>"], allow_direct=True)
    for body in (b"1", b"2", b"3", b"4"):
        a.publish("s.a", ASKS, body=body)
    a.api("CONSUMER.CREATE.S.C", stream_name="S", config={"durable_name": "C", "ack_policy": "explicit"})
    for lines in BOTH:
        for verb, body in (
            ("INFO", b""), ("STREAM.NAMES", b""), ("DIRECT.GET.S", b'{"seq":1}'), ("DIRECT.GET.S.s.a", b""),
            ("DIRECT.GET.NO", b"x"), ("CONSUMER.MSG.NEXT.S.NO", b""), ("CONSUMER.MSG.NEXT.S.C", b""),
        ):  # fmt: skip
            a.raw.send(hpub(f"$JS.API.{verb}", *lines, reply="inbox", body=body))
            s.note(f"{verb} {lines} {a.answer()[:40]!r}")
            a.watcher.next("  trace")
        a.raw.send(hpub("$JS.API.NOTHING", *lines))
        a.watcher.next("  trace")
        for subject in ("$JS.here.API.INFO", "$JS.there.API.INFO"):
            a.raw.send(hpub(subject, *lines))
            a.watcher.next(subject)
    none = Sender(s, "none")
    for lines in BOTH:
        none.raw.send(hpub("$JS.API.INFO", *lines, reply="inbox"))
        s.note(f"{none.answer()!r}")
        none.watcher.next("without streams")
    a.end("S")


def acknowledgements(s: CoreRecord) -> None:
    a = Sender(s)
    a.stream("S", subjects=["s.>"])
    a.publish("s.a", "A: b", ASKS)
    a.publish("s.a", ASKS)
    a.api("CONSUMER.CREATE.S.C", stream_name="S", config={"durable_name": "C", "ack_policy": "explicit"})
    for lines in BOTH:
        a.raw.send(pub(b"$JS.API.CONSUMER.MSG.NEXT.S.C", b"inbox"))
        head = a.raw.line().split()
        a.raw.exactly(int(head[-1]) + 2)
        a.raw.send(hpub(head[3].decode(), *lines, reply="inbox", body=b"+ACK"))
        s.note(f"acknowledged {a.answer()!r}")
        events = json.loads(json.dumps(a.watcher.raw.line().split()[0].decode()))
        s.note(events)
        a.watcher.raw.line()
    s.note(str(a.api("CONSUMER.INFO.S.C")["ack_floor"]["stream_seq"]))
    a.end("S")


SCENARIOS: list[tuple[Settings, Callable[[CoreRecord], None]]] = [
    (STREAMS, stored_and_refused),
    (STREAMS, what_is_found_late),
    (STREAMS, interest_and_transforms),
    (STREAMS, with_republish_and_listeners),
    (STREAMS, counters_and_schedules),
    (STREAMS, batches_that_are_refused),
    (STREAMS, batches_that_are_stored),
    (STREAMS, staged_in_a_batch),
    (STREAMS, streams_of_another_account),
    (STREAMS, into_a_stream),
    (STREAMS, acknowledgements),
    (STREAMS, the_api),
    (DOMAIN, the_api),
]
