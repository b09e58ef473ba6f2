"""Pull consumers: batches, every status line, limits of requests, start positions, filters, pace."""

from __future__ import annotations

import json

from .compare import Session
from .scenarios_consumers import MS_NS, SECOND_NS, filled, named, quiet

TRIES = 1000


def ask(s: Session, stream: str, consumer: str, body: object) -> None:
    """A pull request whose answers are read later."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    s.client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", data, s.client.new_reply())
    s.note(f"ASK {stream} {consumer} {data!r}")


def waiting(s: Session, where: str, until: int) -> None:
    """num_waiting, which nats-server counts when it gets to it, and what goes with it."""
    for _ in range(TRIES):
        info = quiet(s, f"CONSUMER.INFO.{where}")
        if info["num_waiting"] == until:
            break
    s.note(f"{where} waiting={info['num_waiting']} pending={info['num_pending']} acks={info['num_ack_pending']}")


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


def pull_bodies(s: Session) -> None:
    """What is not JSON is a number or one message; JSON is read as Go reads it, unknown members and all."""
    filled(s, "B", 60)
    s.consumer("B", "c", ack_policy="none")
    for body, count in (
        (b"", 1), (b"  ", 1), (b"3", 3), (b" 2 ", 2), (b"+2", 2), (b"-2", 1), (b"0", 1), (b"2.5", 1), (b"0x2", 1),
        (b"1_0", 1), (b"[2]", 1), (b"null", 1), (b"{}", 1), (b'{"batch":0}', 1), (b'{"batch":-3}', 1),
        (b'{"batch":null}', 1), (b'{"Batch":2}', 2), (b'{"BATCH":2,"batch":1}', 1), (b'{"batch":1,"batch":2}', 2),
        (b'{"batch":1,"x":{"y":[1,{}]}}', 1), (b' {"batch" : 2 } ', 2), (b'{"group":"g"}', 1),
        (b'{"batch":1,"expires":null}', 1), (b'{"batch":"1"}', 1), (b'{"batch":1.5}', 1), (b'{"batch":true}', 1),
        (b'{"batch":99999999999999999999}', 1), (b'{"no_wait":1}', 1), (b'{"no_wait":"true"}', 1),
        (b'{"expires":"5s"}', 1), (b'{"expires":-5}', 1), (b'{"batch":1}x', 1), (b'{"batch":1,}', 1), (b"{x", 1),
        (b'{"batch"', 1), (b'{"batch":1', 1), (b"{'batch':1}", 1), (b'{"id":"x"}', 1), (b'{"min_pending":1}', 1),
        (b'{"min_ack_pending":1}', 1), (b'{"priority":10}', 1), (b'{"priority":-1}', 1), (b'{"priority":3}', 1),
        (b'{"idle_heartbeat":5}', 1), (b'{"idle_heartbeat":-5}', 1), (b'{"max_bytes":-1}', 1),
        (b'{"group":"\xc3\xa9\\u0041"}', 1),
    ):
        s.pull("B", "c", body, count)
    s.client.publish("$JS.API.CONSUMER.MSG.NEXT.B.c", b"1")
    waiting(s, "B.c", until=0)
    s.pull("B", "c", b"1", 1)


def pull_headers(s: Session) -> None:
    """The request's own headers: only the level counts."""
    filled(s, "H", 3)
    s.consumer("H", "c", ack_policy="none")
    for headers in ({"Nats-Required-Api-Level": "99"}, {"Nats-Required-Api-Level": "x"}, {"A": "b"},
                    {"Nats-Required-Api-Level": "1"}):
        s.client.publish("$JS.API.CONSUMER.MSG.NEXT.H.c", b"1", s.client.new_reply(), headers)
        s.frame(str(headers), s.client.next_message(sid="1"))


