"""What a client sees of the JetStream API itself: bodies, refusals, limits of each field, levels, advisories."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from millpond.jetstream.config_wire import STREAM_FIELDS
from millpond.jetstream.go_json import Choice, ListOf, MapOf, Shape

from .compare import Session
from .scenarios_streams import update
from .wire_client import Frame

BODIES = (
    b"", b" ", b"{", b"[]", b"null", b"1", b'"x"', b"{}", b"\xff\xfe", b'{"name":"A","name":"B"}', b"{} x", b"{}{}",
    b'{"name":"A"}{"name":"B"}', b'{"name":"A\xff"}', b"[" * 500,
    b'{"NAME":"A","Storage":"memory"}', b'{"name":null}', b"tru", b"trux",
    b"nullx", b"01", b"-", b"-x", b"1.x", b"1ex", b'{"a":1,}', b'{"a" 1}', b"{a:1}", b'{"a":1 1}', b"[1 2]",
    b'["\\x"]', b'["\\u12G4"]', b'["\x01"]', b"\xef\xbb\xbf{}", b"'", b'{"name":NaN}', b'{"name":Infinity}', b"[}",
    b'{"a":}', b"}", b"{]", b"[1}", b'{"a":1]', b"[,", b"{,", b",", b":{}", b'{"a":1},', b'{"a"::1}', b"{1:2}",
    b'{"a":"\\ud800\\u12"}', b'{"a":"\\u12x', b'{"a":"\\`"}', b'{"a":"\\\xff"}', b'{"a":\xe2\x80\xa8}', b"{}\x85",
    b"1e+x", b'{"max_msgs":01}', b'{"max_msgs":1.}', b"//x", b"{}//", b'{"x\\u0000\\u2028\xff\\ud800`":1}',
    b'{"metadata":{"a/b~c.d":1}}', b'{"metadata":{"5":1}}', b'{"\xc5\xbftorage":"x"}', b'{"max-msgs":"x"}', b"\0",
    b'{"sources":[1]}', b'{"sources":[{"external":{"api":1}}]}', b'{"subjects":[1]}', b'{"max_msgs":"1","unknown":1}',
    b'{"unknown":1,"max_msgs":"1"}', b'{"retention":"\\u006cimits"}', b'{"compression":"\\u0073\\u0032"}',
    b'{"offset":"1"}', b'{"offset":1.5}', b'{"subject":1}', b'{"seq":-1}', b'{"seq":18446744073709551615}',
    b'{"seq":18446744073709551616}', b'{"keep":true}', b'{"filter":[]}', b'{"no_erase":1}',
    b'{"deleted_details":"yes"}',
    b'{"subjects_filter":1}', b'{"start_time":"x"}', b'{"multi_last":"x"}', b'{"batch":-1}', b'{"max_bytes":-1}',
    b'{"no_hdr":0}', b'{"last_by_subj":1}', b'{"seq":1,"last_by_subj":"e"}', b'{"up_to_time":"x","seq":1}',
)
VERBS = (
    "INFO", "STREAM.CREATE.A", "STREAM.UPDATE.A", "STREAM.NAMES", "STREAM.LIST", "STREAM.INFO.A", "STREAM.INFO.E",
    "STREAM.PURGE.E", "STREAM.MSG.GET.E", "STREAM.MSG.DELETE.E", "STREAM.DELETE.A", "CONSUMER.NAMES.E",
    "CONSUMER.LIST.E",
)


def bodies(s: Session) -> None:
    """Every body to every verb: what is read of it, and the words when it cannot be read."""
    s.stream("E", subjects=["e"])
    for verb in VERBS:
        s.note(f"== {verb}")
        for body in BODIES:
            if verb == "INFO":
                s.account(body)
                continue
            s.api(verb, body)
            if verb.startswith("STREAM.CREATE"):
                s.client.request("$JS.API.STREAM.DELETE.A")
    s.api("STREAM.NAMES")


def deep_nesting(s: Session) -> None:
    s.stream("E", subjects=["e"])
    for body in (b"[" * 10_000, b"[" * 10_001, b'{"a":' * 10_001, b" [" * 10_001, b"[" * 100_000, b'{"a":' * 100_000,
                 b"[" * 10_000 + b"]" * 10_000, b'{"name":' + b"[" * 9_999 + b"]" * 9_999 + b"}"):
        for verb in ("STREAM.CREATE.A", "STREAM.INFO.E", "STREAM.MSG.GET.E", "STREAM.DELETE.E"):
            frame = s.client.request(f"$JS.API.{verb}", body)
            s.note(f"{verb} {body[:8]!r} x {len(body)} -> {frame.payload!r}")
        frame = s.client.request("$JS.API.STREAM.CREATE.A", b'{"name":"A","x":' + body)
        s.note(f"inside -> {frame.payload!r}")


INTEGERS = (0, -1, 1, -2, 2**31 - 1, 2**31, -(2**31) - 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**30)
WRONG: tuple[bytes, ...] = (
    b'"1"', b"1.0", b"1.5", b"1e3", b"-0", b"true", b"null", b"[]", b"{}", b'""', b"NaN", b"01", b"9" * 4000,
)
TEXTS: tuple[bytes, ...] = (
    b'""', b'"x"', b'"a.b"', b'"*"', b'">"', b'"a.>"', b'"a b"', b'"a\\u0000b"', b'"a\\u0001b"', b'"a/b"', b'"..\\/.."',
    b'"a\xffb"', b'"\\ud800"', b'"a\\udc00\\ud800b"', b'"\\ud83d\\ude00"', b'"\xf0\x9f\x98\x80"', b'"<&>\\u2028"',
    b'"' + b"n" * 5000 + b'"', b"1", b"true", b"null", b"[]", b"{}", b'"..a"', b'"a..b"', b'" "', b'"\\t"', b'"$JS.x"',
)


def values_of(kind: Any) -> Iterator[bytes]:
    """JSON texts that try a field of this kind: bounds, enormities, wrong types, odd strings."""
    if isinstance(kind, Choice):
        yield from (json.dumps(value).encode() for value in kind.values)
        yield from (json.dumps(value.upper()).encode() for value in kind.values)
        yield from TEXTS[:8] + WRONG
    elif isinstance(kind, ListOf):
        yield from (b"[]", b"[null]", b"{}", b"1", b'"x"', b"null", b"[[]]", b"[1]", b"[true]")
        if kind.kind == "string":
            yield from (b"[" + text + b"]" for text in TEXTS)
            yield from (b'["x","x"]', b'["x","*"]', b'["a.b","a.*","c"]', b'["x",1]', b'["x"' + b',"y.z"' * 2 + b"]")
    elif isinstance(kind, MapOf):
        yield from (b"{}", b"[]", b"1", b'"x"', b"null", b'{"a":1}', b'{"a":null}', b'{"a":{}}', b'{"":""}')
        yield from (b'{"k":' + text + b"}" for text in TEXTS)
        yield from (b"{" + text + b':"v"}' for text in TEXTS if text[:1] == b'"')
    elif isinstance(kind, Shape):
        yield from (b"{}", b"[]", b"1", b'"x"', b"null", b'{"unknown":1}')
        for name, inner in kind.fields.items():
            yield from (b'{"' + name.encode() + b'":' + value + b"}" for value in values_of(inner))
    elif kind == "string":
        yield from TEXTS
    elif kind == "bool":
        yield from (b"true", b"false", *WRONG)
    elif kind == "time.Time":
        yield from (b'"x"', b'"2020-01-01T00:00:00Z"', b'"0001-01-01T00:00:00Z"', b'"2020-02-30T00:00:00Z"', *WRONG)
    else:
        yield from (b"%d" % value for value in INTEGERS)
        yield from WRONG


ELSEWHERE = frozenset(["mirror", "sources", "subject_transform", "republish"])
"""Fields of features that other scenarios try."""


def is_not_here(s: Session, field: str, value: bytes) -> bool:
    """What only file storage has."""
    return field == "storage" and value == b'"file"' and s.storage == "memory"


def every_field_at_its_bounds(s: Session) -> None:
    """Each field of a stream's configuration with each odd value, in a create and in an update."""
    storage = s.storage.encode() or b"file"
    s.stream("OTHER", subjects=["other"])
    for field, kind in STREAM_FIELDS.items():
        if field in ELSEWHERE:
            continue
        for value in values_of(kind):
            if is_not_here(s, field, value):
                continue
            config = b'"storage":"%b","%b":%b' % (storage, field.encode(), value)
            for verb in ("CREATE", "UPDATE"):
                frame = s.client.request(f"$JS.API.STREAM.{verb}.V", b'{"name":"V",' + config + b"}")
                s.frame(f"{verb} {field} {value[:60]!r}", frame, subject=False)
            s.api("STREAM.DELETE.V")
    s.api("STREAM.NAMES")


