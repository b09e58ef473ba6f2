"""Message traces (ADR-41): what both servers tell of a message's way, by every kind of event and of refusal."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from typing import Any

from millpond.store.backup.s2_stream import S2Reader

from .core_target import Settings
from .raw import CoreRecord, Raw
from .scenarios_accounts import hidden
from .scenarios_permissions import connect, pub

ASKS = "Nats-Trace-Dest: trace"
ONLY = "Nats-Trace-Only: true"
BOTH = ((ASKS,), (ASKS, ONLY))
"""With the message's delivery, and without."""

CONFIG = """
accounts {
  A {
    users: [
      { user: a, pass: x }
      { user: few, pass: x, permissions { publish { allow: [ "ok.>", trace ] }, subscribe { deny: [ "no.>" ] } } }
    ]
    mappings { "map.*": "n.$1", lost: [ { dest: lost, weight: 0 } ] }
    exports: [
      { stream: "pub.>" }, { service: "svc.*", allow_trace: true }, { service: closed }
      { service: deep, allow_trace: true }
    ]
  }
  B {
    users: [ { user: b, pass: x } ]
    imports: [
      { stream: { account: A, subject: "pub.yes.>" }, prefix: in, allow_trace: true }
      { stream: { account: A, subject: "pub.no.>" }, prefix: out, allow_trace: false }
      { service: { account: A, subject: "svc.*" }, to: "ask.*" }, { service: { account: A, subject: closed } }
      { service: { account: A, subject: deep } }
    ]
    exports: [ { service: deep, allow_trace: true } ]
  }
  C { users: [ { user: c, pass: x } ], imports: [ { service: { account: B, subject: deep }, to: deeper } ] }
  T { users: [ { user: t, pass: x } ], msg_trace: { dest: "acc.trace", sampling: "100%" } }
  U { users: [ { user: u, pass: x } ], trace_dest: "acc.trace" }
  SYS { users: [ { user: sys, pass: x } ] }
}
system_account: SYS
"""
TRACES: Settings = {"config": CONFIG}
UNTOLD: Settings = {"config": "no_system_account: true\nauthorization { users: [ { user: a, pass: x } ] }"}


def block(*lines: str) -> bytes:
    return b"NATS/1.0\r\n" + b"".join(line.encode() + b"\r\n" for line in lines) + b"\r\n"


def hpub(subject: str, *lines: str, reply: str = "", body: bytes = b"") -> bytes:
    return with_block(subject, block(*lines), reply, body)


def with_block(subject: str, head: bytes, reply: str = "", body: bytes = b"") -> bytes:
    words = " ".join(word for word in (subject, reply) if word).encode()
    return b"HPUB %s %d %d\r\n%s%s\r\n" % (words, len(head), len(head) + len(body), head, body)


class Watcher:
    """Hears what is told in one account."""

    def __init__(self, s: CoreRecord, name: str, subject: str = "trace") -> None:
        self.record = s
        self.raw = person(s, name)
        self.raw.until_pong_of(f"SUB {subject} 1\r\n".encode())

    def next(self, label: str) -> dict[str, Any]:
        """Records the next trace."""
        subject, head, body = self.raw.message()
        document: dict[str, Any] = json.loads(unpacked(head, body))
        self.record.note(f"{label}: {subject!r} {head!r} {json.dumps(shown(document))}")
        return document


def unpacked(head: bytes, body: bytes) -> bytes:
    if b"gzip" in head:
        return gzip.decompress(body)
    return bytes(S2Reader().decode_all(body)) if b"snappy" in head else body


def shown(document: dict[str, Any]) -> dict[str, Any]:
    """Without what one run only has; what happened at the same step, to several receivers, in any order."""
    document["server"] = list(document["server"])
    for event in document["events"]:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", event["ts"])
        event["ts"] = "<time>"
        if "cid" in event:
            event["cid"] = "<number>"
        for name in ("subj", "from"):
            if name in event:
                event[name] = re.sub(r"_R_\.\w+\.\w+", "_R_", event[name])
    rows = document["events"]
    order = sorted(range(1, len(rows)), key=lambda at: json.dumps(rows[at]) if rows[at]["type"] == "eg" else "")
    if all(row["type"] == "eg" for row in rows[1:]):
        document["events"] = [rows[0], *(rows[at] for at in order)]
    return document


def person(s: CoreRecord, name: str, **fields: object) -> Raw:
    raw = s.open(connect(user=name, name=f"{name}'s", **{"pass": "x"}, **fields))
    raw.until_pong_of(b"")
    return raw


