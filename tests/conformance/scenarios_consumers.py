"""What a client sees of consumers: the API's answers, deliveries, status lines, acks."""

from __future__ import annotations

from .compare import Session

SECOND_NS = 1_000_000_000


def filled(s: Session, name: str, count: int = 5, **config: object) -> None:
    s.stream(name, subjects=[f"{name}.*"], **{"storage": "memory", **config})
    for number in range(count):
        s.publish(f"{name}.{number % 2}", b"m%d" % number)


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
    s.api("STREAM.INFO.C")
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
        {**push, "deliver_group": "a b"}, {**push, "rate_limit_bps": 1000}, {"ack_policy": "flow_control"},
        {"priority_policy": "x"}, {"pause_until": "x"},
    ]
    for number, config in enumerate(bad):
        s.consumer("R", f"bad{number}", **{"ack_policy": "explicit", **config})
        s.api(f"CONSUMER.DELETE.R.bad{number}")
    for name in ("a/b", "a\\b", "..", "a>b", "n" * 255, "n" * 256, "é"):
        s.api(f"CONSUMER.CREATE.R.{name}", {"stream_name": "R", "config": {"name": name}})
    s.api("CONSUMER.CREATE.R.x", {"stream_name": "R", "config": {"name": "y"}})
    s.api("CONSUMER.CREATE.R.x", {"stream_name": "Z", "config": {"name": "x"}})
    s.api("CONSUMER.DURABLE.CREATE.R.x", {"stream_name": "R", "config": {}})
    s.api("CONSUMER.DURABLE.CREATE.R.x", {"stream_name": "R", "config": {"durable_name": "y"}})
    s.api("CONSUMER.CREATE.R", {"stream_name": "R", "config": {"durable_name": "y"}})
    s.api("CONSUMER.CREATE.NONE.x", {"stream_name": "NONE", "config": {"name": "x"}})
    for body in (b"", b"{", b"[]", b"null", b"{}", b'{"config":null}', b'{"stream_name":"R","bad":1}'):
        s.api("CONSUMER.CREATE.R.x", body)


def pull_statuses(s: Session) -> None:
    filled(s, "P")
    s.consumer("P", "c", ack_policy="explicit", max_waiting=2)
    s.pull("P", "c", b"", 1)
    s.pull("P", "c", b"2", 2)
    s.pull("P", "c", b"junk", 1)
    s.pull("P", "c", {"batch": 5, "no_wait": True}, 2)
    s.pull("P", "c", {"batch": 5, "no_wait": True}, 1)
    s.pull("P", "c", {"batch": 1, "expires": 50_000_000}, 1)
    s.pull("P", "c", {"batch": 1, "expires": 250_000_000, "idle_heartbeat": 100_000_000}, 3)
    s.pull("P", "c", {"batch": 1, "expires": 100_000_000, "idle_heartbeat": 90_000_000}, 1)
    s.pull("P", "c", {"batch": 1, "no_wait": True, "expires": 50_000_000}, 1)
    s.pull("P", "c", b'{"batch":', 1)
    s.pull("P", "c", {"batch": 1, "no_wait": True, "unknown": 5}, 1)
    s.consumer("P", "limited", ack_policy="none", max_batch=2, max_expires=SECOND_NS, max_bytes=50)
    s.pull("P", "limited", {"batch": 3}, 1)
    s.pull("P", "limited", {"batch": 1, "expires": 2 * SECOND_NS}, 1)
    s.pull("P", "limited", {"batch": 1, "max_bytes": 100}, 1)
    s.consumer("P", "bytes", ack_policy="none")
    s.pull("P", "bytes", {"batch": 10, "max_bytes": 10}, 1)
    s.pull("P", "bytes", {"batch": 10, "max_bytes": 100}, 3)
    s.api("CONSUMER.INFO.P.c")
    s.api("CONSUMER.INFO.P.bytes")
    s.client.subscribe("push.here")
    s.consumer("P", "push", deliver_subject="push.here", ack_policy="none")
    s.frames("pushed", [s.client.next_message(sid="2") for _ in range(5)])
    s.pull("P", "push", b"", 1)
    s.pull("P", "absent", b"", 1)


def pull_waiting(s: Session) -> None:
    filled(s, "W", 0)
    s.consumer("W", "c", ack_policy="explicit", max_waiting=1)
    s.pull("W", "c", {"batch": 2, "expires": 20 * SECOND_NS}, 0)
    s.pull("W", "c", {"batch": 1, "no_wait": True}, 1)
    s.pull("W", "c", {"batch": 1, "expires": 20 * SECOND_NS}, 1)
    s.api("CONSUMER.INFO.W.c")
    s.api("CONSUMER.DELETE.W.c")
    s.frame("deleted", s.client.next_message(sid="1"))


