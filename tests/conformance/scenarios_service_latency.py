"""How long imported services take: what both servers tell of it, for every way in which a request can end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from .core_target import Settings
from .raw import CoreRecord, Raw
from .scenarios_message_trace import hpub, person, with_block
from .scenarios_permissions import pub

CONFIG = """
jetstream { store_dir: "STORE" }
accounts {
  EXP {
    jetstream: enabled
    users: [ { user: exp, pass: x } ]
    exports: [
      { service: all, latency: "lat.all" }
      { service: "some.*", latency: { sampling: "100%", subject: "lat.some" } }
      { service: traced, latency: { sampling: headers, subject: "lat.traced" } }
      { service: slow, threshold: "50ms", latency: { sampling: 100, subject: "lat.slow" } }
      { service: "$JS.API.INFO", latency: "lat.api" }
      { service: unmeasured }
    ]
  }
  IMP {
    users: [ { user: imp, pass: x } ]
    imports: [
      { service: { account: EXP, subject: all } }
      { service: { account: EXP, subject: "some.*" }, to: "others.*", share: true }
      { service: { account: EXP, subject: traced } }
      { service: { account: EXP, subject: slow } }
      { service: { account: EXP, subject: unmeasured } }
      { service: { account: EXP, subject: "$JS.API.INFO" } }
    ]
    exports: [ { service: all, latency: { subject: "lat.far" } } ]
  }
  THIRD {
    users: [ { user: third, pass: x } ]
    imports: [ { service: { account: IMP, subject: all }, to: far, share: true } ]
  }
}
"""
MEASURED: Settings = {"config": CONFIG}
RELOADED: Settings = {"config": f"server_name: conformance\n{CONFIG}"}
NUMBERS = ("service", "system", "total")


class Ear:
    """Hears what is told in one account."""

    def __init__(self, s: CoreRecord, name: str = "exp") -> None:
        self.record = s
        self.raw = person(s, name)
        self.raw.until_pong_of(b"SUB lat.> 1\r\n")

    def next(self, label: str) -> None:
        """Records the next event."""
        subject, head, body = self.raw.message()
        self.record.note(f"{label}: {subject} {head!r} {json.dumps(shown(json.loads(body)))}")


def shown(event: dict[str, Any]) -> dict[str, Any]:
    """Without what one run only has."""
    assert re.fullmatch(r"\w{22}", event["id"])
    status = event["status"]
    assert all(event[name] >= 0 for name in NUMBERS)
    assert event["total"] >= event["service"]
    for name in ("id", "timestamp", "start"):
        event[name] = f"<{name}>"
    for name in NUMBERS:
        event[name] = "<ns>" if status == 200 else event[name]
    for name in ("requestor", "responder"):
        if name in event:
            event[name].pop("rtt", None)
            event[name] = {key: f"<{key}>" if key in ("start", "id", "server") else value
                           for key, value in event[name].items()}  # fmt: skip
    return event


def asked(exp: Raw) -> bytes:
    """Where the request that came last is to be answered."""
    line = exp.until_pong_of(b"")[-1].split(b"\r\n", 1)[0]
    return line.split()[3]


def answered(s: CoreRecord) -> None:
    ear, exp = Ear(s), person(s, "exp")
    exp.until_pong_of(b"SUB all 1\r\nSUB some.* 2\r\nSUB traced 3\r\nSUB unmeasured 4\r\n")
    imp = person(s, "imp", lang="py", version="1.2")
    imp.until_pong_of(b"SUB inbox.* 1\r\n")
    for subject in (b"all", b"others.x"):
        imp.until_pong_of(pub(subject, b"inbox.a", b"question"))
        reply = asked(exp)
        s.say(exp, pub(reply, b"", b"answer") * 2, label="answered twice")
        ear.next(subject.decode())
        s.heard_so_far(imp)
    for subject in (b"unmeasured", b"traced"):
        imp.until_pong_of(pub(subject, b"inbox.a", b"question"))
        exp.until_pong_of(pub(asked(exp), b"", b"answer"))
        s.heard_so_far(imp)
    imp.until_pong_of(pub(b"all", b"inbox.a"))
    exp.until_pong_of(pub(asked(exp), b"elsewhere", b""))
    ear.next("the next one that is told, of an empty answer with a reply")


def through_two_accounts(s: CoreRecord) -> None:
    ear, between, exp = Ear(s), Ear(s, "imp"), person(s, "exp")
    exp.until_pong_of(b"SUB all 1\r\n")
    third = person(s, "third")
    third.until_pong_of(b"SUB inbox 1\r\n" + pub(b"far", b"inbox"))
    exp.until_pong_of(pub(asked(exp), b"", b"answer"))
    ear.next("there")
    between.next("between")
    s.heard_so_far(third)


def without_a_reply(s: CoreRecord) -> None:
    ear, exp = Ear(s), person(s, "exp")
    exp.until_pong_of(b"SUB all 1\r\n")
    imp = person(s, "imp")
    for subject in (b"all", b"others.y"):
        imp.until_pong_of(pub(subject))
        ear.next(subject.decode())
    s.note(f"{len(exp.until_pong_of(b''))} requests")


def nobody_serves(s: CoreRecord) -> None:
    ear, imp = Ear(s), person(s, "imp")
    imp.until_pong_of(b"SUB inbox 1\r\n")
    for subject in (b"all", b"others.y"):
        s.say(imp, pub(subject, b"inbox"))
        ear.next(subject.decode())


def nobody_answers(s: CoreRecord) -> None:
    ear, exp, imp = Ear(s), person(s, "exp"), person(s, "imp")
    exp.until_pong_of(b"SUB slow 1\r\n")
    imp.until_pong_of(b"SUB inbox 1\r\n" + pub(b"slow", b"inbox"))
    reply = asked(exp)
    ear.next("too late")
    s.say(exp, pub(reply, b"", b"answer"), label="answer")
    s.heard_so_far(imp)


def who_asked_is_gone(s: CoreRecord) -> None:
    ear, exp = Ear(s), person(s, "exp")
    exp.until_pong_of(b"SUB some.* 1\r\n")
    for subs, gone in (
        (b"SUB inbox.a 1\r\n", b"UNSUB 1\r\n"), (b"SUB inbox.* 1\r\n", b"UNSUB 1\r\n"), (b"SUB inbox.a 1\r\n", b""),
        (b"SUB > 1\r\n", b""), (b"SUB inbox.a q 1\r\n", b"UNSUB 1\r\n"),
    ):  # fmt: skip
        imp = person(s, "imp")
        imp.until_pong_of(subs + pub(b"others.x", b"inbox.a"))
        reply = asked(exp)
        if gone:
            imp.until_pong_of(gone)
        else:
            imp.close()
        ear.next(f"{subs!r} {gone!r}")
        exp.until_pong_of(pub(reply, b"", b"nobody hears this answer, and it is not told"))
        imp.close()


def nobody_ever_listened(s: CoreRecord) -> None:
    ear, exp, imp = Ear(s), person(s, "exp"), person(s, "imp")
    exp.until_pong_of(b"SUB some.* 1\r\n")
    imp.until_pong_of(b"SUB other 1\r\n" + pub(b"others.x", b"inbox.a") + b"UNSUB 1\r\n")
    exp.until_pong_of(pub(asked(exp), b"", b"answer"))
    ear.next("answered all the same")


def asked_by_a_consumer(s: CoreRecord) -> None:
    """A reply that is an acknowledgement's is not rewritten, and not measured."""
    ear, exp, imp = Ear(s), person(s, "exp"), person(s, "imp")
    exp.until_pong_of(b"SUB all 1\r\n")
    imp.until_pong_of(pub(b"all", b"$JS.ACK.S.c.1.1.1.1.0") + pub(b"all"))
    first = exp.until_pong_of(b"")[0].split()[3]       # a length, which has that of a round trip's digits in it
    s.note("no reply" if first.isdigit() else f"{first!r}")
    ear.next("the one behind it")