def told(s: CoreRecord, raw: Raw, watcher: Watcher, data: bytes, label: str = "") -> None:
    """What the sender hears, and the trace of what it sent."""
    s.say(raw, data, label=label or None)
    watcher.next("  trace")


def untold(s: CoreRecord, raw: Raw, watcher: Watcher, data: bytes) -> None:
    """No trace: the next one is that of the fence behind it."""
    s.say(raw, data)
    raw.send(hpub("fence", ASKS))
    watcher.next("  the next trace")


def receivers(s: CoreRecord) -> None:
    a, watcher = person(s, "a"), Watcher(s, "a")
    here = person(s, "a")
    s.say(here, b"SUB s.* 1\r\nSUB s.q one 2\r\nSUB s.q two 3\r\nSUB inbox 4\r\n")
    for lines in BOTH:
        for subject in ("nobody", "s.q", "s.x"):
            told(s, a, watcher, hpub(subject, *lines, "A: 1", "a:2", "A:3", reply="inbox", body=b"hello"))
        s.heard_so_far(here)
        told(s, here, watcher, hpub("nobody", *lines, reply="inbox"), "the requester is told that nobody is there")
        quiet = person(s, "a", echo=False)
        s.say(quiet, b"SUB s.q 1\r\nSUB s.q three 2\r\n")
        told(s, quiet, watcher, hpub("s.q", *lines))
        plain = person(s, "a", headers=False)
        s.say(plain, b"SUB s.y 1\r\nUNSUB 1 1\r\n")
        for _ in range(2):
            told(s, a, watcher, hpub("s.y", *lines, body=b"x"))
        s.heard_so_far(plain)
        plain.close()
        quiet.close()
    wordy = person(s, "a", verbose=True)
    for lines in (*BOTH, (ASKS.replace("trace", "a..b"),), (ASKS.replace("trace", "a..b"), ONLY)):
        s.say(wordy, hpub("s.v", *lines))


def who_asks_and_how(s: CoreRecord) -> None:
    a, watcher = person(s, "a"), Watcher(s, "a")
    here = person(s, "a")
    s.say(here, b"SUB s.a 1\r\n")
    for value in ("true", "TRUE", "1", "on", "ON", "yes", "false", "0"):
        told(s, a, watcher, hpub("s.a", ASKS, f"Nats-Trace-Only: {value}"))
    for head in (
        block(ASKS, "Nats-Trace-Only: "), block(ASKS, "Nats-Trace-Dest: other"), block("Nats-Trace-Dest:trace"),
        block("Nats-Trace-Dest:\t trace \t"), block(ASKS, "Nats-Trace-Hop: 1.2"), block("A: ", ASKS, ": c", "B : d"),
        b"NATS/1.0\r\nNats-Trace-Dest: trace\r\nA:\xff\xc3\xa4<>&\r\n\r\n", block(ASKS)[:-2] + b"A: x",
        block(ASKS, "Nats-Trace-Dest: trace disabled"),
    ):  # fmt: skip
        told(s, a, watcher, with_block("s.a", head))
    for head in (
        block(ONLY), block("Nats-Trace-Dest: "), block("Nats-Trace-Dest: ", ONLY), block("nats-trace-dest: trace"),
        block("Nats-Trace-Dest: trace disabled", ONLY), block("Nats-Trace-Dest: trace disabled", ASKS),
        block(ASKS, "Nats-Trace-Origin-Account: B"), block(ASKS, ONLY, "Nats-Trace-Origin-Account: B"),
        b"NATS/1.0 100 x\r\nNats-Trace-Dest: trace\r\n\r\n", b"NATS/1.0\r\nfoo\r\nNats-Trace-Dest: trace\r\n\r\n",
        b"NATS/1.0\r\nNats-Trace-Dest: trace\nA: b\r\n\r\n", b"NATS/1.0\r\n\r\nNats-Trace-Dest: trace\r\n\r\n",
        b"NATS/1.0\r\n Nats-Trace-Dest: trace\r\n\r\n", b"NATS/1.1\r\nNats-Trace-Dest: trace\r\n\r\n",
        b"NATS/1.0\r\nNats-Trace-Dest: tra\r", b"Nats-Trace-Dest: trace\r\n\r\n",
    ):  # fmt: skip
        untold(s, a, watcher, with_block("s.a", head))
    for destination in ("a..b", "a.*", "a b", ">", "_GR_.x", "$GR.x", "$NRG.x", "_R_.x", "$SYS.x", "$JS.API.INFO"):
        for more in ((), (ONLY,)):
            untold(s, a, watcher, hpub("s.a", f"Nats-Trace-Dest: {destination}", *more))
    s.heard_so_far(here)
    for encoding in ("gzip", "s2", "snappy", "GZIP, br", "br", "identity"):
        told(s, a, watcher, hpub("x", ASKS, f"Accept-Encoding: {encoding}"))


