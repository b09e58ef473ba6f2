"""Push consumers: who makes them deliver, heartbeats, flow control, its acknowledgements, moving elsewhere."""

from __future__ import annotations

import re
from typing import Any

from .compare import Session
from .scenarios_consumers import MS_NS, SECOND_NS, filled, named, quiet
from .scenarios_consumers_acks import state
from .scenarios_consumers_pull import TRIES
from .wire_client import Frame

BIG = b"x" * 65_536


def bound(s: Session, where: str, to: bool, pending: int) -> None:
    """Whether it is bound and what is to come, which nats-server knows when it gets to it."""
    for _ in range(TRIES):
        info = quiet(s, f"CONSUMER.INFO.{where}")
        if (info.get("push_bound", False), info["num_pending"]) == (to, pending):
            break
    s.note(f"{where} bound={info.get('push_bound', False)} pending={info['num_pending']}")


def unbound(s: Session, where: str, pending: int) -> None:
    """Nothing is delivered."""
    bound(s, where, to=False, pending=pending)
    s.frames("held", s.client.flush())


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


def who_binds(s: Session) -> None:
    """The very subject, in the group if there is one; others see what is delivered, and start nothing."""
    filled(s, "WB", 2)
    watcher = s.client.subscribe("deliver.>")
    s.consumer("WB", "plain", ack_policy="none", deliver_subject="deliver.plain")
    unbound(s, "WB.plain", pending=2)
    queue = s.client.subscribe("deliver.plain", "q")
    unbound(s, "WB.plain", pending=2)
    sid = s.client.subscribe("deliver.plain")
    got = [s.client.next_message() for _ in range(6)]
    s.note(f"seen by {sorted((frame.sid, frame.payload) for frame in got)} of {watcher} {queue} {sid}")
    bound(s, "WB.plain", to=True, pending=0)
    plain = s.client.subscribe("deliver.group")
    s.consumer("WB", "group", ack_policy="none", deliver_subject="deliver.group", deliver_group="g")
    other = s.client.subscribe("deliver.group", "h")
    unbound(s, "WB.group", pending=2)
    member = s.client.subscribe("deliver.group", "g")
    got = [s.client.next_message() for _ in range(8)]
    s.note(f"seen by {sorted((frame.sid, frame.payload) for frame in got)} of {watcher} {plain} {other} {member}")
    bound(s, "WB.group", to=True, pending=0)


def a_group_of_two(s: Session) -> None:
    filled(s, "GT", 0)
    sids = [s.client.subscribe("deliver.gt", "g") for _ in range(2)]
    s.consumer("GT", "c", ack_policy="explicit", deliver_subject="deliver.gt", deliver_group="g")
    for number in range(20):
        s.client.request("GT.a", b"%d" % number)
    got = [s.client.next_message(subject="GT.a") for _ in range(20)]
    s.note(f"all once: {sorted(int(frame.payload) for frame in got)} both: {sorted({f.sid for f in got}) == sids}")
    s.client.unsubscribe(sids[0])
    for number in range(5):
        s.client.request("GT.a", b"more %d" % number)
    s.note(f"then {[s.client.next_message(subject='GT.a').sid for _ in range(5)]}")


def unbind_and_bind(s: Session) -> None:
    filled(s, "UB", 2)
    sid = s.client.subscribe("deliver.ub")
    s.consumer("UB", "c", ack_policy="explicit", deliver_subject="deliver.ub", idle_heartbeat=SECOND_NS)
    s.frames("first", [s.client.next_message(sid=sid) for _ in range(2)])
    bound(s, "UB.c", to=True, pending=0)
    s.client.unsubscribe(sid)
    bound(s, "UB.c", to=False, pending=0)
    s.client.request("UB.a", b"meanwhile")
    unbound(s, "UB.c", pending=1)
    sid = s.client.subscribe("deliver.ub")
    s.frames("caught up", [s.client.next_message(sid=sid)])
    bound(s, "UB.c", to=True, pending=0)
    s.client.unsubscribe(sid)
    sid = s.client.subscribe("deliver.ub")
    s.client.unsubscribe(sid, after=1)
    s.client.request("UB.a", b"one")
    s.client.request("UB.a", b"two")
    s.frames("only one", [s.client.next_message(sid=sid)])


