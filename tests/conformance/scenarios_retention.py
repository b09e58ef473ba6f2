"""Work queues, interest, sealed streams, limits on consumers: what leaves when, and what is refused."""

from __future__ import annotations

import json

from .compare import Session

EXPLICIT = {"ack_policy": "explicit"}


def _state(s: Session, stream: str) -> None:
    s.api(f"STREAM.INFO.{stream}", {"subjects_filter": ">", "deleted_details": True})


def _left(s: Session, stream: str, messages: int) -> None:
    """The state, once the stream holds that many. nats-server confirms an acknowledgement before the message leaves,
    and answers others in between."""
    _until(s, stream, messages)
    _state(s, stream)


def _until(s: Session, stream: str, messages: int) -> None:
    """Waits until the stream holds that many: what leaves with an acknowledgement may leave a little later."""
    while json.loads(s.client.request(f"$JS.API.STREAM.INFO.{stream}").payload)["state"]["messages"] != messages:
        pass


def workqueue(s: Session) -> None:
    s.stream("Q", subjects=["q.*"], retention="workqueue")
    for number in range(6):
        s.publish(f"q.{number % 2}", b"%d" % number)
    s.consumer("Q", "C", **EXPLICIT, max_deliver=2, ack_wait=100_000_000)
    frames = s.pull("Q", "C", {"batch": 4}, 4)
    s.ack(frames[1])
    _left(s, "Q", 5)
    s.ack(frames[0], b"+TERM")
    s.ack(frames[2], b"-NAK")
    _left(s, "Q", 4)
    (again,) = s.pull("Q", "C", {"batch": 1}, 1)
    s.ack(again)
    s.ack(again)
    _left(s, "Q", 3)
    s.api("CONSUMER.INFO.Q.C")
    s.api("CONSUMER.DELETE.Q.C")
    _state(s, "Q")
    s.publish("q.0", b"more")
    s.consumer("Q", "D", **EXPLICIT)
    frames = s.pull("Q", "D", {"batch": 5, "no_wait": True}, 5)
    s.client.publish(frames[3].reply, b"+NXT", s.client.new_reply())
    s.publish("q.0", b"last")
    s.frame("next", s.client.next_message(sid="1"))
    _left(s, "Q", 4)


def workqueue_exhausted(s: Session) -> None:
    s.stream("X", subjects=["x"], retention="workqueue")
    s.consumer("X", "C", **EXPLICIT, max_deliver=1, ack_wait=100_000_000)
    s.client.subscribe("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.X.C")
    s.publish("x", b"1")
    (frame,) = s.pull("X", "C", {"batch": 1}, 1)
    s.pull("X", "C", {"batch": 1, "expires": 300_000_000}, 1)
    s.client.next_message(sid="2")
    _state(s, "X")
    s.ack(frame)
    _left(s, "X", 0)


def workqueue_filters(s: Session) -> None:
    s.stream("F", subjects=["f.>"], retention="workqueue")
    for subject in ("f.a", "f.b", "f.c.d", "f.nobody"):
        s.publish(subject, b"x")
    s.consumer("F", "A", **EXPLICIT, filter_subject="f.a")
    s.consumer("F", "B", **EXPLICIT, filter_subjects=["f.b", "f.c.*"])
    for name, config in (
        ("N1", {**EXPLICIT}), ("N2", {**EXPLICIT, "filter_subject": "f.*"}),
        ("N3", {**EXPLICIT, "filter_subject": "f.a"}),
        ("N4", {**EXPLICIT, "filter_subjects": ["f.x", "f.c.>"]}), ("N5", {"ack_policy": "none"}),
        ("N6", {"ack_policy": "none", "deliver_subject": "d"}), ("N7", {"ack_policy": "all"}),
        ("N8", {"ack_policy": "all", "deliver_subject": "d", "filter_subject": "f.x"}),
        ("N9", {**EXPLICIT, "filter_subject": "f.y", "deliver_policy": "new"}),
        ("N10", {**EXPLICIT, "filter_subject": "f.y", "deliver_policy": "last"}),
        ("N11", {**EXPLICIT, "filter_subject": "f.y", "opt_start_seq": 1, "deliver_policy": "by_start_sequence"}),
        ("N12", {**EXPLICIT, "filter_subject": "f.y", "deliver_policy": "last_per_subject"}),
        ("N13", {"ack_policy": "none", "deliver_policy": "new"}), ("OK", {**EXPLICIT, "filter_subject": "f.ok"}),
        ("A", {**EXPLICIT, "filter_subject": "f.b"}), ("A", {**EXPLICIT, "filter_subject": "f.z"}), ("A", {**EXPLICIT}),
    ):
        s.consumer("F", name, **config)
    s.api("CONSUMER.NAMES.F")
    for frame in s.pull("F", "B", {"batch": 2}, 2):
        s.ack(frame)
    _state(s, "F")