def combinations(s: Session) -> None:
    """What does not go together, and which of two errors comes first."""
    s.stream("TAKEN", subjects=["taken.>"], allow_direct=True)
    bad: list[dict[str, Any]] = [
        {"subjects": ["taken.x"]}, {"subjects": [">"]}, {"subjects": ["*.x"]}, {"subjects": ["taken"]},
        {"subjects": ["a", "a"]}, {"subjects": ["a.>", "a.b"]}, {"subjects": ["é.<>", "é.*"]},
        {"subjects": ["$JS.API.x"]},
        {"subjects": ["$SYS.x"]}, {"subjects": ["$SYS.ACCOUNT.x"]}, {"subjects": ["$JS.EVENT.x"]},
        {"subjects": ["$JS.>"]},
        {"subjects": ["$JS.API.x"], "no_ack": True}, {"subjects": ["$KV.x.>"]}, {"subjects": ["*"]},
        {"subjects": ["*.>"]},
        {"max_age": -1}, {"max_age": 1}, {"max_age": 10**9, "duplicate_window": 10**10}, {"duplicate_window": 1},
        {"duplicate_window": -1}, {"max_age": 10**8, "duplicate_window": 10**8}, {"max_age": -1,
        "duplicate_window": -1},
        {"num_replicas": 3}, {"num_replicas": 6}, {"num_replicas": -1}, {"num_replicas": 3, "max_age": 1},
        {"num_replicas": 3, "sealed": True}, {"discard_new_per_subject": True}, {"sealed": True},
        {"mirror_direct": True},
        {"discard_new_per_subject": True, "discard": "new"}, {"deny_purge": True, "allow_rollup_hdrs": True},
        {"sealed": True, "mirror_direct": True}, {"description": "x" * 4097},
        {"description": "é" * 2048}, {"description": "é" * 2049}, {"metadata": {"k": "x" * 131_071}},
        {"metadata": {"k": "x" * 131_055}}, {"metadata": {"k": "x" * 131_054}}, {"metadata": {"_nats.req.level": "9"}},
        {"max_bytes": -5, "max_msgs": -7, "max_msg_size": -3, "max_consumers": -2, "max_msgs_per_subject": -9},
        {"consumer_limits": {"inactive_threshold": -1}}, {"consumer_limits": {"max_ack_pending": -5}},
        {"consumer_limits": {"max_ack_pending": -1}}, {"consumer_limits": {"inactive_threshold": 1,
        "max_ack_pending": 0}},
        {"placement": {}}, {"placement": {"preferred": "x"}}, {"placement": {"cluster": "x"}},
        {"placement": {"tags": []}},
        {"persist_mode": "default"}, {"persist_mode": ""}, {"compression": "none"},
    ]
    for number, config in enumerate(bad):
        s.stream(f"BAD{number}", **config)
        update(s, f"BAD{number}", **config)
        s.api(f"STREAM.DELETE.BAD{number}")
    s.stream("BAD/", sealed=True)
    s.stream("BAD/", mirror_direct=True, max_age=1)
    s.api("STREAM.NAMES")