def one_shots(s: Session) -> None:
    """no_wait alone and with expires: before, during and after there is something."""
    filled(s, "OS", 3)
    s.consumer("OS", "c", ack_policy="none")
    s.pull("OS", "c", {"batch": 2, "no_wait": True}, 2)
    s.pull("OS", "c", {"batch": 2, "no_wait": True}, 2)
    s.pull("OS", "c", {"batch": 2, "no_wait": True}, 1)
    ask(s, "OS", "c", {"batch": 3, "no_wait": True, "expires": 5 * SECOND_NS})
    s.client.request("OS.a", b"one")
    s.frames("completes as soon as it delivered", [s.client.next_message(sid="1") for _ in range(2)])
    s.pull("OS", "c", {"batch": 1, "no_wait": True, "expires": 30 * MS_NS}, 1)
    ask(s, "OS", "c", {"batch": 2, "expires": 5 * SECOND_NS})
    s.pull("OS", "c", {"batch": 1, "no_wait": True}, 1)
    waiting(s, "OS.c", until=1)
    s.client.request("OS.a", b"two")
    s.frame("the first in line", s.client.next_message(sid="1"))


def requests_pending(s: Session) -> None:
    filled(s, "RP", 3)
    s.consumer("RP", "c", ack_policy="explicit", max_ack_pending=1)
    s.pull("RP", "c", b"1", 1)
    ask(s, "RP", "c", {"batch": 5, "expires": 5 * SECOND_NS})
    s.pull("RP", "c", {"batch": 1, "no_wait": True}, 1)
    waiting(s, "RP.c", until=1)


def held_requests(s: Session) -> None:
    """What max_ack_pending holds back is not the end of the stream: a request that does not wait waits."""
    filled(s, "HR", 3)
    s.consumer("HR", "due", ack_policy="explicit", max_ack_pending=2, ack_wait=300 * MS_NS)
    s.pull("HR", "due", {"batch": 3, "no_wait": True}, 2)
    waiting(s, "HR.due", until=1)
    s.frame("due again", s.client.next_message(sid="1"))
    waiting(s, "HR.due", until=0)
    s.consumer("HR", "acked", ack_policy="explicit", max_ack_pending=2)
    first, second = s.pull("HR", "acked", {"batch": 5, "no_wait": True}, 2)
    waiting(s, "HR.acked", until=1)
    s.client.publish(first.reply)
    s.client.publish(second.reply)
    s.frames("the rest and the end", [s.client.next_message(sid="1") for _ in range(2)])
    waiting(s, "HR.acked", until=0)
    s.consumer("HR", "deleted", ack_policy="explicit", max_ack_pending=2)
    s.pull("HR", "deleted", {"batch": 5, "no_wait": True}, 2)
    waiting(s, "HR.deleted", until=1)
    s.api("STREAM.MSG.DELETE.HR", {"seq": 1})
    s.frame("room for one", s.client.next_message(sid="1"))
    waiting(s, "HR.deleted", until=1)


def probes_that_are_held(s: Session) -> None:
    """Of requests that do not wait but may, one that got something ends with the next heartbeat of any, though
    max_ack_pending holds back the rest; one that got nothing goes on."""
    filled(s, "PH", 5)
    s.consumer("PH", "own", ack_policy="explicit", max_ack_pending=2)
    s.pull("PH", "own", {"batch": 9, "no_wait": True, "expires": 9 * SECOND_NS, "idle_heartbeat": 100 * MS_NS}, 3)
    waiting(s, "PH.own", until=0)
    s.consumer("PH", "of", ack_policy="explicit", max_ack_pending=2)
    s.pull("PH", "of", {"batch": 9, "no_wait": True, "expires": 9 * SECOND_NS}, 2)
    waiting(s, "PH.of", until=1)
    s.pull("PH", "of", {"batch": 9, "expires": 9 * SECOND_NS, "idle_heartbeat": 100 * MS_NS}, 2)
    waiting(s, "PH.of", until=1)
    s.consumer("PH", "none", ack_policy="explicit", max_ack_pending=2)
    s.pull("PH", "none", {"batch": 2}, 2)
    s.pull("PH", "none", {"batch": 2, "no_wait": True, "expires": 9 * SECOND_NS, "idle_heartbeat": 100 * MS_NS}, 2)
    waiting(s, "PH.none", until=1)
    ask(s, "PH", "none", {"batch": 2, "no_wait": True})
    s.frames("the oneshot ends", [s.client.next_message(sid="1") for _ in range(3)])