def workqueue_alone(s: Session) -> None:
    s.stream("Q", subjects=["q.*"], retention="workqueue")
    s.consumer("Q", "C", **EXPLICIT)
    for filters in ({}, {"filter_subject": "q.a"}, {"filter_subjects": ["q.a", "q.b"]}):
        s.consumer("Q", "D", **EXPLICIT, **filters)
    s.api("CONSUMER.CREATE.Q", {"stream_name": "Q", "config": {**EXPLICIT}})
    s.api("CONSUMER.CREATE.Q.E", {"stream_name": "Q", "action": "update", "config": {"name": "E", **EXPLICIT}})
    s.api("CONSUMER.DELETE.Q.C")
    s.api("CONSUMER.CREATE.Q.E", {"stream_name": "Q", "action": "create", "config": {"name": "E", **EXPLICIT}})
    s.client.subscribe("push")
    s.api("CONSUMER.DELETE.Q.E")
    s.consumer("Q", "P", **EXPLICIT, deliver_subject="push")
    s.publish("q.a", b"1")
    s.ack(s.frame("pushed", s.client.next_message(sid="2")))
    _left(s, "Q", 0)


def interest(s: Session) -> None:
    s.stream("I", subjects=["i.*"], retention="interest")
    s.publish("i.a", b"nobody", {"Nats-Msg-Id": "1"})
    s.publish("i.a", b"nobody", {"Nats-Msg-Id": "1"})
    s.publish("i.a", b"nobody", {"Nats-Expected-Last-Msg-Id": "1", "Nats-TTL": "x"})
    s.publish("i.a", b"nobody", {"Nats-Expected-Last-Sequence": "0"})
    _state(s, "I")
    s.consumer("I", "A", **EXPLICIT, filter_subject="i.a")
    s.consumer("I", "ALL", **EXPLICIT)
    s.publish("i.a", b"both")
    s.publish("i.b", b"one")
    s.publish("i.a", b"both")
    _until_counted(s, "I", 2, "A")
    _until_counted(s, "I", 3, "ALL")
    first = s.pull("I", "A", {"batch": 2}, 2)
    s.ack(first[0])
    _state(s, "I")
    second = s.pull("I", "ALL", {"batch": 3}, 3)
    s.ack(second[0])
    s.ack(second[1])
    _left(s, "I", 1)
    s.ack(first[1], b"+TERM")
    _state(s, "I")
    s.publish("i.a", b"both")
    s.publish("i.b", b"one")
    s.api("CONSUMER.DELETE.I.ALL")
    _left(s, "I", 1)
    s.publish("i.b", b"nobody now")
    _state(s, "I")
    s.api("CONSUMER.DELETE.I.A")
    _left(s, "I", 0)
    s.publish("i.a", b"nobody")
    _state(s, "I")


def consumers_of_nothing(s: Session) -> None:
    """Where a stream begins in which nothing ever was, when its last consumer goes."""
    for number, retention in enumerate(("interest", "workqueue", "limits")):
        name = f"N{number}"
        s.stream(name, subjects=[name], retention=retention)
        for consumer in ("A", "B") if retention != "workqueue" else ("A",):
            s.consumer(name, consumer, ack_policy="explicit")
        for consumer in ("A", "B") if retention != "workqueue" else ("A",):
            s.api(f"CONSUMER.DELETE.{name}.{consumer}")
            s.api(f"STREAM.INFO.{name}")


def interest_by_policy(s: Session) -> None:
    s.stream("P", subjects=["p.*"], retention="interest")
    s.client.subscribe("push")
    s.consumer("P", "NONE", ack_policy="none", deliver_subject="push", filter_subject="p.none")
    s.consumer("P", "ACKALL", ack_policy="all", filter_subject="p.all")
    s.publish("p.none", b"1")
    s.frame("pushed", s.client.next_message(sid="2"))
    _until(s, "P", 0)
    for number in range(4):
        s.publish("p.all", b"%d" % number)
    _until_counted(s, "P", 4, "ACKALL")
    frames = s.pull("P", "ACKALL", {"batch": 4}, 4)
    s.ack(frames[2])
    _left(s, "P", 1)
    s.consumer("P", "NEW", **EXPLICIT, filter_subject="p.all", deliver_policy="new")
    s.publish("p.all", b"4")
    s.ack(frames[3])
    _left(s, "P", 1)
    (last,) = s.pull("P", "ACKALL", {"batch": 1}, 1)
    s.ack(last)
    _state(s, "P")
    (last,) = s.pull("P", "NEW", {"batch": 1}, 1)
    s.ack(last)
    _left(s, "P", 0)


