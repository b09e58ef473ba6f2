"""Messages with an end of their own, and the markers of subjects that ended (ADR-43)."""

from __future__ import annotations

import json

from .compare import Session

TEXTS = [
    "0", "1", "5", "00", "007", "-1", "+5", "5 ", "1.5", "1e3", "0x10", "1_000", "1s", "1.5s", "1.999999999s", ".5s",
    "1.s", ".s", "s", "1", "999ms", "1000ms", "1000000us", "1000000\u00b5s", "1000000\u03bcs", "1000000000ns",
    "999999999ns", "1h", "1h2m3.5s", "1m1m", "1d", "1w", "1S", "1 s", "-1s", "+1s", "--1s", "+-1s", "never", "NEVER",
    "Never", "nevers", " never", "", " ", "true", "\u0661s", "9223372036854775807", "9223372036854775808",
    "18446744073709551615", "18446744073709551616", "18446744073709551621", "100000000000000000000000000000",
    "9223372036s", "9223372037s", "2562047h47m16.854775807s", "2562047h47m16.854775808s", "-2562047h47m16.854775808s",
    "2562047h47m17s", "0.99999999999999999999s", "0.999999999999999999999999999h", "1.0000000000000000000000000001s",
    "0000000000000000000000001s", "9223372036854775807ns", "9223372036854775808ns", "1s1", "1s.5", "1..5s", "1.5.5s",
    "0s", "0h", "0.0001h", "2.5m", "1\u00b5s", "1ms999ms", "1ms998ms1us999us", "1y", "\x00", "5\x00", "5\t", "\t5",
]  # fmt: skip


def ttl_texts(s: Session) -> None:
    s.stream("PLAIN", subjects=["plain"])
    s.stream("ENDS", subjects=["ends"], allow_msg_ttl=True)
    for text in TEXTS:
        for subject in ("plain", "ends"):
            s.publish(subject, b"x", f"NATS/1.0\r\nNats-TTL: {text}\r\n\r\n".encode())
    s.publish("ends", b"x", b"NATS/1.0\r\nNats-TTL:5s\r\nNats-TTL: 7\r\n\r\n")
    s.publish("ends", b"x", b"NATS/1.0\r\nnats-ttl: bad\r\n\r\n")
    s.publish("ends", b"x", {"Nats-TTL": "bad", "Nats-Expected-Last-Sequence": "0"})
    s.publish("ends", b"x", {"Nats-TTL": "bad", "Nats-Rollup": "sub"})
    s.publish("ends", b"x", {"Nats-TTL": "bad", "Nats-Msg-Id": "one"})
    s.publish("ends", b"x", {"Nats-Msg-Id": "one"})
    s.publish("ends", b"x", {"Nats-TTL": "bad", "Nats-Msg-Id": "one"})
    s.publish("plain", b"x", {"Nats-TTL": "5", "Nats-Expected-Stream": "X"})
    s.publish("plain", b"x", {"Nats-TTL": "5", "Nats-Expected-Last-Sequence": "77"})


def ttl_configurations(s: Session) -> None:
    second = 10**9
    asked = [
        {"allow_msg_ttl": True}, {"allow_msg_ttl": 1}, {"subject_delete_marker_ttl": second},
        {"subject_delete_marker_ttl": second, "allow_msg_ttl": True, "allow_rollup_hdrs": True},
        {"subject_delete_marker_ttl": second, "deny_purge": True},
        {"subject_delete_marker_ttl": second, "deny_purge": True, "allow_rollup_hdrs": True},
        {"subject_delete_marker_ttl": second - 1}, {"subject_delete_marker_ttl": -1},
        {"subject_delete_marker_ttl": 3 * second + 1}, {"subject_delete_marker_ttl": second, "discard": "new"},
    ]
    for number, config in enumerate(asked):
        for pedantic in (False, True):
            name = f"T{number}{'P' if pedantic else ''}"
            s.api(f"STREAM.CREATE.{name}", {"name": name, "storage": s.storage, "pedantic": pedantic, **config})
    s.api("STREAM.CREATE.TP", {
        "name": "TP", "storage": s.storage, "pedantic": True, "subject_delete_marker_ttl": second,
        "allow_msg_ttl": True,
    })
    base = {"name": "T0", "storage": s.storage}
    for change in (
        {}, {"allow_msg_ttl": True, "subject_delete_marker_ttl": second}, {"allow_msg_ttl": True},
        {"allow_msg_ttl": True, "subject_delete_marker_ttl": 1}, {"subject_delete_marker_ttl": 2 * second},
        {"allow_msg_ttl": True, "allow_rollup_hdrs": True, "deny_purge": True},
    ):
        for pedantic in (False, True):
            s.api("STREAM.UPDATE.T0", {**base, "pedantic": pedantic, **change})


def _watch(s: Session, stream: str) -> None:
    """Everything that is stored from now on comes to subscription 2."""
    s.client.subscribe("watch")
    s.consumer(stream, "W", deliver_subject="watch", ack_policy="none", deliver_policy="new")


