"""What a client sees of reads: `$JS.API.DIRECT.GET` and `STREAM.MSG.GET` in every form they take."""

from __future__ import annotations

import json
from typing import Any

from .compare import Session
from .scenarios_streams import update

ENDS = ("204", "404", "408", "412", "413", "500")


def filled(s: Session, name: str = "D", count: int = 8, **config: Any) -> None:
    s.stream(name, subjects=[f"{name.lower()}.*"], allow_direct=True, **config)
    for number in range(count):
        s.publish(f"{name.lower()}.{number % 3}", b"%d" % number, {"N": str(number)} if number % 2 else None)


def get(s: Session, body: Any, name: str = "D", headers: dict[str, str] | None = None) -> None:
    """One direct get and all its answers."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    several = isinstance(body, dict) and (body.get("multi_last") or body.get("batch"))
    s.client.publish(f"$JS.API.DIRECT.GET.{name}", data, s.client.new_reply(), headers)
    s.note(f"GET {name} {data[:200]!r}")
    while True:
        frame = s.frame("  ", s.client.next_message(sid="1"))
        if frame.status[:3] in ENDS or not several:
            return


ONE: tuple[bytes, ...] = (
    b"", b" ", b"{", b"{}", b"[]", b"null", b"{} x", b"{}{}", b'{"seq":3}', b'{"seq":0}', b'{"seq":99}', b'{"seq":-1}',
    b'{"seq":"3"}', b'{"seq":18446744073709551615}', b'{"last_by_subj":"d.1"}', b'{"last_by_subj":"d.9"}',
    b'{"last_by_subj":"d.*"}', b'{"last_by_subj":">"}', b'{"last_by_subj":"d..1"}', b'{"last_by_subj":""}',
    b'{"next_by_subj":"d.1"}', b'{"next_by_subj":"d.9"}', b'{"seq":4,"next_by_subj":"d.1"}',
    b'{"seq":9,"next_by_subj":"d.1"}', b'{"seq":4,"next_by_subj":"d.*"}', b'{"seq":4,"next_by_subj":">"}',
    b'{"seq":1,"last_by_subj":"d.1"}', b'{"last_by_subj":"d.1","next_by_subj":"d.1"}', b'{"unknown":1}',
    b'{"unknown":1,"seq":3}', b'{"SEQ":3}', b'{"seq":3,"no_hdr":true}', b'{"seq":4,"no_hdr":true}',
    b'{"last_by_subj":"d.1","no_hdr":true}', b'{"seq":3,"max_bytes":1}', b'{"seq":3,"max_bytes":-1}',
    b'{"start_time":"2020-01-01T00:00:00Z"}', b'{"start_time":"2120-01-01T00:00:00Z"}', b'{"start_time":"x"}',
    b'{"start_time":"0001-01-01T00:00:00Z"}', b'{"start_time":"2020-01-01T00:00:00Z","next_by_subj":"d.2"}',
    b'{"start_time":"2020-01-01T00:00:00Z","seq":1}', b'{"start_time":"2020-01-01T00:00:00Z","last_by_subj":"d.1"}',
    b'{"start_time":"2120-01-01T00:00:00Z","next_by_subj":"d.2"}', b'{"up_to_seq":3}', b'{"up_to_seq":3,"seq":2}',
    b'{"up_to_seq":3,"up_to_time":"2120-01-01T00:00:00Z","seq":2}', b'{"seq":3,"seq":4}', b'{"multi_last":[],"seq":3}',
    b'{"multi_last":null,"seq":3}', b'{"batch":0,"seq":3}', b'{"start_time":"0000-01-01T00:00:00Z"}',
    b'{"start_time":"9999-01-01T00:00:00Z"}', b'{"start_time":"1500-01-01T00:00:00Z"}',
)
MANY: tuple[dict[str, Any], ...] = (
    {"batch": 3, "seq": 1}, {"batch": 3, "seq": 2, "next_by_subj": "d.1"}, {"batch": 10, "next_by_subj": "d.*"},
    {"batch": 1, "seq": 7}, {"batch": 2, "seq": 8}, {"batch": 2, "seq": 9}, {"batch": 2, "seq": 0},
    {"batch": 2, "next_by_subj": "d.9"}, {"batch": 2, "last_by_subj": "d.1"}, {"batch": -1, "seq": 1},
    {"batch": -1, "last_by_subj": "d.1"}, {"batch": 10, "max_bytes": 1, "seq": 1}, {"batch": 10, "max_bytes": 16,
    "seq": 1},
    {"batch": 10, "max_bytes": 60, "seq": 1}, {"batch": 10, "max_bytes": -1, "seq": 1}, {"batch": 2, "seq": 1,
    "no_hdr": True},
    {"batch": 2, "start_time": "2020-01-01T00:00:00Z"}, {"batch": 2, "start_time": "2120-01-01T00:00:00Z"},
    {"batch": 2, "start_time": "2020-01-01T00:00:00Z", "next_by_subj": "d.2"}, {"batch": 100, "seq": 3},
    {"batch": 2, "seq": 3, "up_to_seq": 3}, {"batch": 100, "next_by_subj": ">", "seq": 6},
    {"multi_last": ["d.*"]}, {"multi_last": ["d.1", "d.2"], "batch": 1}, {"multi_last": ["d.*"], "batch": 2},
    {"multi_last": ["d.*"], "up_to_seq": 4}, {"multi_last": ["d.*"], "up_to_seq": 1}, {"multi_last": [">"]},
    {"multi_last": ["d.9"]}, {"multi_last": ["d.9", "d.1"]},
    {"multi_last": ["d.1", "d.1"]}, {"multi_last": ["d.1", "d.*"]}, {"multi_last": ["d..1"]}, {"multi_last": [""]},
    {"multi_last": ["d.*"], "seq": 7}, {"multi_last": ["d.*"], "seq": 9}, {"multi_last": ["d.*"], "seq": 3,
    "up_to_seq": 5},
    {"multi_last": ["d.*"], "max_bytes": 1}, {"multi_last": ["d.*"], "max_bytes": 14}, {"multi_last": ["d.*"],
    "no_hdr": True},
    {"multi_last": ["d.*"], "up_to_time": "2020-01-01T00:00:00Z"}, {"multi_last": ["d.*"], "last_by_subj": "d.1"},
    {"multi_last": ["d.*"], "up_to_time": "2120-01-01T00:00:00Z"}, {"multi_last": ["d.*"], "next_by_subj": "d.1"},
    {"multi_last": ["d.*"], "up_to_seq": 3, "up_to_time": "2120-01-01T00:00:00Z"}, {"multi_last": ["d.*"], "batch": -1},
    {"multi_last": ["d.*"], "start_time": "2020-01-01T00:00:00Z"}, {"multi_last": ["d.2", "d.0"]},
)


def one_message(s: Session) -> None:
    filled(s)
    for body in ONE:
        get(s, body)
        s.api("STREAM.MSG.GET.D", body)
    get(s, {"seq": 1}, "NONE")


def one_message_with_gaps(s: Session) -> None:
    filled(s, count=10)
    for stream_seq in (1, 4, 5, 9):
        s.api("STREAM.MSG.DELETE.D", {"seq": stream_seq})
    for body in ONE:
        get(s, body)
        s.api("STREAM.MSG.GET.D", body)


def many(s: Session) -> None:
    for body in MANY:
        get(s, body)
    if s.storage == "memory":            # docs/differences.md: up-to-the-future
        get(s, {"multi_last": ["d.*"], "up_to_seq": 99})


def batches(s: Session) -> None:
    filled(s)
    many(s)


def batches_with_gaps(s: Session) -> None:
    filled(s, count=10)
    for stream_seq in (1, 4, 5, 10):
        s.api("STREAM.MSG.DELETE.D", {"seq": stream_seq})
    many(s)


def empty_streams(s: Session) -> None:
    filled(s, count=0)
    for body in (b'{"seq":1}', b'{"last_by_subj":"d.1"}', b'{"next_by_subj":"d.1"}',
                 b'{"start_time":"2020-01-01T00:00:00Z"}'):
        get(s, body)
        s.api("STREAM.MSG.GET.D", body)
    for body in ({"batch": 2, "seq": 1}, {"batch": 2, "next_by_subj": ">"}, {"multi_last": ["d.*"]},
                 {"multi_last": ["d.*"], "up_to_seq": 3}, {"batch": 2, "start_time": "2020-01-01T00:00:00Z"},
                 {"multi_last": ["d.*"], "up_to_time": "2120-01-01T00:00:00Z"}):
        get(s, body)
    s.publish("d.1", b"x")
    s.api("STREAM.PURGE.D")
    for body in ({"batch": 2, "seq": 1}, {"multi_last": ["d.*"]}, {"seq": 1}, {"next_by_subj": ">"}):
        get(s, body)


def by_subject(s: Session) -> None:
    filled(s)
    for subject in ("d.1", "d.9", "d", "d.1.x", "*"):
        s.frame(subject, s.client.request(f"$JS.API.DIRECT.GET.D.{subject}"))
    for body in (b"{}", b"{", b"x", b'{"seq":1}', b'{"no_hdr":true}', b'{"last_by_subj":"d.2"}', b'{"batch":1}',
                 b"null",
                 b'{"multi_last":["d.1"]}', b'{"multi_last":[]}', b'{"max_bytes":1}', b'{"unknown":1}',
                 b'{"up_to_seq":1}',
                 b'{"seq":0}', b'{"start_time":"2020-01-01T00:00:00Z"}', b'{"up_to_time":"2020-01-01T00:00:00Z"}',
                 b" "):
        s.frame(f"d.1 {body!r}", s.client.request("$JS.API.DIRECT.GET.D.d.1", body))
    s.stream("W", subjects=["a.>"], allow_direct=True)
    s.publish("a.b.c.d", b"deep")
    s.frame("deep", s.client.request("$JS.API.DIRECT.GET.W.a.b.c.d"))


def direct_levels(s: Session) -> None:
    filled(s, count=2)
    for level in ("0", "5", "6", "x", "", "-1", " 5", "5 "):
        get(s, {"seq": 1}, headers={"Nats-Required-Api-Level": level})
        s.frame(level, s.client.request("$JS.API.DIRECT.GET.D.d.0", b"", {"Nats-Required-Api-Level": level}))


def direct_switch(s: Session) -> None:
    """`allow_direct` on and off, and no answer without a reply subject."""
    s.stream("S", subjects=["s"])
    s.publish("s", b"x")
    get(s, {"seq": 1}, "S")
    update(s, "S", subjects=["s"], allow_direct=True)
    get(s, {"seq": 1}, "S")
    s.client.publish("$JS.API.DIRECT.GET.S", b'{"seq":1}')
    update(s, "S", subjects=["s"], allow_direct=False)
    get(s, {"seq": 1}, "S")
    s.frames("nothing more", s.client.flush())


def direct_bodies(s: Session) -> None:
    """Headers and payloads as they were stored."""
    s.stream("H", subjects=["h.*"], allow_direct=True)
    for block in (b"NATS/1.0\r\n\r\n", b"NATS/1.0\r\nA: b\r\n\r\n", b"NATS/1.0\r\nA:b\r\nA: c\r\n\r\n",
                  b"NATS/1.0 200 OK\r\nA: b\r\n\r\n",
                  b"NATS/1.0\r\nNats-Sequence: 99\r\nNats-Stream: X\r\n\r\n",
                  b"NATS/1.0\r\n" + b"L: " + b"x" * 5000 + b"\r\n\r\n"):
        s.publish("h.a", b"\x00\xff", block)
    s.publish("h.b", b"x" * 100_000)
    s.publish("h.c", b"")
    for stream_seq in range(1, 9):
        get(s, {"seq": stream_seq}, "H")
        get(s, {"seq": stream_seq, "no_hdr": True}, "H")
        s.api("STREAM.MSG.GET.H", {"seq": stream_seq, "no_hdr": stream_seq % 2 == 0})
    get(s, {"batch": 20, "seq": 1}, "H")


def too_many_subjects(s: Session) -> None:
    s.stream("T", subjects=["t.*"], allow_direct=True)
    for number in range(1025):
        s.client.publish(f"t.{number}", b"")
    s.publish("t.0", b"")
    get(s, {"multi_last": ["t.*"]}, "T")
    get(s, {"multi_last": ["t.*"], "batch": 3}, "T")
    s.api("STREAM.PURGE.T", {"filter": "t.1"})
    get(s, {"multi_last": ["t.*"], "batch": 3}, "T")
    get(s, {"multi_last": ["t.*"], "up_to_seq": 5}, "T")
    get(s, {"multi_last": ["t.*", "t.5"], "batch": 2}, "T")


def long_batches(s: Session) -> None:
    """More than one turn's share of messages."""
    s.stream("L", subjects=["l.*"], allow_direct=True)
    for number in range(1500):
        s.client.publish(f"l.{number % 7}", b"x" * (number % 50))
    s.publish("l.0", b"")
    get(s, {"batch": 2000, "seq": 1}, "L")
    get(s, {"batch": 700, "next_by_subj": "l.3"}, "L")
