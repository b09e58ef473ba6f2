"""Message schedules (ADR-51): what is refused, what fires, and what a fired message looks like."""

from __future__ import annotations

import json
from typing import Any

from .compare import Session
from .scenarios_features import stored
from .scenarios_streams import update

AT, EVERY = "@at 2020-01-01T00:00:00Z", "@every 1s"
PATTERN, TARGET, ZONE = "Nats-Schedule", "Nats-Schedule-Target", "Nats-Schedule-Time-Zone"
SOURCE, TTL, ROLLUP = "Nats-Schedule-Source", "Nats-Schedule-TTL", "Nats-Schedule-Rollup"
NEXT, SCHEDULER = "Nats-Schedule-Next", "Nats-Scheduler"
PATTERNS = [
    "", " ", "@", "@at", "@at ", "@at x", "@at 2020-01-01", "@at 2020-01-01T00:00:00", "@at  2020-01-01T00:00:00Z",
    "@at 2020-01-01T00:00:00Z ", "@at 2020-02-30T00:00:00Z", "@at 2099-01-01T00:00:00+02:00",
    "@AT 2099-01-01T00:00:00Z",
    "@at 2099-01-01T00:00:00.123456789Z", "@at 0001-01-01T00:00:00Z", "@at 2099-01-01T24:00:00Z",
    "@every", "@every ", "@every x", "@every 1", "@every 1h", "@every 999ms", "@every 3600000ms", "@every -1h",
    "@every 1d", "@every  1h", "@every 1h ", "@every 1h30m0.5s", "@EVERY 1h",
    "@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly", "@Hourly", "@hourly ", "@reboot",
    "* * * * *", "* * * * * * *", "0 0 0 1 1 *", " 0 0 0 1 1 * ", "0\t0 0 1 1 *", "60 0 0 1 1 *", "0 60 0 1 1 *",
    "0 0 24 1 1 *", "0 0 0 0 1 *", "0 0 0 32 1 *", "0 0 0 1 0 *", "0 0 0 1 13 *", "0 0 0 1 1 7", "0 0 0 1 1 sun",
    "0 0 0 1 JAN SUN", "0 0 0 1 january *", "0 0 0 1 dec-jan *", "0 0 0 1 jan-dec mon-fri", "0 0 0 1 1 ?",
    "? 0 0 1 1 *",
    "0 0 0 30 2 *", "0 0 0 29 2 *", "0 0 0 31 4 *", "0 0 0 31 4 1", "0 0 0/5 1 1 *", "0 */0 0 1 1 *", "0 */7 0 1 1 *",
    "0 1-5/2 0 1 1 *", "0 5-1 0 1 1 *", "0 1- 0 1 1 *", "0 -1 0 1 1 *", "0 1,2,3 0 1 1 *", "0 1,,3 0 1 1 *",
    "0 1, 0 1 1 *", "0 , 0 1 1 *", "0 0 , 1 1 *", "0 0 0 , 1 *", "0 0 0 , 1 1", "0 0 0 1 , *", "0 0 0 1 1 ,",
    "0 1/2/3 0 1 1 *", "0 1-2-3 0 1 1 *", "0 *-2 0 1 1 *", "0 +1 0 1 1 *", "0 1.5 0 1 1 *", "0 a 0 1 1 *",
    "L 0 0 1 1 *",
    "0 0 0 L * *", "0 0 0 * * 1#2", "0 99999999999999999999 0 1 1 *", "\u0661 0 0 1 1 *", "TZ=UTC 0 0 0 1 1 *",
]  # fmt: skip
ZONES = ["", "UTC", "Europe/Berlin", "europe/berlin", "Nowhere", "America", "Local", "GMT", "EST", "CET", "+01:00",
         "../etc/passwd", "/etc/localtime", "Etc/GMT+5", " UTC", "UTC ", "Asia/Kathmandu"]  # fmt: skip


def _schedule(s: Session, subject: str, pattern: str, target: str = "t.a", body: bytes = b"body", **more: str) -> Any:
    fields = {key.replace("_", "-"): value for key, value in more.items()}
    return s.publish(subject, body, {PATTERN: pattern, TARGET: target} | fields)


def _streams(s: Session, **config: Any) -> None:
    s.stream("S", subjects=["s.*", "t.*"], allow_msg_schedules=True, **config)


def _watch(s: Session, filter: str = "t.>") -> str:
    """What is stored under the filter from now on comes to this subscription."""
    sid = s.client.subscribe("watch")
    s.consumer("S", "W", deliver_subject="watch", ack_policy="none", deliver_policy="new", filter_subject=filter)
    return sid


