"""What a client sees of consumers as things: creating, changing, naming, refusing, showing and deleting them.

Deliveries are in `scenarios_consumers_pull`, `_push`, `_acks`, `_counts`, `_priority` and `_control`. Streams are
made without a record: their answers are the business of `scenarios_streams`.
"""

from __future__ import annotations

import json
from typing import Any

from .compare import Session

SECOND_NS = 1_000_000_000
MS_NS = 1_000_000


def quiet(s: Session, verb: str, body: Any = b"") -> Any:
    """An API call that is not part of the record; it must succeed."""
    answer = json.loads(s.client.request(f"$JS.API.{verb}", json.dumps(body).encode() if body else b"").payload)
    assert "error" not in answer, answer
    return answer


def filled(s: Session, name: str, count: int = 5, **config: object) -> None:
    """A stream on `<name>.*` with messages m0, m1, ... on the subjects 0 and 1 in turn; not recorded."""
    storage = s.storage or "memory"
    quiet(s, f"STREAM.CREATE.{name}", {"name": name, "subjects": [f"{name}.*"], "storage": storage, **config})
    for number in range(count):
        s.client.request(f"{name}.{number % 2}", b"m%d" % number)


def named(s: Session, stream: str, name: str, action: str = "", **config: Any) -> Any:
    """A consumer made by name, not durable unless the configuration says so."""
    body = {"stream_name": stream, "config": {"name": name, **config}, "action": action}
    return s.api(f"CONSUMER.CREATE.{stream}.{name}", body)


def consumer_life(s: Session) -> None:
    filled(s, "C")
    s.consumer("C", "d", ack_policy="explicit")
    s.consumer("C", "d", ack_policy="explicit")
    s.consumer("C", "d", ack_policy="explicit", description="changed")
    s.consumer("C", "d", ack_policy="none")
    s.api("CONSUMER.INFO.C.d")
    s.api("CONSUMER.NAMES.C")
    s.api("CONSUMER.LIST.C")
    s.api("CONSUMER.NAMES.C", {"offset": 9})
    s.api("CONSUMER.LIST.C", {"offset": 9})
    s.api("CONSUMER.CREATE.C.n", {"stream_name": "C", "config": {"name": "n"}})
    s.api("CONSUMER.CREATE.C.f.C.0", {"stream_name": "C", "config": {"name": "f", "filter_subject": "C.0"}})
    s.api("CONSUMER.CREATE.C.g.C.1", {"stream_name": "C", "config": {"name": "g", "filter_subject": "C.0"}})
    made = s.client.request("$JS.API.CONSUMER.CREATE.C", b'{"stream_name":"C","config":{}}')
    assert b'"name":"' in made.payload
    s.hide(made.payload.split(b'"name":"')[1].split(b'"')[0].decode(), "<name>")
    s.frame("ephemeral", made, subject=False)
    for action in ("create", "update", "x"):
        for name in ("n", "absent" + action):
            body = {"stream_name": "C", "action": action, "config": {"name": name, "description": "other"}}
            s.api(f"CONSUMER.CREATE.C.{name}", body)
    s.api("CONSUMER.DELETE.C.d")
    s.api("CONSUMER.DELETE.C.d")
    s.api("CONSUMER.INFO.C.d")
    s.api("CONSUMER.DELETE.C.n", b"{}")


