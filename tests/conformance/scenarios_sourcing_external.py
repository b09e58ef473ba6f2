"""Mirrors and sources whose origin is elsewhere: a client plays the other server, request by request."""

from __future__ import annotations

import json
import re
from typing import Any

from .compare import Session, show_payload
from .scenarios_sourcing import fill, kept, shown, until, until_last
from .scenarios_streams import update
from .wire_client import Frame, header_block

IDENTIFIED = re.compile(rb"(?<=Nats-Stream-Identity): [0-9A-Za-z]{8}")


def who_asks(s: Session) -> None:
    """What the account is told of the consumers that streams make for themselves."""
    s.stream("O", subjects=["o"])
    audits = s.client.subscribe("$JS.EVENT.ADVISORY.API")
    made = s.client.subscribe("$JS.EVENT.ADVISORY.CONSUMER.CREATED.O.*")
    for name, config in (("M", {"mirror": {"name": "O"}}), ("S", {"sources": [{"name": "O", "filter_subject": "o"}]})):
        s.stream(name, **config)
        frame = s.client.next_message(sid=made)
        consumer = frame.subject.rpartition(".")[2]
        s.hide(consumer.rpartition("-")[2], "<name>")
        s.frame("made", frame)
        audit: dict[str, Any] = {}
        while not audit.get("subject", "").startswith("$JS.API.CONSUMER.CREATE.O"):
            audit = json.loads(s.client.next_message(sid=audits).payload)
        s.hide(json.loads(audit["request"])["config"]["deliver_subject"], "<deliver>")
        s.note(f"AUDIT {show_payload(json.dumps(audit).encode())}")
    s.account()
    s.api("STREAM.LIST")


# --- the other end in another domain, to which the client passes requests on ---


def _asked(s: Session, sid: str) -> tuple[Frame, str]:
    """The next request for a consumer, recorded without what is of one run, and where its messages are to go."""
    frame = s.client.next_message(sid=sid)
    config = json.loads(frame.payload)["config"] if frame.payload else {}
    target = config.get("deliver_subject", "")
    if target:
        s.hide(target, target.rpartition(".")[0] + ".<random>")
    if "sourcing" not in config and "name" in config:
        s.hide(config["name"].rpartition("_")[2], "<name>")
    s.note(f"ASKED {frame.subject} {IDENTIFIED.sub(rb': <identity>', frame.headers)!r} {frame.payload!r}")
    return frame, target


def _pass_on(s: Session, frame: Frame) -> None:
    """The API of this server is that of the other domain too."""
    subject = frame.subject.replace("ext.API", "$JS.API")
    s.client.publish(subject, frame.payload, frame.reply, frame.headers or None)


def _refuse(s: Session, frame: Frame, code: int, err_code: int) -> None:
    error = {"code": code, "err_code": err_code, "description": "no"}
    s.client.publish(frame.reply, json.dumps({"type": "x", "error": error}).encode())


def _control(s: Session, deliver: str, line: str, reply: str = "", **headers: str) -> None:
    block = {key.replace("_", "-"): value for key, value in headers.items()}
    s.client.publish(deliver, b"", reply, header_block(block).replace(b"NATS/1.0", f"NATS/1.0 100 {line}".encode(), 1))


def external_mirror(s: Session) -> None:
    asked, flow = s.client.subscribe("ext.API.>"), s.client.subscribe("flow.>")
    s.stream("X", subjects=["f.*", "g"], first_seq=5)
    fill(s, "f.x", 1)
    fill(s, "g", 3)
    fill(s, "f.y", 1)
    s.stream("M", mirror={"name": "X", "external": {"api": "ext.API", "deliver": "in.from"}, "filter_subject": "f.*"})
    frame, deliver = _asked(s, asked)
    _pass_on(s, frame)
    until_last(s, "M", 9)
    kept(s, "M", times_of="X")
    _control(s, deliver, "FlowControl Request", "flow.1")
    s.frame("flow", s.client.next_message(sid=flow))
    _control(s, deliver, "Idle Heartbeat", Nats_Last_Consumer="2", Nats_Last_Stream="9", Nats_Consumer_Stalled="flow.2")
    s.frame("stalled", s.client.next_message(sid=flow))
    # One is missing: it asks again, behind what it has.
    _control(s, deliver, "Idle Heartbeat", Nats_Last_Consumer="3", Nats_Last_Stream="14")
    frame, deliver = _asked(s, asked)
    fill(s, "f.z", 2)
    _refuse(s, frame, 404, 10025)
    frame, deliver = _asked(s, asked)
    _pass_on(s, frame)
    until_last(s, "M", 11)
    kept(s, "M", times_of="X")
    update(s, "M", subjects=["m"])
    _asked(s, asked)
    shown(s, "M")


