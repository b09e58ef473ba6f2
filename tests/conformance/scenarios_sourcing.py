"""Mirrors and sources, as a client sees them: what is stored, what is shown, what is refused."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable
from typing import Any

from .compare import Session, show_payload
from .scenarios_streams import update

SECOND_NS = 1_000_000_000
PATIENCE_SECONDS = 60.0
IDENTITY = re.compile(r"(Nats-Stream-Source: [^\r]*>?) [0-9A-Za-z]{8}(\r\n)")
LONG_AGO = "2001-01-01T00:00:00Z"


def ask(s: Session, verb: str, body: Any = b"") -> Any:
    """An API request that is not part of the record."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return json.loads(s.client.request(f"$JS.API.{verb}", data).payload)


def until(s: Session, name: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Waits for the stream's info to be so. Raises TimeoutError (an OSError) when it does not become so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        info = ask(s, f"STREAM.INFO.{name}")
        if reached(info):
            return info
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} stays {info}")
        time.sleep(0.01)


def until_last(s: Session, name: str, last_seq: int) -> None:
    """Waits until the stream has come to a sequence, and shows it."""
    until(s, name, lambda info: info["state"]["last_seq"] >= last_seq)
    shown(s, name)


def shown(s: Session, name: str) -> None:
    """What of the stream's info does not depend on the moment."""
    info = ask(s, f"STREAM.INFO.{name}")
    s.note(f"INFO {name} of {list(info)}")
    for part in ("config", "state", "mirror", "sources"):
        rows = info.get(part)
        s.note(f"  {part} {show_payload(json.dumps(rows).encode())}")


def kept(
    s: Session, name: str, *, ordered: bool = True, times_of: str = "", at: Session | None = None
) -> None:
    """Every message of the stream. `ordered` False: several sources come in any order.

    `times_of`: the origin, whose times a mirror has; `at`: where that is, if not here.
    """
    state = ask(s, f"STREAM.INFO.{name}")["state"]
    rows = []
    for stream_seq in range(state["first_seq"], state["last_seq"] + 1):
        message = ask(s, f"STREAM.MSG.GET.{name}", {"seq": stream_seq}).get("message")
        if message is None:
            rows.append(f"{stream_seq} is not there")
            continue
        block = base64.b64decode(message.get("hdrs", "")).decode("latin-1")
        block = IDENTITY.sub(r"\1 <identity>\2", block)
        body = base64.b64decode(message.get("data", ""))
        row = f"{message['seq'] if ordered else '?'} {message['subject']} {block!r} {body[:60]!r}"
        if times_of:
            origin = ask(at or s, f"STREAM.MSG.GET.{times_of}", {"seq": stream_seq}).get("message", {})
            row += f" same time: {origin.get('time') in (None, message['time'])}"
        rows.append(row)
    s.note(f"{name} holds {rows if ordered else sorted(rows)}")


def fill(s: Session, subject: str, count: int, **headers: str) -> None:
    for number in range(count):
        s.publish(subject, b"%d" % number, {key.replace("_", "-"): value for key, value in headers.items()} or None)


# --- mirrors ---