def consumer_refusals(s: Session) -> None:
    filled(s, "R", 3)
    s.client.subscribe("deliver.here")
    push = {"deliver_subject": "deliver.here"}
    bad: list[dict[str, object]] = [
        {"ack_policy": "x"}, {"deliver_policy": "x"}, {"replay_policy": "x"}, {"unknown": 1}, {"max_deliver": "1"},
        {"filter_subject": "zzz"}, {"filter_subject": "R..x"}, {"filter_subjects": ["R.0", "R.0"]},
        {"filter_subjects": ["R.0", "R.*"]}, {"filter_subject": "R.0", "filter_subjects": ["R.1"]},
        {"filter_subjects": ["R.0", ""]}, {"filter_subjects": ["zzz"]}, {"opt_start_seq": 5},
        {"deliver_policy": "by_start_sequence"}, {"deliver_policy": "by_start_time"},
        {"deliver_policy": "by_start_sequence", "opt_start_seq": 2},
        {"deliver_policy": "by_start_time", "opt_start_time": "2020-01-01T00:00:00Z"},
        {"deliver_policy": "last", "opt_start_seq": 2}, {"deliver_policy": "last_per_subject"},
        {"deliver_policy": "last_per_subject", "filter_subject": "R.*"}, {"deliver_policy": "new"},
        {"backoff": [1, 2]}, {"backoff": [SECOND_NS, SECOND_NS], "max_deliver": 1},
        {"backoff": [SECOND_NS], "max_deliver": 3, "ack_wait": 5}, {"ack_wait": -1}, {"ack_wait": 1},
        {"max_ack_pending": -5}, {"max_waiting": -1}, {"max_batch": -1}, {"max_expires": -1}, {"max_expires": 1},
        {"num_replicas": 3}, {"num_replicas": -1}, {"sample_freq": "x"}, {"sample_freq": "50%"}, {"rate_limit_bps": 5},
        {"idle_heartbeat": SECOND_NS}, {"flow_control": True}, {"deliver_group": "g"}, {"headers_only": True},
        {"inactive_threshold": -1}, {"mem_storage": True}, {"description": "x" * 4097}, {"max_deliver": 0},
        {"metadata": {"a": "b"}}, {"metadata": {"a": "x" * 140_000}}, {"direct": True},
        {**push, "max_waiting": 5}, {**push, "idle_heartbeat": 1}, {**push, "flow_control": True},
        {**push, "flow_control": True, "idle_heartbeat": SECOND_NS}, {**push, "max_batch": 1},
        {"deliver_subject": "a.*"}, {"deliver_subject": "R.0"}, {"deliver_subject": ""},
        {**push, "deliver_group": "a b"}, {**push, "rate_limit_bps": 1000},
        {"priority_policy": "x"}, {"pause_until": "x"},
    ]
    for number, config in enumerate(bad):
        s.consumer("R", f"bad{number}", **{"ack_policy": "explicit", **config})
        s.api(f"CONSUMER.DELETE.R.bad{number}")
    for name in ("a/b", "a\\b", "..", "a>b", "n" * 255, "é"):
        s.api(f"CONSUMER.CREATE.R.{name}", {"stream_name": "R", "config": {"name": name}})
    s.api("CONSUMER.CREATE.R.x", {"stream_name": "R", "config": {"name": "y"}})
    s.api("CONSUMER.CREATE.R.x", {"stream_name": "Z", "config": {"name": "x"}})
    s.api("CONSUMER.DURABLE.CREATE.R.x", {"stream_name": "R", "config": {}})
    s.api("CONSUMER.DURABLE.CREATE.R.x", {"stream_name": "R", "config": {"durable_name": "y"}})
    s.api("CONSUMER.CREATE.R", {"stream_name": "R", "config": {"durable_name": "y"}})
    s.api("CONSUMER.CREATE.NONE.x", {"stream_name": "NONE", "config": {"name": "x"}})
    for body in (b"", b"{", b"[]", b"null", b"{}", b'{"config":null}', b'{"stream_name":"R","bad":1}'):
        s.api("CONSUMER.CREATE.R.x", body)