def interest_filters_change(s: Session) -> None:
    s.stream("F", subjects=["f.*"], retention="interest")
    s.consumer("F", "C", **EXPLICIT, filter_subjects=["f.a", "f.b"])
    for subject in ("f.a", "f.b", "f.c", "f.a"):
        s.publish(subject, b"x")
    _state(s, "F")
    s.consumer("F", "C", **EXPLICIT, filter_subjects=["f.b", "f.c"])
    _left(s, "F", 1)
    s.publish("f.c", b"x")
    s.api("CONSUMER.INFO.F.C")
    _state(s, "F")


def interest_rollups(s: Session) -> None:
    s.stream("R", subjects=["r.*"], retention="interest", allow_rollup_hdrs=True)
    s.consumer("R", "A", **EXPLICIT, filter_subject="r.a")
    s.publish("r.a", b"1")
    s.publish("r.b", b"1", {"Nats-Rollup": "sub"})
    _state(s, "R")
    s.publish("r.a", b"2")
    s.publish("r.b", b"1", {"Nats-Rollup": "all"})
    _state(s, "R")
    s.publish("r.a", b"3")
    s.publish("r.a", b"4", {"Nats-Rollup": "sub"})
    _state(s, "R")


def retention_updates(s: Session) -> None:
    base = {"name": "U", "subjects": ["u.*"], "storage": s.storage}
    s.stream("U", subjects=["u.*"])
    s.consumer("U", "C", **EXPLICIT, filter_subject="u.a")
    for subject in ("u.a", "u.b", "u.a"):
        s.publish(subject, b"x")
    _until_counted(s, "U", 2, "C")
    for frame in s.pull("U", "C", {"batch": 1}, 1):
        s.ack(frame)
    for retention in ("workqueue", "interest", "workqueue", "limits", "interest"):
        s.api("STREAM.UPDATE.U", {**base, "retention": retention})
        _state(s, "U")
    s.publish("u.b", b"x")
    for frame in s.pull("U", "C", {"batch": 1}, 1):
        s.ack(frame)
    _state(s, "U")
    s.stream("W", subjects=["w"], retention="workqueue")
    for retention in ("limits", "interest"):
        s.api("STREAM.UPDATE.W", {"name": "W", "subjects": ["w"], "storage": s.storage, "retention": retention})


def discard_new_is_patient(s: Session) -> None:
    """A lowered limit evicts nothing where the new is discarded; a work queue makes room by acknowledgements."""
    base = {"name": "D", "subjects": ["d.*"], "storage": s.storage, "discard": "new", "retention": "workqueue"}
    s.api("STREAM.CREATE.D", {**base, "max_msgs": 3})
    for number in range(4):
        s.publish(f"d.{number}", b"x")
    s.api("STREAM.UPDATE.D", {**base, "max_msgs": 2})
    _state(s, "D")
    s.consumer("D", "C", **EXPLICIT)
    frames = s.pull("D", "C", {"batch": 2}, 2)
    s.ack(frames[0])
    s.publish("d.x", b"x")
    s.ack(frames[1])
    s.publish("d.x", b"x")
    s.api("STREAM.UPDATE.D", {**base, "max_msgs": 2, "max_bytes": 30})
    s.publish("d.x", b"x")
    _state(s, "D")


def sealed(s: Session) -> None:
    config = {"name": "S", "subjects": ["s.*"], "storage": s.storage}
    s.api("STREAM.CREATE.S", {**config, "sealed": True})
    s.api("STREAM.CREATE.S", {
        **config, "max_age": 3_600_000_000_000, "allow_rollup_hdrs": True, "allow_msg_ttl": True, "max_msgs": 10,
    })
    for subject in ("s.a", "s.b", "s.a"):
        s.publish(subject, b"x")
    s.consumer("S", "BEFORE", **EXPLICIT)
    seal = {**config, "allow_msg_ttl": True, "sealed": True, "max_msgs": 10}
    s.api("STREAM.UPDATE.S", {**seal, "max_age": 3_600_000_000_000, "duplicate_window": 120_000_000_000})
    s.publish("s.a", b"x")
    s.publish("s.a", b"x", {"Nats-Expected-Stream": "X"})
    s.publish("s.a", b"x", {"Nats-Msg-Id": "1", "Nats-TTL": "x"})
    s.api("STREAM.MSG.DELETE.S", {"seq": 1})
    s.api("STREAM.PURGE.S")
    s.api("STREAM.PURGE.S", {"filter": "s.a"})
    s.api("STREAM.UPDATE.S", {**seal, "sealed": False})
    s.api("STREAM.UPDATE.S", {**config, "allow_msg_ttl": True})
    s.api("STREAM.UPDATE.S", {**seal, "max_msgs": 1})
    s.api("STREAM.UPDATE.S", {**seal, "description": "new", "deny_delete": True, "deny_purge": True, "discard": "new"})
    _state(s, "S")
    for frame in s.pull("S", "BEFORE", {"batch": 1}, 1):
        s.ack(frame)
    s.consumer("S", "AFTER", **EXPLICIT)
    s.api("STREAM.MSG.GET.S", {"seq": 1})
    s.api("STREAM.DELETE.S")