def same_again(s: Session) -> None:
    """Creating what is there already: the same is accepted, whatever way it was said."""
    s.stream("SAME", subjects=["same"])
    for config in ({}, {"subjects": ["SAME"]}, {"max_msgs": 0}, {"max_msgs": -1}, {"max_msgs": 5}, {"metadata": {}},
                   {"metadata": {"_nats.ver": "x"}}, {"metadata": {"_nats.level": "9", "_nats.req.level": "7"}},
                   {"metadata": {"a": "b"}}, {"description": ""}, {"description": "x"}, {"num_replicas": 1},
                   {"duplicate_window": 120_000_000_000}, {"retention": "limits"}, {"first_seq": 0}, {"first_seq": 1},
                   {"consumer_limits": {}}, {"placement": {}}, {"persist_mode": "default"}, {"compression": "none"},
                   {"discard": "NEW"}, {"discard": "Old"}):
        s.stream("SAME", **{"subjects": ["same"], **config})


def pedantic(s: Session) -> None:
    s.stream("PED", subjects=["ped"], pedantic=True)
    for config in ({"max_msgs": -2}, {"max_msgs_per_subject": -2}, {"max_bytes": -2}, {"max_msg_size": -2},
                   {"max_consumers": -2}, {"max_msgs": -2, "max_bytes": -2}, {"max_age": 10**10}, {"max_msgs": -1},
                   {"max_msgs": 0}, {"max_age": 10**10, "duplicate_window": 10**10}, {"sealed": True}):
        s.stream("PED2", subjects=["ped2"], pedantic=True, **config)
        update(s, "PED", subjects=["ped"], pedantic=True, **config)
        s.api("STREAM.DELETE.PED2")
    s.stream("PED3", subjects=["ped3"], pedantic=False, max_msgs=-2)
    s.stream("PED4", subjects=["ped4"], pedantic="yes")