def mirror(s: Session) -> None:
    s.stream("O", subjects=["o.>"], allow_msg_ttl=True, allow_rollup_hdrs=True, allow_atomic=True)
    fill(s, "o.a", 3)
    s.publish("o.b", b"x", {"Nats-Msg-Id": "one", "Nats-Expected-Last-Sequence": "3", "Nats-Expected-Stream": "O"})
    s.publish("o.b", b"x", {"Nats-Expected-Last-Subject-Sequence": "4"})
    s.publish("o.c", b"x", {"Nats-TTL": "1000s", "Kept": "yes", "Nats-Kept": "yes"})
    s.publish("o.c", b"", {"Nats-Batch-Id": "b", "Nats-Batch-Sequence": "1", "Nats-Batch-Commit": "1"})
    s.publish("o.d", b"", b"NATS/1.0 503\r\nA: b\r\n\r\n")
    s.api("STREAM.MSG.DELETE.O", {"seq": 2})
    s.stream("M", mirror={"name": "O"})
    until_last(s, "M", 8)
    kept(s, "M", times_of="O")
    s.api("STREAM.MSG.DELETE.O", {"seq": 4})
    s.publish("o.e", b"9")
    s.publish("o.f", b"10")
    s.api("STREAM.MSG.DELETE.M", {"seq": 1})
    s.api("STREAM.PURGE.O", {"filter": "o.a"})
    s.publish("o.a", b"11", {"Nats-Rollup": "all"})
    s.publish("o.g", b"12")
    until_last(s, "M", 12)
    kept(s, "M", times_of="O")
    shown(s, "O")
    s.api("CONSUMER.LIST.O")
    s.api("CONSUMER.NAMES.O")


def mirror_choices(s: Session) -> None:
    s.stream("O", subjects=["o.>"], first_seq=100)
    fill(s, "o.a", 3)
    fill(s, "o.b.c", 3)
    fill(s, "o.d", 2)
    moment = ask(s, "STREAM.MSG.GET.O", {"seq": 104})["message"]["time"]
    choices: list[tuple[dict[str, Any], dict[str, Any], int]] = [
        ({}, {}, 107), ({"filter_subject": "o.a"}, {}, 102), ({"filter_subject": "o.b.*"}, {}, 105),
        ({"filter_subject": "o.*"}, {}, 107), ({"opt_start_seq": 103}, {}, 107), ({"opt_start_seq": 1}, {}, 107),
        ({"opt_start_seq": 102, "filter_subject": "o.*"}, {}, 107), ({"opt_start_time": moment}, {}, 107),
        ({"opt_start_time": LONG_AGO}, {}, 107), ({"opt_start_seq": 106, "opt_start_time": LONG_AGO}, {}, 107),
        ({"opt_start_time": moment, "filter_subject": "o.b.>"}, {}, 105),
        ({"subject_transforms": [{"src": "o.*", "dest": "n.$1"}]}, {}, 107),
        ({"subject_transforms": [{"src": "o.a"}, {"src": "o.b.*", "dest": "b.{{wildcard(1)}}.x"}]}, {}, 105),
        ({}, {"subject_transform": {"src": "o.>", "dest": "p.>"}}, 107), ({}, {"max_msgs": 2}, 107),
        ({}, {"max_msgs_per_subject": 1}, 107), ({}, {"retention": "interest"}, 107), ({}, {"no_ack": True}, 107),
        ({}, {"deny_delete": True, "deny_purge": True}, 107), ({}, {"allow_direct": True}, 107),
    ]
    for number, (chosen, config, last_seq) in enumerate(choices):
        name = f"M{number}"
        s.stream(name, mirror={"name": "O", **chosen}, **config)
        until_last(s, name, last_seq)
        kept(s, name)
    s.publish("o.a", b"more")
    for name in ("M0", "M1", "M4", "M7", "M11", "M13"):
        until_last(s, name, 108)


def mirror_of_nothing(s: Session) -> None:
    s.stream("M", mirror={"name": "NONE"})
    until(s, "M", lambda info: "error" in info["mirror"])
    shown(s, "M")
    s.stream("EMPTY", subjects=["e"], first_seq=50)
    s.stream("M2", mirror={"name": "EMPTY"})
    until(s, "M2", lambda info: info["mirror"]["active"] >= 0 and info["state"]["last_seq"] == 49)
    shown(s, "M2")
    s.publish("e", b"x")
    until_last(s, "M2", 50)
    s.frame("a mirror listens to nobody", s.client.request("M2", b"x"), subject=False)
    s.api("STREAM.PURGE.M2")
    shown(s, "M2")
    s.publish("e", b"y")
    until_last(s, "M2", 51)


