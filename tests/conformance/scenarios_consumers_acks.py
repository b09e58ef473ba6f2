"""Acknowledgements: every kind under every policy, redelivery, its limits and its advisories."""

from __future__ import annotations

import hashlib
import json

from .compare import Session
from .scenarios_consumers import MS_NS, SECOND_NS, filled, quiet
from .scenarios_consumers_pull import ask, waiting
from .wire_client import Frame

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def state(s: Session, where: str, floor: bool = True) -> None:
    """What acknowledgements move."""
    info = quiet(s, f"CONSUMER.INFO.{where}")
    shown = ("delivered", "ack_floor") if floor else ("delivered",)
    seqs = [(info[key]["consumer_seq"], info[key]["stream_seq"]) for key in shown]
    counts = [info[key] for key in ("num_ack_pending", "num_redelivered", "num_pending", "num_waiting")]
    s.note(f"{where} delivered, floor {seqs} acks, redelivered, pending, waiting {counts}")


def say(s: Session, subject: str, body: bytes, fence: str) -> None:
    """One ack with a reply: what comes back for it before the answer to +WPI on `fence`, which is sent behind it and
    taken after it."""
    reply = s.client.new_reply()
    s.client.publish(subject, body, reply)
    s.client.request(fence, b"+WPI")
    shown = subject if len(subject) < 60 else subject[:60] + "..."
    s.frames(f"SAY {shown} {body!r}", [frame for frame in s.client.flush() if frame.subject == reply])


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


def ack_subjects(s: Session) -> None:
    """Both layouts are understood; what is neither finds nobody."""
    filled(s, "SU", 9)
    s.consumer("SU", "c", ack_policy="explicit")
    got = s.pull("SU", "c", {"batch": 9}, 9)
    account = "".join(DIGITS[byte % 62] for byte in hashlib.sha256(b"$G").digest())[:8]
    rest = [frame.reply.removeprefix("$JS.ACK.") for frame in got]
    for subject in (rest[0], f"{rest[1]}.token", f"{rest[2]}.token.more"):
        s.frame(subject, s.client.request(f"$JS.ACK._.{account}.{subject}", b"+ACK"), subject=False)
    state(s, "SU.c")
    fence = got[8].reply
    numbers = rest[3].split(".")
    for frame in got[:4]:
        s.hide(frame.reply.split(".")[7], "<ns>")
    for subject in (
        f"$JS.ACK.{rest[3]}.5", "$JS.ACK." + ".".join(numbers[:-1]), f"$JS.ACK._.wrong.{rest[3]}",
        f"$JS.ACK.dom.{account}.{rest[3]}", "$JS.ACK.SU.d." + ".".join(numbers[2:]), "$JS.ACK.SU.c",
    ):
        say(s, subject, b"+ACK", fence)
    state(s, "SU.c")
    for subject in ("$JS.ACK.SU.c.1.5.5.5.0", "$JS.ACK.SU.c.9.6.77.5.0", "$JS.ACK.SU.c.0.7.0.0.0"):
        say(s, subject, b"+ACK", fence)
    state(s, "SU.c")
    s.publish("SU.a", b"x")
    say(s, "$JS.ACK.SU.c.1.10.10.5.0", b"+ACK", fence)
    s.consumer("SU", "none", ack_policy="none")
    say(s, s.pull("SU", "none", b"1", 1)[0].reply, b"+ACK", fence)


def ack_bodies(s: Session) -> None:
    """Only the exact words count; anything else is answered and changes nothing."""
    filled(s, "AB", 9)
    s.consumer("AB", "c", ack_policy="explicit")
    got = s.pull("AB", "c", {"batch": 9}, 9)
    for body in (b"+ack", b"+ACK ", b" +ACK", b"+ACKS", b"ACK", b"+OKAY", b"x", b"-nak", b"+WPI ", b"+TER", b"\r\n"):
        s.ack(got[0], body)
    state(s, "AB.c")
    for number, body in enumerate((b"", b"+ACK", b"+OK", b"+TERM", b"+TERMx", b"+TERM   because ")):
        s.ack(got[number], body)
        state(s, "AB.c")
    s.client.publish(got[6].reply, b"+ACK", s.client.new_reply(), {"A": "b"})
    s.frame("with headers", s.client.next_message(sid="1"))
    s.client.publish(got[7].reply, b"+ACK")
    s.ack(got[8], b"")
    state(s, "AB.c")
    for body in (b"+ACK", b"-NAK", b"+WPI", b"+TERM"):
        s.ack(got[0], body)
    state(s, "AB.c")