def stream_names(s: Session) -> None:
    for name in ("a/b", "a\\b", "..", "a*b", "a>b", "n" * 255, "n" * 256, "é" * 128, "a\x01b", "é", "a-b_c", "$x",
                 "a\x7f"):
        s.stream(name, subjects=["names.x"])
        for verb in ("INFO", "PURGE", "MSG.GET", "MSG.DELETE", "DELETE"):
            s.api(f"STREAM.{verb}.{name}", b'{"seq":1}' if verb.startswith("MSG") else b"")
    for name in ("", "a.b", "a b", "a\tb", "a\0b", ".."):
        s.api("STREAM.CREATE.X", {"name": name})
        s.api("STREAM.UPDATE.X", {"name": name})
    s.api("STREAM.NAMES")


def required_level(s: Session) -> None:
    s.stream("E", subjects=["e"])
    for level in ("0", "5", "6", "99", "x", "", "-1", "+5", "5.0", " 5", "5 ", "99999999999999999999", "0x1"):
        s.account(headers={"Nats-Required-Api-Level": level})
        for verb in ("STREAM.CREATE.Q", "STREAM.UPDATE.E", "STREAM.NAMES", "STREAM.LIST", "STREAM.INFO.E",
                     "STREAM.DELETE.Q", "STREAM.PURGE.E", "STREAM.MSG.GET.E", "STREAM.MSG.DELETE.E", "CONSUMER.NAMES.E",
                     "CONSUMER.LIST.E", "CONSUMER.INFO.E.c", "CONSUMER.DELETE.E.c", "STREAM.LEADER.STEPDOWN.E"):
            body = b'{"name":"E","subjects":["e"]}' if "UPDATE" in verb else b""
            s.api(verb, body, headers={"Nats-Required-Api-Level": level})