def the_server_answers(s: CoreRecord) -> None:
    ear, imp = Ear(s), person(s, "imp")
    imp.until_pong_of(b"SUB inbox 1\r\n")
    imp.send(pub(b"$JS.API.INFO", b"inbox"))
    s.note(f"{json.loads(imp.message().body)['type']}")
    imp.until_pong_of(pub(b"all"))
    ear.next("the one behind it")


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"
SAMPLED = (
    ("Uber-Trace-Id: 479fefe9525eddb:5adb976bfc1f95c1:479fefe9525eddb:1",),
    ("uber-trace-id: a:b:c:03", "uberctx-one: 1", "UBERCTX-TWO:2", "Other: x"),
    ("Uber-Trace-Id: a:b:c:f1",), ("X-B3-Sampled: 1",),
    ("X-B3-Sampled: 1", "X-B3-TraceId: t", "X-B3-ParentSpanId: p", "X-B3-SpanId: s", "X-B3-Flags: 1"),
    ("X-B3-TraceId: t",), ("X-B3-TraceId: t", "X-B3-TraceId: u", "A: b"), ("x-b3-traceid: t",),
    ("X-B3-Sampled: yes", "X-B3-TraceId: t"), ("B3: t-s-1-p",), ("b3: t-s",), ("B3: 1",), ("B3: t-s-d",),
    (f"traceparent: {TRACE}-01",), (f"Traceparent: {TRACE}-03", "Tracestate: a=b", "tracestate: c=d"),
    ("TRACEPARENT:a-b-c-7f",), (f"traceparent: {TRACE}-01", "", "X-B3-Sampled: 0"),
    ("X-B3-Sampled: 1", f"traceparent: {TRACE}-00"), (f"traceparent:\t {TRACE}-01 \t",),
    (f"traceparent: {TRACE}-01", "Empty:"), (f"traceparent: {TRACE}-01", "B: \u00e9"),
    ("B3: a", " more"),
)  # fmt: skip
UNSAMPLED = (
    ("Uber-Trace-Id: a:b:c:0",), ("Uber-Trace-Id: a:b:c:2", "X-B3-Sampled: 1"), ("Uber-Trace-Id: a:b:c",),
    ("Uber-Trace-Id: a:b:c:",), ("Uber-Trace-Id: a:b:c:001",), ("Uber-Trace-Id: a:b:c:x",), ("X-B3-Sampled: 0",),
    ("X-B3-Sampled: 0", "X-B3-TraceId: t"), ("B3: 0",), ("B3: t-s-0",), ("B3: t-s-0-p", f"traceparent: {TRACE}-01"),
    (f"traceparent: {TRACE}-00",), (f"traceparent: {TRACE}-1",), ("traceparent: a-b-01",), ("traceparent: a-b-c-ff",),
    ("A: b",), ("X-B3-SpanId: s",), (f"traceparent : {TRACE}-01",), (f"traceparent: {TRACE}-01", "no colon"),
    (f"traceparent: {TRACE}-01", ": no name"), (f"traceparent: {TRACE}-01", "B: \x01"),
    (f" traceparent: {TRACE}-01",), ("", f"traceparent: {TRACE}-01"),
)  # fmt: skip