def mirror_rules(s: Session) -> None:
    s.stream("O", subjects=["o.>"], max_msg_size=1000)
    s.stream("D", subjects=["d.>"], allow_direct=True)
    origin = {"name": "O"}
    for config in (
        {"subjects": ["x"]}, {"sources": [origin]}, {"first_seq": 5}, {"allow_msg_counter": True},
        {"allow_atomic": True}, {"subject_delete_marker_ttl": SECOND_NS}, {"max_msg_size": 10}, {"max_msg_size": 2000},
        {"mirror_direct": True}, {"mirror_direct": True, "pedantic": True}, {"duplicate_window": SECOND_NS},
        {"first_seq": 5, "subjects": ["x"], "sources": [origin]}, {"max_age": SECOND_NS, "duplicate_window": 10**10},
        {"allow_msg_ttl": True}, {"allow_rollup_hdrs": True}, {"republish": {"src": ">", "dest": "r.>"}},
        {"allow_batched": True}, {"allow_msg_schedules": True}, {"allow_batched": True, "allow_msg_schedules": True},
    ):
        s.stream("M", mirror=origin, **config)
        ask(s, "STREAM.DELETE.M")
    for wanted in (
        {}, {"name": ""}, {"name": "a.b"}, {"name": "a b"}, {"name": "M"}, {"name": "D"}, {"name": "O", "x": 1},
        {**origin, "filter_subject": "a..b"}, {**origin, "filter_subject": ">", "subject_transforms": [{"src": "o.*"}]},
        {**origin, "subject_transforms": [{"src": "a..b", "dest": "x"}]},
        {**origin, "subject_transforms": [{"src": "o.*", "dest": "x.$2"}]},
        {**origin, "subject_transforms": [{"src": "o.*", "dest": "x.>"}]},
        {**origin, "subject_transforms": [{"src": "o.*", "dest": "x"}, {"src": "o.a", "dest": "y"}]},
        {**origin, "subject_transforms": [{"src": "", "dest": ""}]},
        {**origin, "opt_start_time": "soon"}, {**origin, "opt_start_seq": -1},
        {**origin, "consumer": {"name": "a.b", "deliver_subject": "d"}},
        {**origin, "consumer": {"name": "C", "deliver_subject": "d.*"}},
        {**origin, "consumer": {"name": "C", "deliver_subject": ""}},
        {**origin, "consumer": {"name": "C", "deliver_subject": "dd"}, "opt_start_seq": 3},
        {**origin, "consumer": {"name": "C", "deliver_subject": "dd"}, "filter_subject": "o.a"},
        {**origin, "external": {"api": "$JS.API"}}, {**origin, "external": {"api": "a.*", "deliver": ""}},
        {**origin, "external": {"api": "ext", "deliver": "a.>"}}, {**origin, "external": {"api": "a b", "deliver": ""}},
        {**origin, "external": {"api": "$JS.x.API", "deliver": ""}}, {"name": "", "external": {"api": "ext.API"}},
    ):
        answer = s.stream("M", mirror=wanted)
        if "error" not in answer:
            ask(s, "STREAM.DELETE.M")


def mirror_updates(s: Session) -> None:
    s.stream("O", subjects=["o.>"])
    fill(s, "o.a", 3)
    s.stream("M", mirror={"name": "O"})
    until_last(s, "M", 3)
    s.stream("M", mirror={"name": "O"})
    s.stream("M", mirror={"name": "O", "filter_subject": "o.a"})
    update(s, "M", mirror={"name": "O"}, max_msgs=2)
    update(s, "M", mirror={"name": "O", "filter_subject": "o.*"})
    update(s, "M", mirror={"name": "X"})
    update(s, "M", mirror={"name": "O"}, subjects=["m"])
    shown(s, "M")
    update(s, "O", subjects=["o.>"], mirror={"name": "X"})
    update(s, "O", subjects=[], mirror={"name": "X"})
    update(s, "O", subjects=["o.>"], allow_direct=True)
    update(s, "M", mirror={"name": "O"}, max_msgs=5)
    s.publish("o.b", b"4")
    until_last(s, "M", 4)
    # It becomes a stream of its own, which goes on counting.
    update(s, "M", subjects=["m.>"])
    shown(s, "M")
    s.publish("m.1", b"5")
    s.publish("o.c", b"not for M")
    s.publish("m.1", b"6", {"Nats-Msg-Id": "x"})
    s.publish("m.1", b"6", {"Nats-Msg-Id": "x"})
    kept(s, "M")
    update(s, "M", mirror={"name": "O"})
    s.api("STREAM.DELETE.O")
    shown(s, "M")