def more_refusals(s: Session) -> None:
    """Every other error code, and the order in which two faults are named."""
    filled(s, "RR", 3)
    push = {"deliver_subject": "deliver.rr"}
    bad: list[dict[str, object]] = [
        {"backoff": [-1]}, {"backoff": [SECOND_NS], "max_deliver": 1}, {"backoff": [5, 6], "max_deliver": 2},
        {"ack_policy": "none", "max_ack_pending": 5}, {**push, "ack_policy": "none", "max_ack_pending": 5},
        {**push, "max_ack_pending": -1, "ack_policy": "none"}, {**push, "max_waiting": -1},
        {"idle_heartbeat": -1}, {**push, "idle_heartbeat": -1}, {**push, "idle_heartbeat": 100 * MS_NS - 1},
        {**push, "idle_heartbeat": 100 * MS_NS}, {"max_bytes": -1}, {"max_batch": 0},
        {"deliver_subject": "a b"}, {"deliver_subject": "a..b"}, {"deliver_subject": ".a"},
        {"deliver_subject": "RR.>"}, {"deliver_subject": "a.>"}, {"deliver_subject": "$JS.API.INFO"},
        {"filter_subject": ">"},
        {"filter_subject": "a b"}, {"filter_subjects": ["RR.*", "RR.>"]}, {"filter_subjects": ["RR.1", "RR.0"]},
        {"filter_subjects": ["RR.*.a", "RR.b.*"]}, {"filter_subjects": []}, {"filter_subjects": None},
        {"deliver_policy": "new", "opt_start_time": "2020-01-01T00:00:00Z"},
        {"deliver_policy": "all", "opt_start_time": "2020-01-01T00:00:00Z"},
        {"deliver_policy": "last_per_subject", "opt_start_seq": 1},
        {"deliver_policy": "by_start_sequence", "opt_start_seq": 1, "opt_start_time": "2020-01-01T00:00:00Z"},
        {"deliver_policy": "by_start_time", "opt_start_seq": 1, "opt_start_time": "2020-01-01T00:00:00Z"},
        {"deliver_policy": "by_start_time", "opt_start_time": "2020-01-01"},
        {"deliver_policy": "undefined"}, {"deliver_policy": ""}, {"ack_policy": ""}, {"replay_policy": ""},
        {"sample_freq": "100%%"}, {"sample_freq": "-5"}, {"sample_freq": "0"}, {"sample_freq": "250%"},
        {"sample_freq": "1.5"}, {"sample_freq": ""}, {"opt_start_seq": -1}, {"max_deliver": -7}, {"num_replicas": 1},
        {"inactive_threshold": SECOND_NS}, {"headers_only": "yes"}, {"backoff": 5}, {"metadata": {"a": 5}},
        {"metadata": {"_nats.ver": "1", "_nats.x": "2", "b": "1", "a": "2"}}, {"metadata": {}},
        {"direct": True, **push},
        {"num_replicas": -1, "ack_wait": -1}, {"description": "x" * 5000, "deliver_subject": "a.*"},
        {**push, "filter_subject": "a b", "sample_freq": "x"}, {"flow_control": True, "rate_limit_bps": 5},
        {"durable_name": ""}, {"rate_limit_bps": -1}, {"max_expires": 999_999},
    ]
    for number, config in enumerate(bad):
        s.consumer("RR", f"bad{number}", **{"ack_policy": "explicit", **config})
        s.client.request(f"$JS.API.CONSUMER.DELETE.RR.bad{number}")
    for config in bad[:8]:
        body = {"stream_name": "RR", "config": {"name": "p", "ack_policy": "explicit", **config}, "pedantic": True}
        s.api("CONSUMER.CREATE.RR.p", body)
        s.client.request("$JS.API.CONSUMER.DELETE.RR.p")


def create_subjects(s: Session) -> None:
    """The legacy and the named subjects, with everything that can disagree."""
    filled(s, "CS", 3)
    make = {"stream_name": "CS", "config": {"ack_policy": "explicit"}}

    def config(**fields: object) -> dict[str, object]:
        return {"stream_name": "CS", "config": {"ack_policy": "explicit", **fields}}

    s.api("CONSUMER.CREATE.CS.a", config(durable_name="b"))
    s.api("CONSUMER.CREATE.CS.a", config(durable_name="a", name="b"))
    s.api("CONSUMER.CREATE.CS.a", config(durable_name="a"))
    s.api("CONSUMER.CREATE.CS.a", config(name="a"))
    s.api("CONSUMER.CREATE.CS", config(name="byname"))
    s.api("CONSUMER.CREATE.CS", config(name="byname", description="again"))
    s.api("CONSUMER.CREATE.CS", config(name="a.b"))
    s.api("CONSUMER.CREATE.CS", config(name="a/b"))
    s.api("CONSUMER.CREATE.CS.c.CS.0", config(filter_subject="CS.0"))
    s.api("CONSUMER.CREATE.CS.c.CS.>", config(filter_subject="CS.>"))
    s.api("CONSUMER.CREATE.CS.c.CS.*", config(filter_subjects=["CS.*"]))
    s.api("CONSUMER.CREATE.CS.c2.CS.*", config())
    s.api("CONSUMER.CREATE.CS.c2.>", config(filter_subject=">"))
    s.api("CONSUMER.DURABLE.CREATE.CS.d", config(durable_name="d", name="e"))
    s.api("CONSUMER.DURABLE.CREATE.CS.d", config(name="d"))
    s.api("CONSUMER.DURABLE.CREATE.CS.d", config(durable_name="d", name="d"))
    s.api("CONSUMER.DURABLE.CREATE.CS." + "d" * 256, config(durable_name="d" * 256))
    s.api("CONSUMER.DURABLE.CREATE.CS.d\\x", config(durable_name="d\\x"))
    s.api("CONSUMER.DURABLE.CREATE.NONE.d", {"stream_name": "NONE", "config": {"durable_name": "d"}})
    s.api("CONSUMER.CREATE.CS.level", make, {"Nats-Required-Api-Level": "99"})
    s.api("CONSUMER.CREATE.CS.level", make, {"Nats-Required-Api-Level": "1"})
    s.api("CONSUMER.NAMES.CS")