def next_forms(s: Session) -> None:
    filled(s, "NX", 8)
    s.consumer("NX", "c", ack_policy="explicit", max_batch=3)
    first = s.pull("NX", "c", b"1", 1)[0]

    def following(frame: Frame, body: bytes, count: int) -> list[Frame]:
        s.client.publish(frame.reply, body, s.client.new_reply())
        return s.frames(f"{body!r}", [s.client.next_message(sid="1") for _ in range(count)])

    got = following(first, b"+NXT 2", 2)
    got = following(got[0], b'+NXT {"batch":1,"no_wait":true}', 1)
    got = following(got[0], b"+NXT junk", 1)
    following(got[0], b"+NXT 9", 1)
    following(got[0], b'+NXT{"batch":1', 1)
    s.client.publish(got[0].reply, b"+NXT")
    got = following(got[0], b"+NXT1", 1)
    state(s, "NX.c")


def nak_forms(s: Session) -> None:
    filled(s, "NK", 3)
    sid = s.client.subscribe("$JS.EVENT.ADVISORY.CONSUMER.MSG_NAKED.>")
    s.consumer("NK", "c", ack_policy="explicit", ack_wait=20 * SECOND_NS)
    got = s.pull("NK", "c", b"3", 3)
    for body in (b"-NAK", b"-NAK ", b"-NAK bad", b"-NAK {", b'-NAK {"delay":"1s"}', b"-NAK 0s", b"-NAK -5s", b"-NAK 0",
                 b'-NAK {"delay":0}', b'-NAK {"delay":-1}', b"-NAKED", b"-NAK 1.5ms", b"-NAK1ms", b"-NAK {}"):
        s.client.publish(got[0].reply, body)
        s.frame(repr(body), s.client.next_message(sid=sid))
        s.pull("NK", "c", {"batch": 1, "expires": 5 * SECOND_NS}, 1)
    s.ack(got[0])
    s.client.publish(got[0].reply, b"-NAK")
    s.ack(got[0], b"-NAK")
    state(s, "NK.c")
    s.client.publish(got[2].reply, b"-NAK")
    s.client.publish(got[1].reply, b"-NAK")
    s.client.publish(got[2].reply, b"-NAK")
    s.frames("three naks", [s.client.next_message(sid=sid) for _ in range(3)])
    s.pull("NK", "c", b"2", 2)
    state(s, "NK.c")


def nak_later_instead(s: Session) -> None:
    """A delay takes a message out of the queue; an ack of a queued message as well."""
    filled(s, "NL", 3)
    s.consumer("NL", "c", ack_policy="explicit")
    got = s.pull("NL", "c", b"3", 3)
    s.client.publish(got[0].reply, b"-NAK")
    s.client.publish(got[1].reply, b"-NAK")
    s.client.publish(got[2].reply, b"-NAK")
    s.ack(got[0], b"-NAK 100ms")
    s.ack(got[2], b"+ACK")
    s.pull("NL", "c", {"batch": 2, "expires": 5 * SECOND_NS}, 2)
    state(s, "NL.c")
    s.client.publish(got[0].reply, b"-NAK")
    s.ack(got[0], b"+WPI")
    s.pull("NL", "c", {"batch": 1, "no_wait": True}, 1)


def in_progress(s: Session) -> None:
    """+WPI starts the wait anew, for its message only."""
    filled(s, "WP", 2)
    s.consumer("WP", "c", ack_policy="explicit", ack_wait=250 * MS_NS)
    got = s.pull("WP", "c", b"2", 2)
    s.pull("WP", "c", {"batch": 1, "expires": 150 * MS_NS}, 1)
    s.ack(got[0], b"+WPI")
    again = s.pull("WP", "c", {"batch": 2, "expires": 5 * SECOND_NS}, 2)
    s.note(f"order {[frame.payload for frame in again]}")


def terminations(s: Session) -> None:
    filled(s, "TE", 4)
    sid = s.client.subscribe("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>")
    s.consumer("TE", "c", ack_policy="explicit")
    got = s.pull("TE", "c", b"4", 4)
    for frame, body in zip(got, (b"+TERM", b"+TERM a reason", b'+TERM "<quoted>&\xc3\xa9"', b"+TERM"), strict=True):
        s.ack(frame, body)
        s.frame("advisory", s.client.next_message(sid=sid))
    s.ack(got[0], b"+TERM twice")
    s.frame("advisory", s.client.next_message(sid=sid))
    s.ack(got[1], b"+ACK")
    state(s, "TE.c")
    s.consumer("TE", "all", ack_policy="all")
    got = s.pull("TE", "all", b"3", 3)
    s.ack(got[1], b"+TERM")
    s.frame("advisory", s.client.next_message(sid=sid))
    state(s, "TE.all")


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