def _seen(s: Session, count: int) -> None:
    for _ in range(count):
        frame = s.client.next_message(sid="2")
        s.note(f"seen {frame.subject} {frame.headers!r} {frame.payload!r}")


def _until_empty(s: Session, stream: str, messages: int = 0) -> None:
    """Waits for the server to notice; both are asked the same, only not as often."""
    while json.loads(s.client.request(f"$JS.API.STREAM.INFO.{stream}").payload)["state"]["messages"] > messages:
        pass


def ttl_ends(s: Session) -> None:
    s.stream("E", subjects=["e.*"], allow_msg_ttl=True, max_age=1_500_000_000)
    s.publish("e.never", b"x", {"Nats-TTL": "never"})
    s.publish("e.aged", b"x", {"Nats-TTL": "1h"})
    s.publish("e.plain", b"x")
    s.publish("e.short", b"x", {"Nats-TTL": "1"})
    _until_empty(s, "E", 3)
    s.api("STREAM.INFO.E", {"subjects_filter": ">", "deleted_details": True})
    _until_empty(s, "E", 1)
    s.api("STREAM.INFO.E", {"subjects_filter": ">", "deleted_details": True})


def markers_of_age(s: Session) -> None:
    s.stream("M", subjects=["m.*"], max_age=1_000_000_000, subject_delete_marker_ttl=2_700_000_000)
    _watch(s, "M")
    for subject, headers in (
        ("m.a", None), ("m.a", None), ("m.b", None), ("m.kept", {"Nats-TTL": "never"}),
        ("m.purged", {"KV-Operation": "PURGE"}), ("m.deleted", {"KV-Operation": "DEL"}),
        ("m.marked", {"Nats-Marker-Reason": "Anything"}), ("m.unmarked", {"Nats-Marker-Reason": ""}),
        ("m.both", {"Nats-TTL": "never"}), ("m.both", None),
    ):
        s.publish(subject, b"x", headers)
    _seen(s, 10)
    _seen(s, 4)
    _until_empty(s, "M", 6)
    s.api("STREAM.INFO.M", {"subjects_filter": ">", "deleted_details": True})
    s.api("STREAM.MSG.GET.M", {"last_by_subj": "m.a"})
    _until_empty(s, "M", 2)
    s.api("STREAM.INFO.M", {"subjects_filter": ">", "deleted_details": True})


def markers_of_ttl(s: Session) -> None:
    s.stream("N", subjects=["n.*"], subject_delete_marker_ttl=1_000_000_000)
    s.stream("O", subjects=["o.*"], subject_delete_marker_ttl=60_000_000_000, max_msgs_per_subject=1)
    s.stream("R", subjects=["r.*"], subject_delete_marker_ttl=60_000_000_000)
    _watch(s, "N")
    s.consumer("O", "W", deliver_subject="watch", ack_policy="none", deliver_policy="new")
    s.publish("n.a", b"x", {"Nats-TTL": "1"})
    s.publish("n.two", b"x", {"Nats-TTL": "1"})
    s.publish("n.two", b"y")
    _seen(s, 3)
    _seen(s, 1)
    s.publish("o.a", b"x", {"Nats-TTL": "1", "Nats-Msg-Id": "id"})
    _seen(s, 2)
    s.publish("o.a", b"x", {"Nats-Expected-Last-Msg-Id": "id"})
    s.api("STREAM.INFO.O", {"subjects_filter": ">", "deleted_details": True})
    for headers in (
        {"Nats-TTL": "1"}, {"Nats-TTL": "60"}, {"Nats-TTL": "1m1s", "A": "b"}, {"A": "b", "Nats-TTL": "2s", "C": "d"},
        {"Nats-TTL": "never"}, {"Nats-TTL": "1s", "Nats-Rollup": "sub"},
    ):
        s.publish("r.a", b"x", headers)
        s.api("STREAM.MSG.GET.R", {"last_by_subj": "r.a"})
    s.publish("r.b", b"x", b"NATS/1.0\r\nNats-TTL: 1\r\nX: y\r\nNats-TTL: 99\r\n\r\n")
    s.api("STREAM.MSG.GET.R", {"last_by_subj": "r.b"})


def deletes_leave_no_marker(s: Session) -> None:
    s.stream("D", subjects=["d.*"], subject_delete_marker_ttl=60_000_000_000)
    for subject in ("d.a", "d.b", "d.c"):
        s.publish(subject, b"x")
    s.api("STREAM.MSG.DELETE.D", {"seq": 1})
    s.api("STREAM.INFO.D", {"subjects_filter": ">"})
    s.api("STREAM.PURGE.D", {"filter": "d.b"})
    s.api("STREAM.INFO.D", {"subjects_filter": ">"})
    s.api("STREAM.PURGE.D")
    s.api("STREAM.INFO.D", {"subjects_filter": ">"})