def actions(s: Session) -> None:
    filled(s, "AC", 2)
    named(s, "AC", "a", "update")
    named(s, "AC", "a", "create", ack_policy="explicit")
    named(s, "AC", "a", "create", ack_policy="explicit")
    named(s, "AC", "a", "create", ack_policy="explicit", description="x")
    named(s, "AC", "a", "create", ack_policy="explicit", metadata={"k": "v"})
    named(s, "AC", "a", "create", ack_policy="explicit", metadata={"_nats.ver": "9"})
    named(s, "AC", "a", "update", ack_policy="explicit", description="x")
    named(s, "AC", "a", "update", ack_policy="all")
    named(s, "AC", "a", "", ack_policy="explicit", max_ack_pending=7)
    named(s, "AC", "a", "create", ack_policy="explicit", max_ack_pending=7)
    for action in (b'"CREATE"', b"null", b"1", b'"delete"'):
        s.api("CONSUMER.CREATE.AC.z", b'{"stream_name":"AC","config":{},"action":' + action + b"}")


def update_rules_pull(s: Session) -> None:
    filled(s, "UP", 4)
    base: dict[str, object] = {"ack_policy": "explicit", "filter_subject": "UP.0"}
    s.consumer("UP", "c", **base)
    changes: list[dict[str, object]] = [
        {"deliver_policy": "new"}, {"deliver_policy": "by_start_sequence", "opt_start_seq": 2}, {"ack_policy": "all"},
        {"replay_policy": "original"}, {"max_waiting": 5}, {"max_waiting": 512}, {"mem_storage": True},
        {"deliver_subject": "deliver.up", "max_waiting": 0}, {"description": "d"}, {"ack_wait": SECOND_NS},
        {"max_deliver": 5}, {"backoff": [SECOND_NS, 2 * SECOND_NS], "max_deliver": 5},
        {"backoff": [SECOND_NS, 2 * SECOND_NS], "max_deliver": 2}, {"backoff": [SECOND_NS] * 3, "max_deliver": 2},
        {"max_ack_pending": 9}, {"max_ack_pending": -1}, {"headers_only": True}, {"sample_freq": "30%"},
        {"max_batch": 3}, {"max_expires": SECOND_NS}, {"max_bytes": 1000}, {"inactive_threshold": 60 * SECOND_NS},
        {"num_replicas": 1}, {"metadata": {"a": "b"}}, {"filter_subject": "UP.1"}, {"filter_subject": ""},
        {"filter_subject": "", "filter_subjects": ["UP.0", "UP.1"]}, {"filter_subject": "UP.7"}, {"direct": True},
        {"rate_limit_bps": 100}, {},
    ]
    for change in changes:
        s.consumer("UP", "c", **{**base, **change})
    s.consumer("UP", "t", ack_policy="explicit", deliver_policy="by_start_time", opt_start_time="2020-01-01T00:00:00Z")
    s.consumer("UP", "t", ack_policy="explicit", deliver_policy="by_start_time", opt_start_time="2021-01-01T00:00:00Z")
    s.api("CONSUMER.LIST.UP")