def external_source(s: Session) -> None:
    asked = s.client.subscribe("ext.API.>")
    s.stream("X", subjects=["x.>"])
    fill(s, "x.a", 5)
    origin = {"name": "X", "external": {"api": "ext.API", "deliver": ""}, "opt_start_seq": 3}
    renamed = [{"src": "x.>", "dest": "t.>"}, {"src": "y", "dest": "z"}]
    s.stream("S", sources=[{**origin, "subject_transforms": renamed}])
    frame, _ = _asked(s, asked)
    _refuse(s, frame, 412, 10185)
    frame, _ = _asked(s, asked)
    _refuse(s, frame, 400, 10025)
    frame, deliver = _asked(s, asked)
    _pass_on(s, frame)
    until_last(s, "S", 3)
    kept(s, "S")
    _control(s, deliver, "Idle Heartbeat", Nats_Last_Consumer="5", Nats_Last_Stream="9")
    frame, deliver = _asked(s, asked)
    fill(s, "x.a", 1)
    _pass_on(s, frame)
    until_last(s, "S", 4)
    _control(s, deliver, "Idle Heartbeat", Nats_Last_Consumer="5", Nats_Last_Stream="9")
    # Made anew at the other end: it begins again.
    frame, _ = _asked(s, asked)
    _refuse(s, frame, 400, 10225)
    frame, _ = _asked(s, asked)
    _pass_on(s, frame)
    until_last(s, "S", 7)
    kept(s, "S")
    shown(s, "S")
    s.api("STREAM.DELETE.S")
    _asked(s, asked)


def unusable_answers(s: Session) -> None:
    """What the other end says of the consumer cannot be understood, or says nothing of it."""
    asked = s.client.subscribe("ext.API.>")
    origin = {"name": "X", "external": {"api": "ext.API", "deliver": ""}}
    for name, config in (("M", {"mirror": origin}), ("S", {"sources": [origin]})):
        s.stream(name, **config)
        frame, _ = _asked(s, asked)
        s.client.publish(frame.reply, b"{}")
        until(s, name, lambda info: "error" in (info.get("mirror") or info["sources"][0]))
        shown(s, name)
        s.api(f"STREAM.DELETE.{name}")
        s.client.next_message(sid=asked)


def delivered_by_a_client(s: Session) -> None:
    """No client can bring what a consumer delivered: it may not publish with that reply, and nothing else counts."""
    asked = s.client.subscribe("ext.API.>")
    made = s.client.subscribe("$JS.EVENT.ADVISORY.CONSUMER.CREATED.X.*")
    s.stream("X", subjects=["x"])
    origin = {"name": "X", "external": {"api": "ext.API", "deliver": "in.from"}}
    for name, config in (("M", {"mirror": origin}), ("S", {"sources": [origin]})):
        s.stream(name, **config)
        frame, deliver = _asked(s, asked)
        _pass_on(s, frame)
        until(s, name, lambda info: (info.get("mirror") or info["sources"][0])["active"] >= 0)
        consumer = s.client.next_message(sid=made).subject.rpartition(".")[2]
        s.hide(consumer, "<consumer>")
        for reply in (f"$JS.ACK.X.{consumer}.1.1.1.1700000000000000000.0", f"JS.ACK.X.{consumer}.1.1.1.1.0", "re", ""):
            s.client.publish(deliver, b"x", reply)
            s.frames(f"brought with {reply}", s.client.flush())
        shown(s, name)
        s.api(f"STREAM.DELETE.{name}")
        s.client.next_message(sid=asked)