def mirror_direct(s: Session) -> None:
    s.stream("O", subjects=["o.>"], allow_direct=True)
    fill(s, "o.a", 3)
    s.stream("M", mirror={"name": "O"})
    until_last(s, "M", 3)

    def answers(subject: str, body: bytes) -> None:
        heard: set[bytes] = set()
        while len(heard) < 2:
            frame = s.client.request(subject, body)
            heard.add(frame.headers)
        for block in sorted(heard):
            s.note(f"{subject} {body!r} -> {block!r}")

    answers("$JS.API.DIRECT.GET.O", b'{"seq":2}')
    answers("$JS.API.DIRECT.GET.O.o.a", b"")
    answers("$JS.API.DIRECT.GET.O", b'{"last_by_subj":"o.*"}')
    s.frame("not its own", s.client.request("$JS.API.DIRECT.GET.M", b'{"seq":2}'), subject=False)
    update(s, "M", mirror={"name": "O"}, allow_direct=True)
    s.frame("its own", s.client.request("$JS.API.DIRECT.GET.M.o.a", b""), subject=False)
    s.api("STREAM.DELETE.O")
    s.frame("the mirror alone", s.client.request("$JS.API.DIRECT.GET.O", b'{"seq":2}'), subject=False)
    s.api("STREAM.DELETE.M")
    s.frame("nobody", s.client.request("$JS.API.DIRECT.GET.O", b'{"seq":2}'), subject=False)


def mirror_ages(s: Session) -> None:
    s.stream("O", subjects=["o.>"], allow_msg_ttl=True)
    s.publish("o.a", b"short", {"Nats-TTL": "2s"})
    s.publish("o.a", b"long", {"Nats-TTL": "1000s"})
    s.publish("o.a", b"for ever", {"Nats-TTL": "never"})
    s.stream("T", mirror={"name": "O"}, allow_msg_ttl=True)
    s.stream("P", mirror={"name": "O"})
    s.stream("A", mirror={"name": "O"}, max_age=2 * SECOND_NS)
    s.stream("S", sources=[{"name": "O"}], allow_msg_ttl=True, subject_delete_marker_ttl=1000 * SECOND_NS)
    for name in ("T", "P", "A", "S"):
        until(s, name, lambda info: info["state"]["last_seq"] == 3)
    until(s, "T", lambda info: info["state"]["messages"] == 2)
    kept(s, "T")
    kept(s, "P")
    until(s, "A", lambda info: info["state"]["messages"] < 2)
    kept(s, "A")
    kept(s, "S")


# --- sources ---