def update_rules_push(s: Session) -> None:
    filled(s, "US", 0)
    base: dict[str, object] = {"ack_policy": "explicit", "deliver_subject": "deliver.us", "idle_heartbeat": SECOND_NS}
    s.consumer("US", "c", **base)
    changes: list[dict[str, object]] = [
        {"idle_heartbeat": 2 * SECOND_NS}, {"idle_heartbeat": 0}, {"flow_control": True}, {"deliver_subject": ""},
        {"deliver_subject": "", "idle_heartbeat": 0}, {"deliver_group": "g"}, {"deliver_subject": "deliver.other"},
        {"rate_limit_bps": 8000}, {"max_ack_pending": 3}, {},
    ]
    for change in changes:
        s.consumer("US", "c", **{**base, **change})
    sid = s.client.subscribe("deliver.us")
    s.consumer("US", "c", **{**base, "deliver_subject": "deliver.us2"})
    s.client.unsubscribe(sid)
    sid = s.client.subscribe("deliver.*")
    s.consumer("US", "c", **{**base, "deliver_subject": "deliver.us2"})
    s.client.unsubscribe(sid)
    s.consumer("US", "c", **{**base, "deliver_subject": "deliver.us2"})
    s.consumer("US", "c", **{**base, "deliver_subject": "US.cycle"})


def consumer_limits_of_the_stream(s: Session) -> None:
    filled(s, "CL", 1, consumer_limits={"max_ack_pending": 10, "inactive_threshold": 30 * SECOND_NS}, max_consumers=6)
    for number, config in enumerate((
        {}, {"max_ack_pending": 10}, {"max_ack_pending": 11}, {"max_ack_pending": -1},
        {"inactive_threshold": SECOND_NS}, {"inactive_threshold": 31 * SECOND_NS}, {"ack_policy": "none"},
        {"ack_policy": "none", "max_ack_pending": 11},
    )):
        s.consumer("CL", f"c{number}", **{"ack_policy": "explicit", **config})
    for config in ({}, {"max_ack_pending": 5}, {"max_ack_pending": 5, "inactive_threshold": SECOND_NS}):
        body = {"stream_name": "CL", "config": {"name": "p", "ack_policy": "explicit", **config}, "pedantic": True}
        s.api("CONSUMER.CREATE.CL.p", body)
    s.consumer("CL", "c0", ack_policy="explicit", description="room for an update")
    s.consumer("CL", "toomany", ack_policy="explicit")
    s.api("CONSUMER.NAMES.CL")


def pedantic(s: Session) -> None:
    filled(s, "PE", 1)
    for config in (
        {"max_deliver": -2}, {"max_deliver": -1}, {"max_waiting": -1}, {"max_ack_pending": -2}, {"max_batch": -1},
        {"max_expires": -1}, {"max_bytes": -1}, {"idle_heartbeat": -1}, {"inactive_threshold": -1},
        {"priority_timeout": -1}, {"backoff": [SECOND_NS]}, {"backoff": [SECOND_NS], "ack_wait": SECOND_NS}, {},
    ):
        body = {"stream_name": "PE", "config": {"name": "p", "ack_policy": "explicit", **config}, "pedantic": True}
        s.api("CONSUMER.CREATE.PE.p", body)
        s.client.request("$JS.API.CONSUMER.DELETE.PE.p")


def config_echo(s: Session) -> None:
    """Every field comes back, in its place, with its defaults."""
    filled(s, "CE", 1)
    named(s, "CE", "pull", durable_name="pull", description="d", deliver_policy="by_start_sequence", opt_start_seq=9,
          ack_policy="explicit", ack_wait=3 * SECOND_NS, max_deliver=4, backoff=[SECOND_NS, 2 * SECOND_NS],
          filter_subjects=["CE.0", "CE.1"], replay_policy="original", sample_freq="50%", max_waiting=7,
          max_ack_pending=8, headers_only=True, max_batch=9, max_expires=SECOND_NS, max_bytes=1000,
          inactive_threshold=60 * SECOND_NS, num_replicas=1, mem_storage=True, metadata={"z": "1", "a": "<&>"})
    named(s, "CE", "push", durable_name="push", deliver_policy="by_start_time",
          opt_start_time="2020-01-02T03:04:05.678900000Z", ack_policy="all", filter_subject="CE.*",
          rate_limit_bps=1024, flow_control=True, deliver_subject="deliver.ce", deliver_group="g",
          idle_heartbeat=SECOND_NS)
    named(s, "CE", "none")
    named(s, "CE", "eph", ack_policy="explicit", inactive_threshold=7 * SECOND_NS)
    s.api("CONSUMER.INFO.CE.pull")
    s.api("CONSUMER.INFO.CE.push")
    s.api("CONSUMER.LIST.CE")