def _fired(s: Session, sid: str, count: int = 1) -> None:
    for _ in range(count):
        frame = s.client.next_message(sid=sid)
        s.note(f"fired {frame.subject} {frame.headers!r} {frame.payload!r}")


def schedule_configurations(s: Session) -> None:
    for number, config in enumerate((
        {}, {"discard": "new"}, {"deny_purge": True}, {"allow_rollup_hdrs": True}, {"allow_msg_counter": True},
        {"deny_purge": True, "allow_rollup_hdrs": True}, {"retention": "workqueue"}, {"retention": "interest"},
        {"allow_atomic": True, "allow_msg_ttl": True}, {"max_msgs_per_subject": 1}, {"deny_delete": True},
    )):
        for pedantic in (False, True):
            name = f"S{number}{'P' if pedantic else ''}"
            s.api(f"STREAM.CREATE.{name}",
                  {"name": name, "storage": s.storage, "allow_msg_schedules": True, "pedantic": pedantic, **config})
    update(s, "S0")
    update(s, "S0", allow_msg_schedules=True, description="x")
    update(s, "S0", allow_msg_schedules=True, allow_rollup_hdrs=False, deny_purge=True)
    update(s, "S0", allow_msg_schedules=True, discard="new")
    s.stream("PLAIN")
    update(s, "PLAIN", allow_msg_schedules=True)
    s.api("STREAM.INFO.PLAIN")


def schedule_patterns(s: Session) -> None:
    _streams(s)
    s.stream("PLAIN", subjects=["p.*"])
    for number, pattern in enumerate(PATTERNS):
        _schedule(s, f"s.{number}", pattern)
        s.publish("p.x", b"", {PATTERN: pattern, TARGET: "p.y"})
        if s.api("STREAM.MSG.GET.S", {"last_by_subj": f"s.{number}"}):
            s.api("STREAM.PURGE.S")
    for zone in ZONES:
        for pattern in ("0 0 0 1 1 *", "@daily", "@every 1h", "@at 2099-01-01T00:00:00Z", ""):
            _schedule(s, "s.z", pattern, **{ZONE: zone})
            s.publish("p.x", b"", {PATTERN: pattern, ZONE: zone})
        s.publish("s.z", b"", {ZONE: zone})


def schedule_refusals(s: Session) -> None:
    _streams(s)
    s.stream("TTL", subjects=["ttl.*"], allow_msg_schedules=True, allow_msg_ttl=True)
    s.stream("PLAIN", subjects=["p.*"], allow_rollup_hdrs=True)
    later = {PATTERN: "@every 1h", TARGET: "%.t"}
    cases: list[dict[str, str]] = [
        {}, {TARGET: ""}, {TARGET: "%.x"}, {TARGET: "%.*"}, {TARGET: "other"}, {TARGET: "%"}, {TARGET: "%.t.u"},
        {TARGET: "%."}, {TARGET: ">"}, {SOURCE: "%.s"}, {SOURCE: "%.x"}, {SOURCE: "%.t"}, {SOURCE: "%.*"},
        {SOURCE: "other"}, {SOURCE: ""}, {SOURCE: "%.t.u"}, {TTL: "5"}, {TTL: "5s"}, {TTL: "x"}, {TTL: "never"},
        {TTL: "0"}, {TTL: "1ms"}, {TTL: ""}, {ROLLUP: "sub"}, {ROLLUP: "all"}, {ROLLUP: "SUB"}, {ROLLUP: ""},
        {"Nats-Rollup": "sub"}, {"Nats-Rollup": "SUB"}, {"Nats-Rollup": "all"}, {"Nats-Rollup": "x"},
        {"Nats-TTL": "60"}, {"Nats-Msg-Id": "%one"}, {"Nats-Msg-Id": "%one"}, {"Nats-Stream-Source": "x"},
        {"Nats-Expected-Last-Sequence": "999"}, {"Nats-Expected-Last-Msg-Id": "none"}, {NEXT: "purge"},
        {NEXT: "purge", SCHEDULER: "%.y"}, {SCHEDULER: "%.y"}, {"Nats-Incr": "1"}, {"X": "y" * 70_000},
        {PATTERN: "", TARGET: ""}, {PATTERN: "x", TARGET: ""}, {TTL: "x", ROLLUP: "x", TARGET: ""},
        {ROLLUP: "x", TARGET: ""}, {SOURCE: "other", TARGET: ""},
    ]
    for prefix in ("s", "ttl", "p"):
        for case in cases:
            fields = {key: value.replace("%", prefix) for key, value in (later | case).items()}
            s.publish(f"{prefix}.x", b"", fields)
        for name in ("S", "TTL", "PLAIN"):
            s.api(f"STREAM.MSG.GET.{name}", {"last_by_subj": f"{prefix}.x"})
    for value in ("purge", "x", "2099-01-01T00:00:00Z", ""):
        for scheduler in (None, "", "s.x", "s.none", "s.plain", "s.*", "other", "p.x"):
            named = {} if scheduler is None else {SCHEDULER: scheduler}
            s.publish("s.plain" if scheduler != "s.plain" else "s.q", b"", {NEXT: value} | named)
            s.publish("p.q", b"", {NEXT: value} | named)
    s.publish("s.plain", b"", {SCHEDULER: "s.x"})
    s.publish("s.plain", b"", {"Nats-Schedule-Anything": "x"})
    s.stream("SMALL", subjects=["small.*"], allow_msg_schedules=True, max_msg_size=100)
    for size in range(10, 40):
        s.publish("small.x", b"x" * size, {PATTERN: "@daily", TARGET: "small.t"})