def verbs_of_clusters(s: Session) -> None:
    s.stream("E", subjects=["e"])
    for verb in ("STREAM.LEADER.STEPDOWN.E", "STREAM.PEER.REMOVE.E", "STREAM.PEER.EVACUATE.E", "STREAM.CANCEL_MOVE.E",
                 "CONSUMER.LEADER.STEPDOWN.E.c", "CONSUMER.PEER.REMOVE.E.c", "CONSUMER.PEER.EVACUATE.E.c"):
        for body in (b"", b"{}", b'{"peer":"x"}', b"{"):
            s.api(verb, body)


def unknown_subjects(s: Session) -> None:
    s.stream("E", subjects=["e"])
    for subject in ("X", "STREAM", "STREAM.X.E", "STREAM.INFO", "STREAM.INFO.E.x", "STREAM.NAMES.E", "INFO.x",
                    "CONSUMER.CREATE", "CONSUMER.INFO.E", "META.LEADER.STEPDOWN", "SERVER.REMOVE", "ACCOUNT.PURGE.X",
                    "ACCOUNT.STREAM.MOVE.A.B", "META.RESCUE", "SERVER.EVACUATE", "stream.info.E", "STREAM.CREATE.A.B",
                    "STREAM.MSG.GET", "STREAM.MSG.GET.E.x", "STREAM.MSG", "STREAM.PURGE"):
        s.client.publish(f"$JS.API.{subject}", b"", s.client.new_reply())
    s.api("STREAM.INFO.*")
    s.api("STREAM.INFO.>")
    s.frames("answers to unknown subjects", s.client.flush())


def _audited(s: Session, sid: str, verb: str, count: int = 1) -> None:
    """Waits for the audit of requests: what has no reply is done when somebody was told."""
    for _ in range(count):
        while json.loads(s.client.next_message(sid=sid).payload)["subject"] != f"$JS.API.{verb}":
            pass
        s.note(f"audited: {verb}")


def without_reply(s: Session) -> None:
    """A request that nobody waits for has its effect, and its place in the counters and the audit."""
    sid = s.client.subscribe("$JS.EVENT.ADVISORY.API")
    s.client.publish("$JS.API.STREAM.CREATE.Q", b'{"name":"Q","subjects":["q"],"storage":"memory"}')
    _audited(s, sid, "STREAM.CREATE.Q")
    s.client.publish("$JS.API.STREAM.CREATE.Q", b"{")
    _audited(s, sid, "STREAM.CREATE.Q")
    s.client.publish("$JS.API.INFO")
    _audited(s, sid, "INFO")
    s.api("STREAM.INFO.Q")
    s.account()
    s.client.publish("$JS.API.STREAM.DELETE.Q")
    _audited(s, sid, "STREAM.DELETE.Q")
    s.api("STREAM.INFO.Q")
    s.account()


def counters(s: Session) -> None:
    """Which answers `$JS.API.INFO` counts, and which as errors."""
    s.stream("E", subjects=["e"])
    s.publish("e", b"x")
    for verb, body in (("INFO", b""), ("INFO", b"{"), ("STREAM.INFO.NONE", b""), ("STREAM.MSG.GET.E", b'{"seq":1}'),
                       ("STREAM.MSG.GET.E", b'{"seq":9}'), ("STREAM.MSG.DELETE.E", b'{"seq":9}'),
                       ("STREAM.MSG.DELETE.E", b""), ("STREAM.LEADER.STEPDOWN.E", b""), ("STREAM.PURGE.E", b"")):
        if verb == "INFO":
            s.account(body)
        else:
            s.api(verb, body)
        s.account()