def asking(s: Session) -> None:
    """INFO, NAMES, LIST and DELETE with every kind of body."""
    filled(s, "AS", 1)
    for name in ("b", "a", "B", "a-b", "a_b"):
        quiet(s, f"CONSUMER.CREATE.AS.{name}", {"stream_name": "AS", "config": {"name": name}})
    for verb in ("NAMES", "LIST"):
        for body in (b"", b"{}", b'{"offset":3}', b'{"offset":-3}', b'{"offset":5}', b'{"offset":99}',
                     b'{"offset":"1"}', b'{"subject":"x"}', b'{"bad":1}', b"{", b"junk", b"[]", b"null", b" "):
            s.api(f"CONSUMER.{verb}.AS", body)
        s.api(f"CONSUMER.{verb}.NONE")
    for body in (b"", b"{}", b"x", b"null", b" ", b'{"a":1}', b"[]"):
        s.api("CONSUMER.INFO.AS.a", body)
        s.api("CONSUMER.INFO.AS.none", body)
        s.api("CONSUMER.DELETE.AS.none", body)
    s.api("CONSUMER.INFO.NONE.a")
    s.api("CONSUMER.DELETE.NONE.a")
    for body in (b"x", b'{"a":1}', b"{}"):
        s.api("CONSUMER.DELETE.AS.a", body)
    s.api("CONSUMER.NAMES.AS")
    s.api("CONSUMER.LEADER.STEPDOWN.AS.b")


def advisories_of_life(s: Session) -> None:
    sid = s.client.subscribe("$JS.EVENT.ADVISORY.CONSUMER.>")
    filled(s, "AD", 1)
    quiet(s, "CONSUMER.CREATE.AD.a", {"stream_name": "AD", "config": {"name": "a"}})
    quiet(s, "CONSUMER.CREATE.AD.a", {"stream_name": "AD", "config": {"name": "a", "description": "x"}})
    quiet(s, "CONSUMER.DELETE.AD.a")
    quiet(s, "CONSUMER.CREATE.AD.b", {"stream_name": "AD", "config": {"name": "b"}})
    quiet(s, "STREAM.DELETE.AD")
    s.frames("advisories", [s.client.next_message(sid=sid) for _ in range(4)])


def consumers_of_other_streams(s: Session) -> None:
    """direct and sourcing: not listed, not counted, bound to the stream's identity."""
    filled(s, "DI", 2, max_consumers=1)
    sid = s.client.subscribe("deliver.di")

    def make(name: str, headers: dict[str, str] | None = None, **config: object) -> None:
        body = {"stream_name": "DI", "config": {"name": name, "deliver_subject": "deliver.di", **config}}
        frame = s.client.request(f"$JS.API.CONSUMER.CREATE.DI.{name}", json.dumps(body).encode(), headers)
        if b"Nats-Stream-Identity" in frame.headers:
            s.hide(frame.headers.split(b": ")[1].split(b"\r")[0].decode(), "<identity>")
        if (own := json.loads(frame.payload).get("name", "")) != name and own:
            assert own.startswith(name + "-") and len(own) == len(name) + 9
            s.hide(own, f"<{name}-more>")
        s.frame(f"make {name}", frame, subject=False)

    make("direct", direct=True)
    make("source", direct=True, sourcing=True)
    durable = {"durable_name": "durable", "sourcing": True, "ack_policy": "flow_control"}
    make("durable", **durable)
    make("durable", **durable, deliver_policy="by_start_sequence", opt_start_seq=2)
    make("other", {"Nats-Stream-Identity": "wrong"}, sourcing=True)
    make("plain", {"Nats-Stream-Identity": "wrong"})
    make("toomany")
    frames = sorted((s.client.next_message(sid=sid) for _ in range(10)), key=lambda frame: frame.reply)
    s.frames("delivered", frames)
    for verb in ("INFO.DI.direct", "NAMES.DI", "LIST.DI"):
        s.api(f"CONSUMER.{verb}")
    s.note(f"{quiet(s, 'STREAM.INFO.DI')['state']['consumer_count']}")
    frame = s.client.request("$JS.API.CONSUMER.RESET.DI.durable", b"", {"Nats-Stream-Identity": "x"})
    s.frame("reset", frame, subject=False)
    make("direct", direct=True, ack_policy="explicit")
    make("direct", direct=True, sourcing=True)
    s.api("CONSUMER.DELETE.DI.direct")