def consumer_limits(s: Session) -> None:
    second = 10**9
    base = {"name": "L", "subjects": ["l"], "storage": s.storage}
    s.api("STREAM.CREATE.L", {**base, "consumer_limits": {"inactive_threshold": 10 * second, "max_ack_pending": 20}})
    for name, config in (
        ("DEFAULTS", {**EXPLICIT}), ("NONE", {"ack_policy": "none"}), ("LESS", {**EXPLICIT, "max_ack_pending": 5}),
        ("MORE", {**EXPLICIT, "max_ack_pending": 21}), ("ALL", {**EXPLICIT, "max_ack_pending": -1}),
        ("LONGER", {**EXPLICIT, "inactive_threshold": 11 * second}),
        ("SAME", {**EXPLICIT, "inactive_threshold": 10 * second}),
        ("NEVER", {**EXPLICIT, "inactive_threshold": -1}),
    ):
        s.consumer("L", name, **config)
        s.api(f"CONSUMER.CREATE.L.E{name}", {"stream_name": "L", "config": {"name": f"E{name}", **config}})
        s.api(f"CONSUMER.CREATE.L.P{name}", {
            "stream_name": "L", "pedantic": True, "config": {"durable_name": f"P{name}", **config},
        })
    s.api("CONSUMER.NAMES.L")
    for name in json.loads(s.client.request("$JS.API.CONSUMER.NAMES.L").payload)["consumers"]:
        if name != "SAME":                 # a refusal names those that are in the way, in no order
            s.client.request(f"$JS.API.CONSUMER.DELETE.L.{name}")
    for limits in (
        {"inactive_threshold": 10 * second, "max_ack_pending": 20}, {"max_ack_pending": 30}, {"max_ack_pending": 20},
        {"max_ack_pending": 19}, {"inactive_threshold": 9 * second}, {"inactive_threshold": 1, "max_ack_pending": 1},
        {"inactive_threshold": -1, "max_ack_pending": -1}, {"max_ack_pending": -2}, {},
    ):
        s.api("STREAM.UPDATE.L", {**base, "consumer_limits": limits})
    s.api("CONSUMER.NAMES.L")


def _until_counted(s: Session, stream: str, pending: int, consumer: str = "a") -> None:
    """nats-server tells consumers of messages a little later."""
    while json.loads(s.client.request(f"$JS.API.CONSUMER.INFO.{stream}.{consumer}").payload)["num_pending"] != pending:
        pass


def resets(s: Session) -> None:
    """A reset forward settles what lies below, for this consumer."""
    for retention in ("interest", "workqueue"):
        s.stream("RS", subjects=["RS.*"], retention=retention)
        names = ["a", "b"] if retention == "interest" else ["a"]
        for name in names:
            s.consumer("RS", name, ack_policy="explicit")
        for number in range(6):
            s.publish("RS.x", b"%d" % number)
        _until_counted(s, "RS", 6)
        for name in names:
            for seq in (4, 2, 6):
                s.api(f"CONSUMER.RESET.RS.{name}", {"seq": seq})
                s.api("STREAM.INFO.RS")
        s.pull("RS", "a", b"1", 1)
        s.api("STREAM.DELETE.RS")


def reset_before_a_restart(s: Session) -> None:
    """What a reset has passed over is there after a restart as before: gone with interest, kept in a work queue."""
    for retention in ("interest", "workqueue"):
        s.stream(retention, subjects=[f"{retention}.*"], retention=retention, storage="file")
        s.consumer(retention, "a", **EXPLICIT)
        for number in range(6):
            s.publish(f"{retention}.x", b"%d" % number)
        _until_counted(s, retention, 6)
        s.ack(s.pull(retention, "a", {"batch": 2}, 2)[1])
        s.api(f"CONSUMER.RESET.{retention}.a", {"seq": 4})
        _left(s, retention, 3 if retention == "interest" else 5)
    s.target.restart()
    s.client = s.target.connect()
    for retention in ("interest", "workqueue"):
        _state(s, retention)
        s.api(f"CONSUMER.RESET.{retention}.a", {"seq": 1})
        s.pull(retention, "a", {"batch": 1}, 1)