def audited(s: Session) -> None:
    """Everything that is answered is told on `$JS.EVENT.ADVISORY.API`, but for messages that were read."""
    s.client.subscribe("$JS.EVENT.ADVISORY.API")
    s.stream("E", subjects=["e<>"])
    s.publish("e<>", b"x", {"A": "b"})
    for verb, body in (("STREAM.INFO.E", b""), ("STREAM.INFO.NONE", b" "), ("STREAM.NAMES", b"{}"), ("STREAM.LIST",
                       b""),
                       ("STREAM.CREATE.E", b'{"name":"<&>\xff\x00"}'), ("STREAM.UPDATE.E", b""), ("STREAM.PURGE.E",
                       b"{"),
                       ("STREAM.MSG.GET.E", b'{"seq":1}'), ("STREAM.MSG.GET.E", b'{"seq":9}'),
                       ("STREAM.MSG.DELETE.E", b'{"seq":9}'), ("STREAM.LEADER.STEPDOWN.E", b""), ("CONSUMER.NAMES.E",
                       b""),
                       ("CONSUMER.INFO.E.c", b""), ("STREAM.DELETE.E", b"x"), ("STREAM.DELETE.E", b"{}"), ("NOTHING",
                       b"")):
        if verb == "NOTHING":
            s.client.publish("$JS.API.NOTHING", body, s.client.new_reply())
        else:
            s.api(verb, body)
    s.client.publish("$JS.API.STREAM.CREATE.Q", b"{")
    told(s, "2", 16)


def told(s: Session, sid: str, count: int) -> None:
    """Records advisories in an order of their own: they leave the reference by several queues.

    Not those that the reference sends or not, depending on which of its queues is faster: the audit of the account
    request before the scenario, and the end of a stream, whose own queue may have gone with it.
    """
    seen: list[Frame] = []
    while len(seen) < count:
        try:
            frame = s.client.next_message(sid=sid)
        except TimeoutError:
            told_so_far = [_advisory_order(frame) for frame in seen]
            raise AssertionError(f"{len(seen)} of {count} advisories came: {told_so_far}") from None
        if _advisory_order(frame)[1] != "$JS.API.INFO" and ".ADVISORY.STREAM.DELETED." not in frame.subject:
            seen.append(frame)
    for frame in sorted(seen, key=_advisory_order):
        s.frame("advisory", frame)


def _advisory_order(frame: Frame) -> tuple[str, ...]:
    document = json.loads(frame.payload)
    what = (document.get("subject", ""), document.get("request", ""), document.get("response", "")[:100])
    return (frame.subject, *what, document.get("action", ""))


def actions(s: Session) -> None:
    """Advisories of streams and consumers, beside those of the API."""
    s.client.subscribe("$JS.EVENT.ADVISORY.>")
    s.stream("ADV", subjects=["adv"])
    s.stream("ADV", subjects=["adv"])
    update(s, "ADV", subjects=["adv"], max_msgs=5)
    update(s, "ADV", subjects=["adv"], max_msgs=5)
    update(s, "ADV", subjects=["adv"], max_age=1)
    s.consumer("ADV", "C", ack_policy="explicit")
    s.publish("adv", b"x")
    message = s.pull("ADV", "C", {"batch": 1}, 1)[0]
    s.ack(message, b"-NAK")
    s.ack(s.pull("ADV", "C", {"batch": 1}, 1)[0], b"+TERM why")
    s.api("CONSUMER.DELETE.ADV.C")
    s.consumer("ADV", "D", ack_policy="explicit")
    s.api("STREAM.PURGE.ADV")
    s.api("STREAM.DELETE.ADV")
    told(s, "2", 19)


def names_of_no_file(s: Session) -> None:
    """A zero byte in a name: nothing on disk can be called that, and memory takes it."""
    s.stream("E", subjects=["e"])
    for verb, body in ((b"STREAM.CREATE.a\0b", b'{"name":"a\\u0000b","subjects":["z"],"storage":"%b"}'),
                       (b"CONSUMER.CREATE.E.a\0b", b'{"stream_name":"E","config":{"durable_name":"a\\u0000b"}}')):
        text = body % s.storage.encode() if b"%b" in body else body
        s.client.send(b"PUB $JS.API.%b _INBOX.me.zero %d\r\n%b\r\n" % (verb, len(text), text))
        s.frame(f"{verb!r} {text!r}", s.client.next_message("_INBOX.me.zero"))
    s.api("STREAM.NAMES")
    s.api("CONSUMER.NAMES.E")