def refused_publishes(s: CoreRecord) -> None:
    few, watcher = person(s, "few"), Watcher(s, "a")
    a = person(s, "a")
    s.say(few, b"SUB no.> 1\r\nSUB *.b 2\r\n")
    for lines in BOTH:
        told(s, few, watcher, hpub("ok.a", *lines))
        told(s, few, watcher, hpub("bad", *lines))
        told(s, few, watcher, hpub("ok.a", *lines, reply="_R_.a.b"))
        told(s, a, watcher, hpub("ok.a", *lines, reply="$JS.ACK.a.b"))
        for subject in ("_GR_.a", "$NRG.a"):
            told(s, a, watcher, hpub(subject, *lines))
        told(s, a, watcher, hpub("no.b", *lines), "denied to the one who listens")
    elsewhere = "Nats-Trace-Dest: elsewhere"
    for lines in ((elsewhere,), (elsewhere, ONLY)):
        s.say(few, hpub("ok.a", *lines))
        s.say(few, hpub("bad", *lines))
    for lines in BOTH:
        s.fatal(person(s, "a"), b"HPUB big %d 9999999\r\n%s" % (len(block(*lines)), block(*lines)))
        watcher.next("too large")
    s.fatal(person(s, "few"), b"HPUB big 42 9999999\r\n" + block(elsewhere))
    s.fatal(person(s, "a"), b"HPUB big 4000 9999999\r\n" + block(ASKS, "A: b", "C"))
    watcher.next("too large, its block is not all there")
    s.fatal(person(s, "a"), b"HPUB big 40 9999999\r\nNATS/1.0\r\nNats-Trace-Dest: tra")
    untold(s, a, watcher, b"")


def mapped_on_the_way(s: CoreRecord) -> None:
    a, watcher = person(s, "a"), Watcher(s, "a")
    s.say(a, b"SUB n.> 1\r\nSUB inbox 2\r\n")
    for lines in BOTH:
        for subject in ("map.x", "lost"):
            told(s, a, watcher, hpub(subject, *lines, reply="inbox"))


def streams_of_others(s: CoreRecord) -> None:
    a, watcher = person(s, "a"), Watcher(s, "a")
    s.say(a, b"SUB inbox 1\r\n")
    for subs in (b"SUB in.> 1\r\n", b"SUB in.> q 1\r\n", b"SUB out.> 1\r\n", b"SUB out.> q 1\r\n"):
        b = person(s, "b")
        s.say(b, subs)
        for lines in BOTH:
            for subject in ("pub.yes.a", "pub.no.a"):
                told(s, a, watcher, hpub(subject, *lines, reply="inbox"))
        s.heard_so_far(b)
        b.close()


def services_of_others(s: CoreRecord) -> None:
    watchers = {name: Watcher(s, name) for name in ("a", "b", "c")}
    for served in (b"", b"SUB svc.* 1\r\n", b"SUB closed 1\r\n", b"SUB deep 1\r\n", b"SUB svc.* q 1\r\n"):
        a = person(s, "a")
        s.say(a, served)
        for name, subject in (("b", "ask.x"), ("b", "closed"), ("b", "deep"), ("c", "deeper")):
            asks = person(s, name)
            s.say(asks, b"SUB inbox 1\r\n")
            for lines in BOTH:
                told(s, asks, watchers[name], hpub(subject, *lines, reply="inbox"))
                told(s, asks, watchers[name], hpub(subject, *lines))
            asks.close()
        s.note(f"{sorted(hidden(frame) for frame in a.until_pong_of(b''))}")
        a.close()


def answers_to_others(s: CoreRecord) -> None:
    watcher, a, b = Watcher(s, "a"), person(s, "a"), person(s, "b")
    s.say(a, b"SUB svc.* 1\r\n")
    s.say(b, b"SUB inbox 1\r\n" + pub(b"ask.x", b"inbox"))
    subject = a.until_pong_of(b"")[0].split()[3].decode()
    told(s, a, watcher, hpub(subject, ASKS, body=b"yes"), "answer")
    s.heard_so_far(b)