def redelivery_order(s: Session) -> None:
    """What expired together comes in the order of the stream, before what is new."""
    filled(s, "RO", 6)
    s.consumer("RO", "c", ack_policy="explicit", ack_wait=150 * MS_NS)
    got = s.pull("RO", "c", b"4", 4)
    s.ack(got[1])
    ask(s, "RO", "c", {"batch": 2, "no_wait": True})
    new = [s.client.next_message(sid="1") for _ in range(2)]
    s.frames("new ones", new)
    again = s.pull("RO", "c", {"batch": 5, "expires": 5 * SECOND_NS}, 5)
    s.note(f"again {[frame.payload for frame in again]}")
    for frame in again:
        s.ack(frame)
    state(s, "RO.c")


def exhausted(s: Session) -> None:
    """Delivered as often as allowed: not pending, counted as redelivered, still there to be acknowledged."""
    filled(s, "EX", 3)
    sid = s.client.subscribe("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>")
    s.consumer("EX", "two", ack_policy="explicit", ack_wait=20 * SECOND_NS, max_deliver=2)
    got = s.pull("EX", "two", b"2", 2)
    s.client.publish(got[0].reply, b"-NAK")
    second = s.pull("EX", "two", b"1", 1)[0]
    state(s, "EX.two", floor=False)
    s.client.publish(second.reply, b"-NAK")
    s.pull("EX", "two", {"batch": 1, "no_wait": True}, 1)
    s.frame("advisory", s.client.next_message(sid=sid))
    state(s, "EX.two", floor=False)
    s.ack(got[1])
    state(s, "EX.two", floor=False)
    s.ack(second)
    state(s, "EX.two", floor=False)
    s.consumer("EX", "one", ack_policy="explicit", ack_wait=100 * MS_NS, max_deliver=1)
    got = s.pull("EX", "one", b"2", 2)
    both = [s.client.next_message(sid=sid) for _ in range(2)]      # nats-server tells of them in any order
    s.frames("advisories", sorted(both, key=lambda frame: json.loads(frame.payload)["stream_seq"]))
    state(s, "EX.one", floor=False)
    change = {"durable_name": "one", "ack_policy": "explicit", "ack_wait": 100 * MS_NS, "max_deliver": 5}
    quiet(s, "CONSUMER.DURABLE.CREATE.EX.one", {"stream_name": "EX", "config": change})
    state(s, "EX.one", floor=False)
    quiet(s, "STREAM.MSG.DELETE.EX", {"seq": 1})
    state(s, "EX.one", floor=False)
    s.ack(got[1])
    state(s, "EX.one", floor=False)


def deleted_while_pending(s: Session) -> None:
    filled(s, "DE", 5, max_msgs=5)
    sid = s.client.subscribe("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>")
    s.consumer("DE", "c", ack_policy="explicit")
    s.pull("DE", "c", b"4", 4)
    quiet(s, "STREAM.MSG.DELETE.DE", {"seq": 2})
    s.frame("deleted", s.client.next_message(sid=sid))
    state(s, "DE.c")
    s.client.request("DE.9", b"x")
    s.client.request("DE.9", b"y")
    s.frame("limits", s.client.next_message(sid=sid))
    state(s, "DE.c")
    quiet(s, "STREAM.PURGE.DE", {"seq": 4})
    state(s, "DE.c")
    quiet(s, "STREAM.PURGE.DE")
    state(s, "DE.c")
    s.frames("no more", [frame for frame in s.client.flush() if frame.sid == sid])


def backoff_steps(s: Session) -> None:
    filled(s, "BO", 1)
    s.consumer("BO", "c", ack_policy="explicit", backoff=[50 * MS_NS, 100 * MS_NS, 150 * MS_NS], max_deliver=6)
    s.pull("BO", "c", {"batch": 4, "expires": 5 * SECOND_NS}, 4)
    state(s, "BO.c")
    s.consumer("BO", "c", ack_policy="explicit", ack_wait=SECOND_NS, max_deliver=6)