def sources(s: Session) -> None:
    s.stream("A", subjects=["a.>"], allow_rollup_hdrs=True)
    s.stream("B", subjects=["b.>"])
    fill(s, "a.x", 2)
    s.publish("a.y", b"y", {"Nats-Msg-Id": "one", "Nats-Expected-Last-Sequence": "2", "K": "v"})
    fill(s, "b.z", 2)
    s.stream("S", sources=[{"name": "A"}])
    until_last(s, "S", 3)
    kept(s, "S")
    s.stream("T", subjects=["t"], sources=[{"name": "A"}, {"name": "B"}])
    until_last(s, "T", 5)
    kept(s, "T", ordered=False)
    s.publish("t", b"own")
    s.publish("t", b"forged", {"Nats-Stream-Source": "A 1 > > a.x"})
    s.publish("a.x", b"rolled", {"Nats-Rollup": "sub"})
    until_last(s, "T", 7)
    s.api("STREAM.MSG.DELETE.S", {"seq": 1})
    until_last(s, "S", 4)
    kept(s, "S")
    s.stream("C", sources=[{"name": "S"}])
    until_last(s, "C", 3)
    kept(s, "C")
    s.api("CONSUMER.LIST.A")


def source_choices(s: Session) -> None:
    s.stream("O", subjects=["o.>"])
    fill(s, "o.a", 3)
    fill(s, "o.b.c", 3)
    fill(s, "o.d", 2)
    s.api("STREAM.MSG.DELETE.O", {"seq": 2})
    moment = ask(s, "STREAM.MSG.GET.O", {"seq": 5})["message"]["time"]
    choices: list[tuple[dict[str, Any], dict[str, Any], int]] = [
        ({"filter_subject": "o.a"}, {}, 2), ({"filter_subject": "o.b.*"}, {}, 3), ({"opt_start_seq": 4}, {}, 5),
        ({"opt_start_time": moment}, {}, 4), ({"opt_start_time": LONG_AGO}, {}, 7), ({}, {"first_seq": 1000}, 1006),
        ({"subject_transforms": [{"src": "o.*", "dest": "n.$1"}]}, {}, 4),
        ({"subject_transforms": [{"src": "o.a", "dest": ""}, {"src": "o.b.*", "dest": "b.{{wildcard(1)}}.x"}]}, {}, 5),
        ({"subject_transforms": [{"src": "o.b.*", "dest": "{{split(1,-)}}"}]}, {}, 3),
        ({}, {"subject_transform": {"src": "o.>", "dest": "p.>"}}, 7), ({}, {"max_msgs": 2}, 7),
        ({}, {"max_msgs_per_subject": 1}, 7), ({}, {"retention": "workqueue"}, 7), ({}, {"no_ack": True}, 7),
        ({}, {"retention": "interest"}, 7), ({}, {"allow_msg_ttl": True}, 7), ({}, {"allow_rollup_hdrs": True}, 7),
        ({}, {"allow_atomic": True}, 7),
    ]
    for number, (chosen, config, last_seq) in enumerate(choices):
        name = f"S{number}"
        s.stream(name, sources=[{"name": "O", **chosen}], **config)
        until_last(s, name, last_seq)
        kept(s, name)


def sources_of_one_stream(s: Session) -> None:
    s.stream("O", subjects=["o.>"])
    fill(s, "o.a", 2)
    fill(s, "o.b", 2)
    fill(s, "o.c", 2)
    s.stream("S", sources=[
        {"name": "O", "filter_subject": "o.a"}, {"name": "O", "filter_subject": "o.b"},
        {"name": "O", "subject_transforms": [{"src": "o.*", "dest": "t.$1"}]},
        {"name": "O", "subject_transforms": [{"src": "o.a", "dest": "u.a"}, {"src": "o.c", "dest": "u.c"}]},
    ])
    until_last(s, "S", 14)
    kept(s, "S", ordered=False)
    s.publish("o.b", b"more")
    until_last(s, "S", 16)
    kept(s, "S", ordered=False)