def ephemeral_push_goes(s: Session) -> None:
    filled(s, "EP", 1)
    gone = s.client.subscribe("$JS.EVENT.ADVISORY.CONSUMER.DELETED.>")
    sid = s.client.subscribe("deliver.ep")
    named(s, "EP", "eph", ack_policy="none", deliver_subject="deliver.ep", inactive_threshold=150 * MS_NS)
    named(s, "EP", "never", ack_policy="none", deliver_subject="deliver.never", inactive_threshold=150 * MS_NS)
    s.frame("pushed", s.client.next_message(sid=sid))
    s.frame("never bound", s.client.next_message(sid=gone))
    s.client.unsubscribe(sid)
    s.frame("unbound", s.client.next_message(sid=gone))


def idle_heartbeats(s: Session) -> None:
    """They go on while there is nothing; a delivery puts the next one off."""
    filled(s, "IH", 2)
    sid = s.client.subscribe("deliver.ih")
    s.consumer("IH", "c", ack_policy="explicit", deliver_subject="deliver.ih", idle_heartbeat=100 * MS_NS,
               filter_subject="IH.0")
    s.frames("beats", [s.client.next_message(sid=sid) for _ in range(3)])
    s.client.request("IH.1", b"not for it")
    s.client.request("IH.0", b"for it")
    s.frames("after more", [s.client.next_message(sid=sid) for _ in range(2)])


def _sizes(frames: list[Frame]) -> list[Any]:
    """Runs of deliveries as their number, everything else as its status."""
    shown: list[Any] = []
    for frame in frames:
        if not frame.payload:
            shown.append(frame.status)
        elif shown and isinstance(shown[-1], int):
            shown[-1] += 1
        else:
            shown.append(1)
    return shown


def flow_control(s: Session) -> None:
    """A request past half of the window; unanswered, delivery stops at the window; heartbeats tell the stall."""
    filled(s, "FC", 0)
    for _ in range(45):
        s.client.request("FC.a", BIG)
    sid = s.client.subscribe("deliver.fc")
    s.consumer("FC", "c", ack_policy="none", deliver_subject="deliver.fc", flow_control=True,
               idle_heartbeat=300 * MS_NS)
    frames = [s.client.next_message(sid=sid)]
    while frames[-1].status != "100 Idle Heartbeat":
        frames.append(s.client.next_message(sid=sid))
    s.note(f"until it stalls {_sizes(frames)}")
    request = next(frame for frame in frames if frame.status == "100 FlowControl Request")
    s.note(f"reply {re.fullmatch('[$]JS[.]FC[.]FC[.]c[.][0-9A-Za-z]{4}', request.reply) is not None}")
    s.hide(request.reply, "<fc>")
    s.frame("stalled", frames[-1])
    s.client.publish(request.reply[:-1] + "!", b"")
    s.client.publish(request.reply, b"")
    frames = [s.client.next_message(sid=sid)]
    while frames[-1].status != "100 Idle Heartbeat":
        frames.append(s.client.next_message(sid=sid))
    s.note(f"after the answer {_sizes(frames)}")
    for frame in frames:
        if frame.reply and not frame.payload:
            s.hide(frame.reply, "<fc2>")
    s.frame("at the end", frames[-1])


def ordered_consumer(s: Session) -> None:
    """What client libraries make for an ordered consumer."""
    filled(s, "OC", 3)
    sid = s.client.subscribe("deliver.oc")
    config = {"ack_policy": "none", "deliver_subject": "deliver.oc", "flow_control": True, "max_deliver": 1,
              "idle_heartbeat": 5 * SECOND_NS, "mem_storage": True, "num_replicas": 1, "ack_wait": 79_200 * SECOND_NS,
              "inactive_threshold": 300 * SECOND_NS, "headers_only": True}
    named(s, "OC", "o", **config)
    s.frames("all", [s.client.next_message(sid=sid) for _ in range(3)])
    quiet(s, "CONSUMER.DELETE.OC.o")
    named(s, "OC", "o", **{**config, "deliver_policy": "by_start_sequence", "opt_start_seq": 3})
    s.frames("from the gap", [s.client.next_message(sid=sid)])


def push_redelivery(s: Session) -> None:
    filled(s, "PR", 2)
    sid = s.client.subscribe("deliver.pr")
    s.consumer("PR", "c", ack_policy="explicit", deliver_subject="deliver.pr", ack_wait=100 * MS_NS, max_deliver=2)
    s.frames("twice", [s.client.next_message(sid=sid) for _ in range(4)])
    s.consumer("PR", "m", ack_policy="explicit", deliver_subject="deliver.pm", max_ack_pending=1)
    sid = s.client.subscribe("deliver.pm")
    frame = s.frame("one", s.client.next_message(sid=sid))
    bound(s, "PR.m", to=True, pending=1)
    s.frames("held", s.client.flush())
    s.client.publish(frame.reply, b"+ACK")
    s.frame("two", s.client.next_message(sid=sid))