def schedules_in_batches(s: Session) -> None:
    _streams(s, allow_atomic=True, allow_msg_ttl=True)

    def batch(name: str, *messages: tuple[str, dict[str, str]]) -> None:
        for number, (subject, fields) in enumerate(messages, 1):
            end = {"Nats-Batch-Commit": "1"} if number == len(messages) else {}
            s.publish(subject, b"m", {"Nats-Batch-Id": name, "Nats-Batch-Sequence": str(number)} | fields | end)

    later = {PATTERN: "@every 1h", TARGET: "t.a"}
    ends = {NEXT: "purge", SCHEDULER: "s.a"}
    batch("one", ("s.a", later), ("s.b", {}), ("s.c", later))
    batch("bad", ("s.a", later | {TARGET: ""}), ("s.b", {}))
    batch("twice", ("s.a", later), ("s.a", later))
    batch("again", ("s.d", {}), ("s.d", later))
    batch("end", ("s.b", ends), ("s.e", {}))
    batch("end-none", ("s.b", ends), ("s.e", {}))
    batch("end-plain", ("s.b", ends | {SCHEDULER: "s.e"}), ("s.e", {}))
    batch("end-staged", ("s.f", later), ("s.b", ends | {SCHEDULER: "s.f"}))
    batch("end-staged-plain", ("s.f", {}), ("s.b", ends | {SCHEDULER: "s.f"}))
    batch("end-self", ("s.b", ends | {SCHEDULER: "s.b"}))
    batch("ttl", ("s.g", later | {TTL: "x"}), ("s.b", {}))
    stored(s, "S")


def schedules_fire_once(s: Session) -> None:
    _streams(s, allow_msg_ttl=True, allow_direct=True)
    sid = _watch(s)
    s.publish("s.source", b"from the source", {"A": "b", "Nats-Msg-Id": "m", "Nats-Rollup": "sub", "Nats-TTL": "60"})
    cases: list[dict[str, str]] = [
        {}, {TTL: "60"}, {TTL: "1h"}, {TTL: "never"}, {ROLLUP: "sub"}, {TTL: "60", ROLLUP: "sub"}, {"A": "b", "C": "d"},
        {"Nats-Msg-Id": "id"}, {"Nats-TTL": "60"}, {"Nats-Rollup": "sub"}, {SOURCE: "s.source"}, {SOURCE: "s.none"},
        {"Nats-Expected-Stream": "S", "Nats-Expected-Last-Subject-Sequence": "0"}, {"Nats-Scheduled": "kept?"},
    ]
    for number, case in enumerate(cases):
        s.publish(f"s.{number}", b"body %d" % number, {PATTERN: AT, TARGET: f"t.{number % 3}"} | case)
        _fired(s, sid)
        s.api("STREAM.MSG.GET.S", {"last_by_subj": f"s.{number}"})
        s.api("STREAM.INFO.S", {"subjects_filter": "t.*"})
    stored(s, "S")


def schedules_fire_in_order(s: Session) -> None:
    """Those that are due together fire in the order in which they were stored."""
    _streams(s)
    sid = _watch(s)
    moment = "@at 2020-01-01T00:00:0%dZ"
    for number in (5, 3, 1, 4, 2):
        s.client.publish(f"s.{number}", b"%d" % number, "", {PATTERN: moment % number, TARGET: "t.a"})
    _fired(s, sid, 5)
    s.api("STREAM.INFO.S")