def an_answer_that_is_only_traced(s: CoreRecord) -> None:
    """On nats-server it ends the request."""
    watcher, a, b = Watcher(s, "a"), person(s, "a"), person(s, "b")
    s.say(a, b"SUB svc.* 1\r\n")
    s.say(b, b"SUB inbox 1\r\n" + pub(b"ask.x", b"inbox"))
    subject = a.until_pong_of(b"")[0].split()[3].decode()
    told(s, a, watcher, hpub(subject, ASKS, ONLY, body=b"yes"), "answer")
    s.say(a, pub(subject.encode(), b"", b"yes"), label="answer")
    s.heard_so_far(b)


PARENTS = (
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-a-b-03", "00-a-b-7f", "---01", "00-a-b-+1",
    "00-a-b-00", "00-a-b-ff", "00-a-b-1", "00-a-01", "a-b-c-d-01", "00-a-b-0x", "00-a-b--1", "00-a-b-_1", "00-a-b-",
)  # fmt: skip


def sampled_parents(s: CoreRecord) -> None:
    """`traceparent` of a W3C trace context, in accounts that say where to tell of them."""
    for name in ("t", "u"):
        raw = person(s, name)
        s.say(raw, b"SUB acc.trace 1\r\nSUB trace 2\r\nSUB foo 3\r\n")
        watcher = Watcher(s, name, "*.trace")
        for at, parent in enumerate(PARENTS):
            raw.send(hpub("foo", f"traceparent: {parent}"))
            if at < 5:
                watcher.next(parent)
        for lines in (
            ("Traceparent: 00-a-b-01",), ("TRACEPARENT: 00-a-b-01",), ("traceparent: 00-a-b-01", ONLY),
            ("traceparent: 00-a-b-00", "traceparent: 00-a-b-01"), ("traceparent: 00-a-b-01", "Nats-Trace-Dest: "),
            ("traceparent: 00-a-b-01", "Nats-Trace-Dest: b.trace"), ("traceparent: 00-a-b-01", "Accept-Encoding: gzip"),
        ):  # fmt: skip
            raw.send(hpub("foo", *lines))
            watcher.next(str(lines))
        for lines in (
            ("traceparent : 00-a-b-01",), ("traceparent: 00-a-b-01", "Nats-Trace-Dest: trace disabled"),
            ("traceparent: 00-a-b-01", "Nats-Trace-Origin-Account: x"),
        ):  # fmt: skip
            raw.send(hpub("foo", *lines))
        raw.send(hpub("end", "Nats-Trace-Dest: b.trace"))
        watcher.next("end")
        heard = [frame for frame in raw.until_pong_of(b"") if frame.startswith(b"HMSG foo")]
        s.note(f"{name} {heard}")
    a, watcher = person(s, "a"), Watcher(s, "a")
    untold(s, a, watcher, hpub("foo", "traceparent: 00-a-b-01"))


def nobody_tells(s: CoreRecord) -> None:
    """Without a system account."""
    raw = person(s, "a")
    s.say(raw, b"SUB > 1\r\n")
    for lines in BOTH:
        s.say(raw, hpub("foo", *lines))
    s.say(raw, hpub("foo", "Nats-Trace-Dest: a..b", ONLY))


def requests_to_the_server(s: CoreRecord) -> None:
    """What the system account serves, to others and to its own."""
    raw, watcher = person(s, "sys"), Watcher(s, "sys")
    raw.until_pong_of(b"SUB inbox.* 1\r\n")
    for lines in BOTH:
        raw.send(hpub("$SYS.REQ.SERVER.PING.IDZ", *lines, reply="inbox.id"))
        watcher.next("IDZ")
        s.note(f"{raw.line().split()[:3]} {bool(raw.line())}")
    raw, watcher = person(s, "b"), Watcher(s, "b")
    raw.until_pong_of(b"SUB inbox.* 1\r\n")
    for subject in ("USER.INFO", "SERVER.PING.CONNZ", "ACCOUNT.PING.CONNZ", "ACCOUNT.PING.STATZ", "SERVER.PING.VARZ"):
        for lines in BOTH:
            raw.send(hpub(f"$SYS.REQ.{subject}", *lines, reply="inbox.x"))
            watcher.next(subject)
            s.note(f"{raw.line().split()[:2]} {raw.line().startswith(b'NATS/1.0 503')}")
            raw.until_pong_of(b"")


SCENARIOS: list[tuple[Settings, Callable[[CoreRecord], None]]] = [
    (TRACES, receivers),
    (TRACES, who_asks_and_how),
    (TRACES, refused_publishes),
    (TRACES, mapped_on_the_way),
    (TRACES, streams_of_others),
    (TRACES, services_of_others),
    (TRACES, answers_to_others),
    (TRACES, an_answer_that_is_only_traced),
    (TRACES, sampled_parents),
    (TRACES, requests_to_the_server),
    (UNTOLD, nobody_tells),
]