def moves_elsewhere(s: Session) -> None:
    """A new deliver subject gets what was pending at once."""
    filled(s, "MV", 3)
    sid = s.client.subscribe("deliver.mv1")
    s.consumer("MV", "c", ack_policy="explicit", deliver_subject="deliver.mv1")
    got = [s.client.next_message(sid=sid) for _ in range(3)]
    s.ack(got[1])
    s.client.unsubscribe(sid)
    bound(s, "MV.c", to=False, pending=0)
    sid = s.client.subscribe("deliver.mv2")
    config = {"durable_name": "c", "ack_policy": "explicit", "deliver_subject": "deliver.mv2"}
    quiet(s, "CONSUMER.DURABLE.CREATE.MV.c", {"stream_name": "MV", "config": config})
    s.frames("again", [s.client.next_message(sid=sid) for _ in range(2)])
    state(s, "MV.c")


def rate_limit(s: Session) -> None:
    """Everything arrives in order, whatever the pace; how fast is not compared."""
    filled(s, "RA", 0, max_msg_size=500)
    for number in range(6):
        s.client.request("RA.a", b"%d" % number + b"x" * 300)
    sid = s.client.subscribe("deliver.ra")
    s.consumer("RA", "c", ack_policy="none", deliver_subject="deliver.ra", rate_limit_bps=100_000)
    s.note(f"{[s.client.next_message(sid=sid).payload[:1] for _ in range(6)]}")
    s.consumer("RA", "c", ack_policy="none", deliver_subject="deliver.ra")


def flow_ack_refusals(s: Session) -> None:
    filled(s, "FA", 1)
    push = {"deliver_subject": "deliver.fa"}
    for number, config in enumerate((
        {}, {"max_ack_pending": 5}, push, {**push, "flow_control": True}, {**push, "idle_heartbeat": 2 * SECOND_NS},
        {**push, "idle_heartbeat": 2 * SECOND_NS, "flow_control": True}, {**push, "max_ack_pending": -1},
        {**push, "ack_wait": SECOND_NS}, {**push, "backoff": [SECOND_NS]}, {**push, "max_deliver": 3},
        {**push, "max_deliver": -1}, {**push, "max_ack_pending": 3},
    )):
        s.consumer("FA", f"c{number}", **{"ack_policy": "flow_control", **config})
        s.client.request(f"$JS.API.CONSUMER.DELETE.FA.c{number}")
        body = {"stream_name": "FA", "config": {"name": "p", "ack_policy": "flow_control", **config}, "pedantic": True}
        s.api("CONSUMER.CREATE.FA.p", body)
        s.client.request("$JS.API.CONSUMER.DELETE.FA.p")


def flow_acks(s: Session) -> None:
    """Answers to flow control acknowledge what they say was received."""
    filled(s, "FL", 5)
    sid = s.client.subscribe("deliver.fl")
    s.consumer("FL", "c", ack_policy="flow_control", deliver_subject="deliver.fl", max_ack_pending=3)
    frames = [s.client.next_message(sid=sid) for _ in range(4)]
    s.note(f"at the limit {_sizes(frames)}")
    state(s, "FL.c")
    request = frames[-1]

    def answer(headers: dict[str, str] | None) -> None:
        s.client.publish(request.reply, b"", headers=headers)

    answer({"Nats-Last-Consumer": "2", "Nats-Last-Stream": "2"})
    frames = [s.client.next_message(sid=sid) for _ in range(3)]
    s.note(f"more {_sizes(frames)}")
    state(s, "FL.c")
    request = frames[-1]
    answer({"Nats-Last-Consumer": "4", "Nats-Last-Stream": "4"})
    frames = [s.client.next_message(sid=sid) for _ in range(2)]
    s.note(f"a heartbeat asks too {_sizes(frames)}")
    state(s, "FL.c")
    request = frames[-1]
    answer({"Nats-Last-Consumer": "5", "Nats-Last-Stream": "5"})
    s.frame("then it rests", s.client.next_message(sid=sid))
    state(s, "FL.c")