def schedules_repeat(s: Session) -> None:
    _streams(s)
    sid = _watch(s)
    for number, (pattern, more) in enumerate((
        (EVERY, {}), ("* * * * * *", {}), ("* * * * * *", {ZONE: "Africa/Abidjan"}), ("*/1 * * ? * *", {}),
    )):  # fmt: skip
        subject = f"s.{number}"
        s.publish(subject, b"tick", {PATTERN: pattern, TARGET: f"t.{number}"} | more)
        _fired(s, sid, 2)
        s.api("STREAM.MSG.GET.S", {"last_by_subj": subject})
        s.publish("s.end", b"", {NEXT: "purge", SCHEDULER: subject})
        s.api("STREAM.MSG.GET.S", {"last_by_subj": subject})
        s.client.flush()
    s.publish("s.zone", b"tick", {PATTERN: "* * * * * *", TARGET: "t.zone", ZONE: "Asia/Kathmandu"})
    frame = s.client.next_message(sid=sid)
    s.note(f"in the zone's time: {b'+05:45' in frame.headers}")


def schedules_replaced(s: Session) -> None:
    """A schedule ends with its message, and with another message on its subject; a later one takes its place."""
    _streams(s, max_msgs_per_subject=3)
    sid = _watch(s)
    future = {PATTERN: "@every 2s", TARGET: "t.old"}
    for subject in ("s.plain", "s.deleted", "s.purged", "s.again"):
        s.publish(subject, b"old", future)
    s.publish("s.plain", b"not a schedule")
    s.api("STREAM.MSG.DELETE.S", {"seq": 2})
    s.api("STREAM.PURGE.S", {"filter": "s.purged"})
    s.publish("s.again", b"new", {PATTERN: "@every 3s", TARGET: "t.new"})
    _fired(s, sid)
    s.api("STREAM.MSG.GET.S", {"last_by_subj": "s.plain"})


def schedules_with_transform(s: Session) -> None:
    change = {"src": "t.*", "dest": "s.to{{wildcard(1)}}"}
    s.stream("S", subjects=["s.*", "t.*"], allow_msg_schedules=True, subject_transform=change)
    s.publish("s.a", b"", {PATTERN: AT, TARGET: "t.b"})
    sid = _watch(s, "s.>")
    s.publish("s.c", b"", {PATTERN: AT, TARGET: "t.d"})
    _fired(s, sid, 3)
    stored(s, "S")


def schedules_by_retention(s: Session) -> None:
    for retention in ("interest", "workqueue"):
        s.stream("S", subjects=["s.*", "t.*"], allow_msg_schedules=True, retention=retention)
        s.consumer("S", "KEEPS", filter_subject="s.>")
        sid = _watch_all(s)
        s.publish("s.a", b"x", {PATTERN: AT, TARGET: "t.a"})
        _fired(s, sid)
        s.api("STREAM.MSG.GET.S", {"last_by_subj": "s.a"})
        s.api("STREAM.DELETE.S")
        s.client.unsubscribe(sid)


def _watch_all(s: Session) -> str:
    sid = s.client.subscribe("watch")
    s.consumer("S", "W", deliver_subject="watch", ack_policy="explicit", filter_subject="t.>")
    return sid


def schedules_sealed(s: Session) -> None:
    _streams(s)
    s.publish("s.a", b"x", {PATTERN: "@every 1h", TARGET: "t.a"})
    update(s, "S", subjects=["s.*", "t.*"], allow_msg_schedules=True, sealed=True)
    s.publish("s.a", b"x", {PATTERN: "@every 1h", TARGET: "t.a"})


def _listen(s: Session, name: str, *filters: str) -> None:
    """To all that fired and fires; the answer is not recorded, since it says how much has fired already."""
    config = {"durable_name": name, "deliver_subject": "watch", "ack_policy": "none", "filter_subjects": filters}
    body = json.dumps({"stream_name": "S", "config": config}).encode()
    s.client.request(f"$JS.API.CONSUMER.DURABLE.CREATE.S.{name}", body)


def schedules_after_restart(s: Session) -> None:
    """What was due while the server was away fires once."""
    if s.storage == "memory":
        return
    _streams(s, allow_msg_ttl=True)
    s.publish("s.every", b"every", {PATTERN: "@every 2s", TARGET: "t.every"})
    s.publish("s.later", b"later", {PATTERN: "@every 1h", TARGET: "t.later"})
    s.publish("s.replaced", b"replaced", {PATTERN: "@every 2s", TARGET: "t.replaced"})
    s.publish("s.replaced", b"plain", {"Nats-Rollup": "sub"})
    s.publish("s.once", b"once", {PATTERN: AT, TARGET: "t.once"})
    s.target.restart()
    s.client = s.target.connect()
    sid = s.client.subscribe("watch")
    _listen(s, "W", "t.once")
    _fired(s, sid)
    _listen(s, "E", "t.every", "t.replaced")
    _fired(s, sid, 2)
    s.api("STREAM.MSG.GET.S", {"last_by_subj": "s.once"})
    s.api("STREAM.MSG.GET.S", {"last_by_subj": "s.later"})