def acks(s: Session) -> None:
    for policy in ("explicit", "all", "none"):
        name = f"A{policy}"
        filled(s, name, 6)
        s.consumer(name, "c", ack_policy=policy)
        got = s.pull(name, "c", {"batch": 6}, 6)
        if policy == "none":
            s.api(f"CONSUMER.INFO.{name}.c")
            continue
        s.ack(got[2])
        s.api(f"CONSUMER.INFO.{name}.c")
        s.ack(got[3], b"")
        s.ack(got[4], b"+WPI")
        s.ack(got[4], b"+TERM reason")
        s.ack(got[5], b"-NAK")
        s.pull(name, "c", {"batch": 1}, 1)
        s.ack(got[5], b"-NAK 50ms")
        s.pull(name, "c", {"batch": 1}, 1)
        s.ack(got[5], b'-NAK {"delay": 50000000}')
        s.pull(name, "c", {"batch": 1}, 1)
        s.ack(got[5], b"+OK")
        s.ack(got[0])
        s.api(f"CONSUMER.INFO.{name}.c")
        s.publish(f"{name}.x", b"next")
        s.client.publish(got[1].reply, b"+NXT", s.client.new_reply())
        s.frame("next", s.client.next_message(sid="1"))
        s.api(f"CONSUMER.INFO.{name}.c")


def redelivery(s: Session) -> None:
    filled(s, "RD", 2)
    s.client.subscribe("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>")
    s.consumer("RD", "wait", ack_policy="explicit", ack_wait=200_000_000, max_deliver=2)
    s.pull("RD", "wait", {"batch": 1}, 1)
    s.pull("RD", "wait", {"batch": 2}, 2)
    s.pull("RD", "wait", {"batch": 3, "expires": SECOND_NS}, 2)
    s.frames("max deliver", [s.client.next_message(sid="2") for _ in range(2)])
    s.consumer("RD", "back", ack_policy="explicit", backoff=[100_000_000, 200_000_000], max_deliver=3)
    s.pull("RD", "back", {"batch": 6, "expires": 5 * SECOND_NS}, 6)
    s.consumer("RD", "one", ack_policy="explicit", max_ack_pending=1)
    first = s.pull("RD", "one", {"batch": 2, "expires": 200_000_000}, 2)[0]
    s.ack(first)
    s.pull("RD", "one", {"batch": 1}, 1)
    s.api("CONSUMER.INFO.RD.one")


def deliver_policies(s: Session) -> None:
    filled(s, "DP", 6)
    for number, config in enumerate((
        {"deliver_policy": "all"}, {"deliver_policy": "last"}, {"deliver_policy": "new"},
        {"deliver_policy": "by_start_sequence", "opt_start_seq": 4},
        {"deliver_policy": "by_start_time", "opt_start_time": "2020-01-01T00:00:00Z"},
        {"deliver_policy": "last_per_subject", "filter_subject": "DP.*"},
        {"filter_subjects": ["DP.0", "DP.7"]}, {"filter_subject": "DP.1", "headers_only": True},
    )):
        info = s.consumer("DP", f"c{number}", ack_policy="none", **config)
        s.pull("DP", f"c{number}", {"batch": 10, "no_wait": True}, info["num_pending"] + 1)


def push_delivery(s: Session) -> None:
    filled(s, "PU", 3)
    s.consumer("PU", "idle", deliver_subject="deliver.a", ack_policy="explicit")
    s.api("CONSUMER.INFO.PU.idle")
    sid = s.client.subscribe("deliver.a")
    got = [s.client.next_message(sid=sid) for _ in range(3)]
    s.frames("pushed", got)
    for frame in got:
        s.ack(frame)
    s.api("CONSUMER.INFO.PU.idle")
    sid = s.client.subscribe("deliver.q", "group")
    s.consumer("PU", "queue", deliver_subject="deliver.q", deliver_group="group", ack_policy="none")
    s.frames("queued", [s.client.next_message(sid=sid) for _ in range(3)])
    sid = s.client.subscribe("deliver.h")
    s.consumer("PU", "beat", deliver_subject="deliver.h", ack_policy="none", idle_heartbeat=100_000_000,
               flow_control=True)
    s.frames("heartbeat", [s.client.next_message(sid=sid) for _ in range(4)])


def replay_original(s: Session) -> None:
    filled(s, "RO", 3)
    s.consumer("RO", "c", replay_policy="original", ack_policy="none")
    s.pull("RO", "c", {"batch": 3}, 3)