def ack_all_floors(s: Session) -> None:
    filled(s, "AA", 9)
    s.consumer("AA", "c", ack_policy="all", filter_subject="AA.0")
    got = s.pull("AA", "c", b"4", 4)
    state(s, "AA.c")
    for number in (1, 0, 3, 2):
        s.ack(got[number])
        state(s, "AA.c")
    s.pull("AA", "c", b"1", 1)


def max_ack_pending(s: Session) -> None:
    filled(s, "MA", 6)
    s.consumer("MA", "c", ack_policy="explicit", max_ack_pending=2)
    ask(s, "MA", "c", {"batch": 6, "expires": 5 * SECOND_NS})
    got = s.frames("two", [s.client.next_message(sid="1") for _ in range(2)])
    state(s, "MA.c")
    s.client.publish(got[1].reply, b"+ACK")
    got += s.frames("one", [s.client.next_message(sid="1")])
    s.client.publish(got[0].reply, b"+TERM")
    got += s.frames("one", [s.client.next_message(sid="1")])
    s.client.publish(got[2].reply, b"-NAK")
    s.frames("again", [s.client.next_message(sid="1")])
    s.consumer("MA", "c", ack_policy="explicit", max_ack_pending=3)
    s.frames("one more", [s.client.next_message(sid="1")])
    ask(s, "MA", "c", {"batch": 1, "expires": 5 * SECOND_NS})
    waiting(s, "MA.c", until=1)
    s.consumer("MA", "c", ack_policy="explicit", max_ack_pending=-1)
    s.frames("and the last", [s.client.next_message(sid="1")])
    state(s, "MA.c")


def _metric(s: Session, sid: str) -> None:
    """One sample, without the time that the client took."""
    frame = s.client.next_message(sid=sid)
    document = json.loads(frame.payload)
    assert 0 < document.pop("ack_time") < 5 * SECOND_NS
    s.frame("metric", frame._replace(payload=json.dumps(document).encode()))


def ack_metrics(s: Session) -> None:
    filled(s, "ME", 4)
    sid = s.client.subscribe("$JS.EVENT.METRIC.>")
    s.consumer("ME", "c", ack_policy="explicit", sample_freq="100%")
    got = s.pull("ME", "c", b"3", 3)
    s.ack(got[0])
    _metric(s, sid)
    s.ack(got[1], b"+TERM")
    s.ack(got[0])
    s.client.publish(got[2].reply, b"+NXT", s.client.new_reply())
    _metric(s, sid)
    s.consumer("ME", "c", ack_policy="explicit", sample_freq="0")
    s.client.flush()
    s.consumer("ME", "all", ack_policy="all", sample_freq="100")
    got = s.pull("ME", "all", b"2", 2)
    s.ack(got[1])
    s.frames("none", [frame for frame in s.client.flush() if frame.sid == sid])


def purged_beside_pending(s: Session) -> None:
    """A message that is pending, and that the consumer's filter and a purge pass by."""
    filled(s, "PB", 2)
    s.consumer("PB", "c", ack_policy="explicit")
    s.pull("PB", "c", {"batch": 2}, 2)
    s.consumer("PB", "c", ack_policy="explicit", filter_subject="PB.1")
    s.api("STREAM.PURGE.PB", {"filter": "PB.1"})
    s.note(f"pending: {quiet(s, 'CONSUMER.INFO.PB.c')['num_ack_pending']}")


def floors_of_what_left(s: Session) -> None:
    """What leaves the stream while it is pending moves the floor, and counts as the last acknowledgement."""

    def floor(where: str) -> None:
        s.note(f"{where} {sorted(quiet(s, f'CONSUMER.INFO.{where}')['ack_floor'])}")
        state(s, where)

    filled(s, "FL", 6)
    s.consumer("FL", "c", ack_policy="explicit")
    got = s.pull("FL", "c", b"4", 4)
    floor("FL.c")
    quiet(s, "STREAM.PURGE.FL", {"seq": 3})
    floor("FL.c")
    s.ack(got[2])
    quiet(s, "STREAM.PURGE.FL")
    floor("FL.c")
    filled(s, "FD", 6, max_msgs=6)
    s.consumer("FD", "c", ack_policy="explicit")
    s.pull("FD", "c", b"4", 4)
    quiet(s, "STREAM.MSG.DELETE.FD", {"seq": 1})
    floor("FD.c")
    for number in range(5):
        s.client.request("FD.1", b"%d" % number)
    s.client.flush()
    floor("FD.c")