def nobody_there(s: Session) -> None:
    """No stream or no consumer of that name, not yet or not any more: nobody is subscribed, which 503 says."""

    def ask_all(when: str, *subjects: str) -> None:
        for subject in subjects:
            s.client.publish(subject, b'{"seq":1}', s.client.new_reply())
            s.frame(f"{when} {subject}", s.client.next_message(sid="1"))

    gets = ("$JS.API.DIRECT.GET.NT", "$JS.API.DIRECT.GET.NT.a.b", "$JS.API.CONSUMER.MSG.NEXT.NT.c")
    ask_all("before", *gets, "$JS.API.CONSUMER.MSG.NEXT.NT")
    filled(s, "NT", 1)
    ask_all("no consumer, direct gets not allowed", *gets)
    s.consumer("NT", "c", ack_policy="explicit")
    ask_all("another consumer", "$JS.API.CONSUMER.MSG.NEXT.NT.c.d", "$JS.API.CONSUMER.MSG.NEXT.NT.d")
    message = s.pull("NT", "c", b"1", 1)[0]
    s.consumer("NT", "push", ack_policy="none", deliver_subject="some.where")
    ask_all("nothing to acknowledge", "$JS.ACK.NT.push.1.1.1.1.1", "$JS.FC.NT.push.x")
    s.api("CONSUMER.DELETE.NT.c")
    ask_all("consumer deleted", "$JS.API.CONSUMER.MSG.NEXT.NT.c", "$JS.FC.NT.c.x")
    s.client.publish(message.reply, b"", s.client.new_reply())
    s.frame("late ack", s.client.next_message(sid="1"))
    s.api("STREAM.DELETE.NT")
    ask_all("stream deleted", *gets)


def several_waiting(s: Session) -> None:
    """Round robin among those that want more; those without a listener are passed over."""
    filled(s, "SW", 0)
    s.consumer("SW", "c", ack_policy="none")
    replies = []
    for batch in (3, 1, 2):
        sid = s.client.subscribe(f"inbox.sw.{batch}")
        replies.append(sid)
        s.client.publish("$JS.API.CONSUMER.MSG.NEXT.SW.c", b'{"batch":%d,"expires":5000000000}' % batch,
                         f"inbox.sw.{batch}")
    s.client.publish("$JS.API.CONSUMER.MSG.NEXT.SW.c", b'{"batch":3,"expires":5000000000}', "inbox.nobody")
    waiting(s, "SW.c", until=3)
    for number in range(6):
        s.client.request("SW.a", b"%d" % number)
    got = [frame for frame in (s.client.next_message(subject="SW.a") for _ in range(6))]
    s.note(f"who got what: {[(frame.sid, frame.payload) for frame in got]}")
    waiting(s, "SW.c", until=0)
    sid = s.client.subscribe("inbox.late")
    s.client.publish("$JS.API.CONSUMER.MSG.NEXT.SW.c", b'{"batch":2,"expires":5000000000}', "inbox.late")
    s.client.publish("$JS.API.CONSUMER.MSG.NEXT.SW.c", b'{"batch":2,"expires":5000000000}', s.client.new_reply())
    waiting(s, "SW.c", until=2)
    s.client.unsubscribe(sid)
    waiting(s, "SW.c", until=1)
    s.client.request("SW.a", b"last")
    s.note(f"then: {s.client.next_message(subject='SW.a').sid}")


def full_of_requests(s: Session) -> None:
    filled(s, "FR", 0)
    s.consumer("FR", "c", ack_policy="none", max_waiting=2)
    ask(s, "FR", "c", {"batch": 1, "expires": 5 * SECOND_NS})
    ask(s, "FR", "c", {"batch": 1, "expires": 5 * SECOND_NS, "idle_heartbeat": SECOND_NS})
    s.pull("FR", "c", {"batch": 1, "expires": 5 * SECOND_NS}, 1)
    s.pull("FR", "c", {"batch": 1, "no_wait": True}, 1)
    s.pull("FR", "c", {"batch": 1, "no_wait": True, "expires": SECOND_NS}, 1)
    ask(s, "FR", "c", {"batch": 1, "expires": 5 * SECOND_NS, "idle_heartbeat": SECOND_NS})
    waiting(s, "FR.c", until=2)
    s.client.request("FR.a", b"x")
    s.client.request("FR.a", b"y")
    s.frames("both", [s.client.next_message(subject="FR.a") for _ in range(2)])
    waiting(s, "FR.c", until=0)