def source_rules(s: Session) -> None:
    s.stream("O", subjects=["o.>"], max_msg_size=1000)
    s.stream("P", subjects=["p.>"])
    s.stream("X", subjects=["x.>"], sources=[{"name": "P"}])
    origin = {"name": "O"}
    for wanted in (
        [{}], [{"name": ""}], [{"name": "a.b"}], [origin, origin], [origin, {**origin, "filter_subject": ">"}],
        [origin, {**origin, "opt_start_seq": 5}], [origin, {**origin, "external": {"api": "ext", "deliver": ""}}],
        [{**origin, "filter_subject": "o.a"}, {**origin, "filter_subject": "o.*"}], [{"name": "S"}],
        [{"name": "S", "filter_subject": "other"}], [{"name": "S", "filter_subject": "s.a"}],
        [{**origin, "filter_subject": ">", "subject_transforms": [{"src": "o.*", "dest": "x"}]}],
        [{**origin, "subject_transforms": [{"src": "a..b", "dest": "x"}]}],
        [{**origin, "subject_transforms": [{"src": "o.*", "dest": "x.$2"}]}],
        [{**origin, "subject_transforms": [{"src": "o.*", "dest": "x"}, {"src": "o.a", "dest": "y"}]}],
        [{**origin, "subject_transforms": [{"src": "o.a", "dest": "x"}, {"src": "o.*", "dest": "y"}]}],
        [{**origin, "subject_transforms": [{"src": "o.*.a", "dest": "x"}, {"src": "o.b.*", "dest": "y"}]}],
        [{**origin, "consumer": {"name": "C", "deliver_subject": "*"}}],
        [{**origin, "consumer": {"name": "C", "deliver_subject": "dd"}, "opt_start_time": LONG_AGO}],
        [{**origin, "consumer": {"name": "C", "deliver_subject": "d1"}},
         {**origin, "consumer": {"name": "C", "deliver_subject": "d2"}}],
        [{**origin, "consumer": {"name": "C", "deliver_subject": "d1"}, "subject_transforms": [{"src": "o.a"}]},
         {**origin, "consumer": {"name": "C", "deliver_subject": "d2"}}],
        [{"name": "P", "external": {"api": "ext.API", "deliver": "p"}}, {"name": "P"}],
        [{"name": "P", "external": {"api": "$JS.API", "deliver": ""}}],
        [{"name": "P", "external": {"api": "e*"}}], [{"name": "P", "external": {"api": "*", "deliver": ""}}],
        [{"name": "P", "external": {"api": "ext", "deliver": "*"}}], None,
    ):
        answer = s.stream("S", subjects=["s.>"], sources=wanted)
        if "error" not in answer:
            ask(s, "STREAM.DELETE.S")
    for config in ({"max_msg_size": 10}, {"first_seq": 7}, {"mirror_direct": True}, {"allow_msg_counter": True},
                   {"allow_batched": True}, {"allow_msg_schedules": True},
                   {"duplicate_window": SECOND_NS}, {"max_age": SECOND_NS}, {"discard": "new", "max_msgs": 5},
                   {"sealed": True}, {"subject_delete_marker_ttl": SECOND_NS}):
        s.stream("S", sources=[origin], **config)
        ask(s, "STREAM.DELETE.S")
    update(s, "P", subjects=["p.>"], sources=[{"name": "X"}])
    update(s, "P", subjects=["p.>"], sources=[{"name": "X", "filter_subject": "y"}])
    s.stream("M", mirror={"name": "X"})
    update(s, "P", subjects=["p.>"], sources=[{"name": "M"}])
    s.stream("N", mirror={"name": "N"})


def source_updates(s: Session) -> None:
    s.stream("A", subjects=["a.>"])
    s.stream("B", subjects=["b.>"])
    fill(s, "a.x", 2)
    fill(s, "b.x", 2)
    s.stream("S", sources=[{"name": "A"}])
    until_last(s, "S", 2)
    s.stream("S", sources=[{"name": "A"}])
    s.stream("S", sources=[{"name": "B"}])
    update(s, "S", sources=[{"name": "A"}, {"name": "B"}])
    until_last(s, "S", 4)
    kept(s, "S")
    fill(s, "a.y", 1)
    until_last(s, "S", 5)
    update(s, "S", sources=[{"name": "B"}])
    fill(s, "a.z", 2)
    fill(s, "b.z", 1)
    until_last(s, "S", 6)
    # It is found again where it was.
    update(s, "S", sources=[{"name": "B"}, {"name": "A"}])
    until_last(s, "S", 8)
    kept(s, "S")
    update(s, "S", subjects=["s"], sources=[{"name": "B"}, {"name": "A", "filter_subject": "a.x"}])
    until_last(s, "S", 10)
    kept(s, "S")
    update(s, "S", subjects=["s"])
    shown(s, "S")
    fill(s, "a.x", 1)
    s.publish("s", b"own")
    kept(s, "S")