ZONED = [
    "2020-01-01T00:00:00Z", "2020-01-01T00:00:00+00:00", "2020-01-01T00:00:00-00:00", "2020-01-01T00:00:00+02:00",
    "2020-01-01T00:00:00.120+02:00", "2020-01-01T00:00:00.123456789-05:30", "2020-01-01T1:00:00,5+02:00",
    "2020-01-01T00:00:00+23:59", "2020-01-01T00:00:00+02:60", "9999-12-31T23:59:59-10:00",
    "0001-01-01T02:00:00+02:00", "1969-01-01T02:00:00+02:00", "0000-01-01T00:00:00+02:00",
]


def zones_of_times(s: Session) -> None:
    """A time is shown in the zone in which it came; a time of another zone is no other time."""
    filled(s, "Z", 1)
    for number, moment in enumerate(ZONED):
        s.consumer("Z", f"c{number}", deliver_policy="by_start_time", opt_start_time=moment)
    for moment in ("2020-01-01T00:00:00Z", "2020-01-01T02:00:00+02:00", "2020-01-01T03:00:00+02:00"):
        for action in ("", "create", "update"):
            named(s, "Z", "n", action, deliver_policy="by_start_time", opt_start_time=moment)
    s.consumer("Z", "p", pause_until="2001-01-01T00:00:00+02:00")
    s.api("CONSUMER.PAUSE.Z.p", {"pause_until": "2001-01-01T00:00:00+03:00"})
    s.api("CONSUMER.INFO.Z.p")
    # Clients in Go write out the time that is none; it asks for no API level.
    s.consumer("Z", "q", pause_until="0001-01-01T00:00:00Z")
    s.consumer("Z", "r", pause_until="0001-01-01T02:00:00+02:00")


def zones_after_a_restart(s: Session) -> None:
    s.stream("ZR", subjects=["ZR.*"], storage="file")
    for number, moment in enumerate(ZONED[:6]):
        s.consumer("ZR", f"c{number}", deliver_policy="by_start_time", opt_start_time=moment)
    s.target.restart()
    s.client = s.target.connect()
    for number in range(6):
        s.api(f"CONSUMER.INFO.ZR.c{number}")


def many_filters(s: Session) -> None:
    """Hundreds of filters, which may share subjects; none may be within another."""
    filled(s, "MF", 2)
    sharing = [f"MF.*.{number}" if number % 2 else f"MF.{number}.*" for number in range(600)]
    for filters in (
        sharing, [*sharing, "MF.7.x"], [*sharing, "MF.8.x"], [*sharing, sharing[5]], ["MF.0", "MF 1", "MF.*"],
        ["MF 1", "MF.0", "MF.*"], ["MF.*", "MF.0", "MF 1"], ["MF.>", "MF.*.a"], ["MF.*", "MF.>"],
    ):
        body = {"stream_name": "MF", "config": {"name": "c", "filter_subjects": filters}}
        answer = s.client.request("$JS.API.CONSUMER.CREATE.MF.c", json.dumps(body).encode())
        s.note(f"{len(filters)} {filters[-1]}: {json.loads(answer.payload).get('error')}")
        s.client.request("$JS.API.CONSUMER.DELETE.MF.c")


def nobody_there(s: Session) -> None:
    """Who asks what is not there, or not served, hears at once that there are no responders."""
    filled(s, "NB", 1)
    filled(s, "ND", 1, allow_direct=True)
    s.consumer("NB", "c")
    s.consumer("NB", "push", deliver_subject="nobody")
    for verb in (
        "DIRECT.GET", "DIRECT.GET.X", "DIRECT.GET.NB", "DIRECT.GET.NB.NB.0", "DIRECT.GET.ND.x",
        "CONSUMER.MSG.NEXT.NB", "CONSUMER.MSG.NEXT.NB.x", "CONSUMER.MSG.NEXT.X.c", "CONSUMER.MSG.NEXT.NB.c.x",
        "CONSUMER.MSG.NEXT.NB.push",
    ):
        for body in (b"", b"{}", b'{"seq":1}'):
            s.frame(f"{verb} {body!r}", s.client.request(f"$JS.API.{verb}", body), subject=False)