def heartbeats(s: Session) -> None:
    """They tell the last positions; a delivery puts them off."""
    filled(s, "HB", 2)
    s.consumer("HB", "c", ack_policy="explicit")
    s.pull("HB", "c", {"batch": 1}, 1)
    s.pull("HB", "c", {"batch": 3, "expires": 350 * MS_NS, "idle_heartbeat": 100 * MS_NS}, 4)
    s.frame("and the end", s.client.next_message(sid="1"))
    s.consumer("HB", "f", ack_policy="explicit", filter_subject="HB.1")
    s.pull("HB", "f", {"batch": 3, "expires": 150 * MS_NS, "idle_heartbeat": 70 * MS_NS}, 4)
    s.consumer("HB", "none", ack_policy="explicit", filter_subject="HB.7")
    s.pull("HB", "none", {"batch": 3, "expires": 150 * MS_NS, "idle_heartbeat": 70 * MS_NS}, 3)


def max_bytes(s: Session) -> None:
    """Sizes count subject, reply, headers and body of what is sent."""
    filled(s, "MB", 0)
    s.client.request("MB.a", b"x" * 10)
    s.client.request("MB.a", b"x" * 10, {"A": "b"})
    s.client.request("MB.a", b"x" * 500)
    s.client.request("MB.a", b"x")
    s.consumer("MB", "c", ack_policy="none")
    size = 4 + 50 + 10
    ask(s, "MB", "c", {"batch": 1, "max_bytes": 20})
    s.frame("too small", s.client.next_message(sid="1"))
    ask(s, "MB", "c", {"batch": 5, "max_bytes": size + 100})
    frames = [s.client.next_message(sid="1") for _ in range(2)]
    s.note(f"fits: {[(len(f.payload), f.status) for f in frames]}")
    s.frames("the rest does not", [s.client.next_message(sid="1")])
    ask(s, "MB", "c", {"batch": 1, "max_bytes": 5000})
    frames = [s.client.next_message(sid="1") for _ in range(2)]
    s.note(f"batch first: {[(len(f.payload), f.status) for f in frames]}")
    ask(s, "MB", "c", {"batch": 5, "max_bytes": 5000, "no_wait": True})
    frames = [s.client.next_message(sid="1") for _ in range(2)]
    s.note(f"end of stream: {[(len(f.payload), f.status) for f in frames]}")


def request_limits(s: Session) -> None:
    filled(s, "RL", 4)
    s.consumer("RL", "c", ack_policy="none", max_batch=2, max_expires=90 * SECOND_NS + 500 * MS_NS, max_bytes=100)
    s.pull("RL", "c", b"3", 1)
    s.pull("RL", "c", {"batch": 3}, 1)
    s.pull("RL", "c", {"batch": 1, "expires": 91 * SECOND_NS}, 1)
    s.pull("RL", "c", {"batch": 1, "max_bytes": 101}, 1)
    s.pull("RL", "c", {"batch": 3, "expires": 91 * SECOND_NS, "max_bytes": 101}, 1)
    s.pull("RL", "c", {"batch": 2, "expires": 90 * SECOND_NS}, 2)
    for text, ns in (("1ms", MS_NS), ("1.5ms", 1_500_000), ("1h", 3600 * SECOND_NS), ("25h1m", 90_060 * SECOND_NS)):
        s.consumer("RL", f"e{ns}", ack_policy="none", max_expires=ns)
        s.note(text)
        s.pull("RL", f"e{ns}", {"batch": 1, "expires": ns + MS_NS}, 1)


def deleted_while_waiting(s: Session) -> None:
    filled(s, "DW", 0)
    for name in ("a", "b"):
        s.consumer("DW", name, ack_policy="none")
        ask(s, "DW", name, {"batch": 1, "expires": 5 * SECOND_NS})
        ask(s, "DW", name, {"batch": 1, "expires": 5 * SECOND_NS, "idle_heartbeat": SECOND_NS})
    quiet(s, "CONSUMER.DELETE.DW.a")
    s.frames("consumer", [s.client.next_message(sid="1") for _ in range(2)])
    quiet(s, "STREAM.DELETE.DW")
    s.frames("stream", [s.client.next_message(sid="1") for _ in range(2)])


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