def source_duplicates(s: Session) -> None:
    s.stream("A", subjects=["a.>"])
    s.stream("B", subjects=["b.>"])
    for number in range(3):
        s.publish("a.x", b"%d" % number, {"Nats-Msg-Id": f"id{number}"})
    s.stream("S", subjects=["s"], sources=[{"name": "A"}], duplicate_window=100 * SECOND_NS)
    until_last(s, "S", 3)
    update(s, "S", subjects=["s"], sources=[{"name": "A"}, {"name": "B"}], duplicate_window=100 * SECOND_NS)
    for number in range(1, 5):
        s.publish("b.x", b"%d" % number, {"Nats-Msg-Id": f"id{number}"})
    until_last(s, "S", 5)
    s.publish("s", b"own", {"Nats-Msg-Id": "id4"})
    s.publish("s", b"own", {"Nats-Msg-Id": "id5"})
    kept(s, "S")
    s.stream("M", mirror={"name": "S"}, duplicate_window=100 * SECOND_NS)
    until_last(s, "M", 6)


def source_into_full(s: Session) -> None:
    s.stream("A", subjects=["a.>"])
    fill(s, "a.x", 4)
    s.stream("S", sources=[{"name": "A"}], discard="new", max_msgs=2)
    until_last(s, "S", 2)
    s.api("STREAM.MSG.DELETE.S", {"seq": 1})
    until_last(s, "S", 3)
    s.api("STREAM.PURGE.S")
    until_last(s, "S", 4)
    kept(s, "S")


def source_from_work_queue(s: Session) -> None:
    s.stream("W", subjects=["w.>"], retention="workqueue")
    fill(s, "w.x", 3)
    s.stream("S", sources=[{"name": "W"}])
    until_last(s, "S", 3)
    until(s, "W", lambda info: info["state"]["messages"] == 0)
    s.publish("w.x", b"more")
    until_last(s, "S", 4)
    until(s, "W", lambda info: info["state"]["messages"] == 0)
    shown(s, "W")
    consumers = ask(s, "CONSUMER.LIST.W")["consumers"]
    s.hide(consumers[0]["config"]["deliver_subject"], "<deliver>")
    s.api("CONSUMER.LIST.W")
    kept(s, "S")
    s.stream("I", subjects=["i.>"], retention="interest")
    fill(s, "i.x", 1)
    s.stream("T", mirror={"name": "I"})
    until(s, "T", lambda info: info["mirror"]["active"] >= 0)
    fill(s, "i.x", 2)
    until_last(s, "T", 3)
    until(s, "I", lambda info: info["state"]["messages"] == 0)
    s.api("STREAM.DELETE.T")


def source_with_consumer(s: Session) -> None:
    s.stream("W", subjects=["w.>"], retention="workqueue")
    fill(s, "w.x", 3)
    flow = {"ack_policy": "flow_control", "flow_control": True, "idle_heartbeat": SECOND_NS}
    s.consumer("W", "C", deliver_subject="in.c", **flow)
    s.stream("S", sources=[{"name": "W", "consumer": {"name": "C", "deliver_subject": "in.c"}}])
    until_last(s, "S", 3)
    until(s, "W", lambda info: info["state"]["messages"] == 0)
    kept(s, "S")
    s.stream("L", subjects=["l.>"])
    fill(s, "l.x", 2)
    s.consumer("L", "E", deliver_subject="in.e", ack_policy="explicit")
    s.stream("M", mirror={"name": "L", "consumer": {"name": "E", "deliver_subject": "in.e"}})
    until(s, "M", lambda info: "error" in info["mirror"])
    shown(s, "M")
    s.stream("T", sources=[{"name": "L", "consumer": {"name": "E", "deliver_subject": "in.e"}}])
    until(s, "T", lambda info: "error" in info["sources"][0])
    shown(s, "T")