def by_headers(s: CoreRecord) -> None:
    ear, imp = Ear(s), person(s, "imp")
    for lines in SAMPLED:
        imp.until_pong_of(hpub("traced", *lines))
        ear.next(str(lines))
    head = b"NATS/1.0 100 x\r\nX-B3-Sampled: 1\n\n"
    imp.until_pong_of(with_block("traced", head))
    ear.next(repr(head))


def by_none_of_the_headers(s: CoreRecord) -> None:
    ear, imp = Ear(s), person(s, "imp")
    imp.until_pong_of(pub(b"traced"))
    for lines in UNSAMPLED:
        imp.until_pong_of(hpub("traced", *lines))
        imp.until_pong_of(pub(b"all"))
        ear.next(f"behind {lines}")
    imp.until_pong_of(with_block("traced", b"NATS/1.0\r\nX-B3-Sampled: 1\r\n"))
    imp.until_pong_of(pub(b"all"))
    ear.next("behind a block without an end")


def what_started_it_is_told_at_the_end(s: CoreRecord) -> None:
    ear, exp, imp = Ear(s), person(s, "exp"), person(s, "imp")
    imp.until_pong_of(b"SUB inbox 1\r\n" + hpub("traced", "B3: t-s-1", reply="inbox"))
    ear.next("nobody serves")
    exp.until_pong_of(b"SUB traced 1\r\n")
    imp.until_pong_of(hpub("traced", "B3: t-s-1", reply="inbox"))
    exp.until_pong_of(hpub(asked(exp).decode(), "B3: other-s-1", body=b"answer"))
    ear.next("answered")


def told_otherwise_after_a_reload(s: CoreRecord) -> None:
    ear, imp = Ear(s), person(s, "imp")
    config = RELOADED["config"]
    s.target.reload({"config": config.replace('latency: "lat.all"', 'latency: "lat.new"')})
    try:
        imp.until_pong_of(pub(b"all"))
        ear.next("to another subject")
        s.target.reload({"config": config.replace(", latency: \"lat.all\"", "")})
        imp.until_pong_of(pub(b"all") + pub(b"others.x"))
        ear.next("not any more; the next one")
    finally:
        s.target.reload(RELOADED)
    imp.until_pong_of(pub(b"all"))
    ear.next("as it was")


SCENARIOS: list[tuple[Settings, Callable[[CoreRecord], None]]] = [
    (MEASURED, scenario) for scenario in (
        answered, through_two_accounts, without_a_reply, nobody_serves, nobody_answers, who_asked_is_gone,
        nobody_ever_listened, asked_by_a_consumer, the_server_answers, by_headers, by_none_of_the_headers,
        what_started_it_is_told_at_the_end,
    )
]  # fmt: skip
SCENARIOS.append((RELOADED, told_otherwise_after_a_reload))