STARTS: list[dict[str, object]] = [
    {"deliver_policy": "all"}, {"deliver_policy": "last"}, {"deliver_policy": "new"},
    {"deliver_policy": "by_start_sequence", "opt_start_seq": 1},
    {"deliver_policy": "by_start_sequence", "opt_start_seq": 5},
    {"deliver_policy": "by_start_sequence", "opt_start_seq": 50},
    {"deliver_policy": "by_start_time", "opt_start_time": "2020-01-01T00:00:00Z"},
    {"deliver_policy": "by_start_time", "opt_start_time": "2120-01-01T00:00:00Z"},
    {"deliver_policy": "last_per_subject", "filter_subject": "ST.*"},
    {"deliver_policy": "last_per_subject", "filter_subject": "ST.9"},
    {"deliver_policy": "last", "filter_subject": "ST.0"}, {"deliver_policy": "last", "filter_subject": "ST.9"},
    {"deliver_policy": "last", "filter_subjects": ["ST.1", "ST.0"]},
    {"deliver_policy": "by_start_time", "opt_start_time": "2020-01-01T00:00:00Z", "filter_subject": "ST.2"},
    {"deliver_policy": "last_per_subject", "filter_subjects": ["ST.2", "ST.0"]},
    {"deliver_policy": "new", "filter_subject": "ST.0"}, {"filter_subjects": ["ST.2", "ST.1"]},
]


def _all_starts(s: Session) -> None:
    for number, config in enumerate(STARTS):
        info = s.consumer("ST", f"c{number}", ack_policy="explicit", **config)
        s.pull("ST", f"c{number}", {"batch": 20, "no_wait": True}, info["num_pending"] + 1)
        s.api(f"CONSUMER.INFO.ST.c{number}")


def starts_in_a_stream_with_gaps(s: Session) -> None:
    quiet(s, "STREAM.CREATE.ST", {"name": "ST", "subjects": ["ST.*"], "storage": s.storage or "memory"})
    for number in range(9):
        s.client.request(f"ST.{number % 3}", b"%d" % number)
    for seq in (1, 4, 9):
        quiet(s, "STREAM.MSG.DELETE.ST", {"seq": seq})
    _all_starts(s)


def starts_in_an_empty_stream(s: Session) -> None:
    quiet(s, "STREAM.CREATE.ST", {"name": "ST", "subjects": ["ST.*"], "storage": s.storage or "memory"})
    _all_starts(s)


def starts_in_a_purged_stream(s: Session) -> None:
    quiet(s, "STREAM.CREATE.ST", {"name": "ST", "subjects": ["ST.*"], "storage": s.storage or "memory"})
    for number in range(6):
        s.client.request(f"ST.{number % 3}", b"%d" % number)
    quiet(s, "STREAM.PURGE.ST")
    _all_starts(s)


def starts_with_one_message_per_subject(s: Session) -> None:
    config = {"name": "ST", "subjects": ["ST.*"], "storage": s.storage or "memory", "max_msgs_per_subject": 1}
    quiet(s, "STREAM.CREATE.ST", config)
    for number in range(9):
        s.client.request(f"ST.{number * 2 % 5}", b"%d" % number)
    _all_starts(s)


def headers_only(s: Session) -> None:
    filled(s, "HO", 0)
    s.client.request("HO.a", b"12345")
    s.client.request("HO.a", b"", {"A": "b"})
    s.client.request("HO.a", b"x" * 1000, {"A": "b", "Nats-Msg-Size": "7"})
    s.consumer("HO", "c", ack_policy="none", headers_only=True)
    s.pull("HO", "c", {"batch": 3}, 3)


def replay_original(s: Session) -> None:
    filled(s, "RO", 3)
    s.consumer("RO", "c", replay_policy="original", ack_policy="none")
    s.pull("RO", "c", {"batch": 3}, 3)


def inactive_consumers_go(s: Session) -> None:
    """An ephemeral one that nobody uses goes; one with a request waiting or an acknowledgement owed stays."""
    filled(s, "IN", 2)
    sid = s.client.subscribe("$JS.EVENT.ADVISORY.CONSUMER.DELETED.>")
    named(s, "IN", "idle", ack_policy="explicit", inactive_threshold=100 * MS_NS)
    named(s, "IN", "kept", ack_policy="explicit", inactive_threshold=100 * MS_NS, durable_name="kept")
    ask(s, "IN", "kept", {"batch": 5, "expires": 3 * SECOND_NS})
    s.frames("first", [s.client.next_message(subject=f"IN.{number}") for number in (0, 1)])
    s.frame("gone", s.client.next_message(sid=sid))
    s.api("CONSUMER.NAMES.IN")