def counter_sources(s: Session) -> None:
    s.stream("A", subjects=["c.a.*"], allow_msg_counter=True)
    s.stream("B", subjects=["c.b.*"], allow_msg_counter=True)
    for step in ("1", "+5", "-3"):
        s.publish("c.a.x", b"", {"Nats-Incr": step})
        s.publish("c.b.x", b"", {"Nats-Incr": step})
    from_a = {"name": "A", "subject_transforms": [{"src": "c.a.*", "dest": "t.$1"}]}
    from_b = {"name": "B", "subject_transforms": [{"src": "c.b.*", "dest": "t.$1"}]}
    s.stream("T", sources=[from_a], allow_msg_counter=True)
    until_last(s, "T", 3)
    kept(s, "T")
    update(s, "T", sources=[from_a, from_b], allow_msg_counter=True)
    until_last(s, "T", 6)
    kept(s, "T")
    s.publish("c.a.x", b"", {"Nats-Incr": "100"})
    until_last(s, "T", 7)
    s.api("STREAM.PURGE.A")
    s.publish("c.a.x", b"", {"Nats-Incr": "1"})
    until_last(s, "T", 8)
    kept(s, "T")
    s.stream("PLAIN", sources=[{"name": "A"}])
    until_last(s, "PLAIN", 1)
    kept(s, "PLAIN")
    s.stream("M", mirror={"name": "T"})
    until_last(s, "M", 8)
    kept(s, "M")


# --- what happens to the servers and to the origins ---


def killed(s: Session) -> None:
    """Both ends die and go on where they were."""
    s.stream("O", subjects=["o.>"])
    fill(s, "o.a", 3)
    fill(s, "o.b", 3)
    s.stream("M", mirror={"name": "O", "filter_subject": "o.a"})
    s.stream("S", sources=[
        {"name": "O", "filter_subject": "o.b"}, {"name": "O", "subject_transforms": [{"src": "o.*", "dest": "t.$1"}]},
    ])
    s.stream("P", sources=[{"name": "O"}], subject_transform={"src": "o.*", "dest": "p.$1"})
    s.stream("E", sources=[{"name": "O"}])
    for name, last_seq in (("M", 3), ("S", 9), ("P", 6), ("E", 6)):
        until(s, name, lambda info, last_seq=last_seq: info["state"]["last_seq"] == last_seq)
    s.target.restart(kill=True)
    s.client.close()
    s.client = s.target.connect()
    fill(s, "o.a", 1)
    fill(s, "o.b", 1)
    for name, last_seq in (("M", 7), ("S", 12), ("P", 8), ("E", 8)):
        until_last(s, name, last_seq)
        kept(s, name, ordered=name != "S")


def origin_made_anew(s: Session) -> None:
    """A source notices that its origin is another one and begins at its first message; a mirror does not."""
    s.stream("O", subjects=["o"])
    fill(s, "o", 3)
    s.stream("S", sources=[{"name": "O"}])
    s.stream("M", mirror={"name": "O"})
    until_last(s, "S", 3)
    until_last(s, "M", 3)
    s.api("STREAM.DELETE.O")
    s.stream("O", subjects=["o"])
    fill(s, "o", 2)
    until_last(s, "S", 5)
    kept(s, "S")
    fill(s, "o", 3)
    until_last(s, "M", 5)
    kept(s, "M")
