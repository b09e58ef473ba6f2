"""Who gets what: fan-out, queue groups, echo, headers, UNSUB, no responders, reserved subjects (reference 01.4)."""

from __future__ import annotations

import socket
from itertools import pairwise

from .raw import CoreRecord, Raw
from .scenarios_core import ALL, HDR, LOUD, PLAIN, QUIET

BLOCK = b"NATS/1.0\r\nA: b\r\n\r\n"


def pub(subject: bytes, body: bytes = b"", reply: bytes = b"") -> bytes:
    return b"PUB %s %s %d\r\n%s\r\n" % (subject, reply, len(body), body)


def hpub(subject: bytes, block: bytes, body: bytes = b"", reply: bytes = b"") -> bytes:
    return b"HPUB %s %s %d %d\r\n%s%s\r\n" % (subject, reply, len(block), len(block) + len(body), block, body)


def settle(s: CoreRecord, *raws: Raw) -> None:
    """What was sent to these took effect."""
    for raw in raws:
        raw.send(b"PING\r\n")
        raw.until_pong()


def fan_out(s: CoreRecord) -> None:
    near, far, third = s.open(QUIET), s.open(QUIET), s.open(LOUD)
    near.send(b"SUB a 1\r\nSUB a 2\r\nSUB * 3\r\nSUB a.b 4\r\n")
    far.send(b"SUB a sid.with-dots\r\nSUB > \xc3\xa9\r\n")
    third.send(b"SUB A 1\r\nSUB a 2\r\n")
    settle(s, near, far, third)
    for data in (pub(b"a", b"one"), pub(b"a", b"", b"reply.to"), hpub(b"a", BLOCK,
    b"x"), pub(b"a.b"), pub(b"A"), pub(b"zzz")):
        s.say(near, data, ordered=False)
        s.say(far, b"", label="far", ordered=False)
        s.say(third, b"", label="third", ordered=False)


def order(s: CoreRecord) -> None:
    """What one connection publishes arrives in order, and a PONG means that it has been routed."""
    source, sink = s.open(QUIET), s.open(QUIET + b"SUB a 1\r\nSUB b 2\r\n")
    settle(s, source, sink)
    s.say(source, b"".join(pub((b"a", b"b")[i % 3 == 0], b"%d" % i) for i in range(50)), label="fifty")
    s.say(sink, b"", label="fifty received")


def queue_groups(s: CoreRecord) -> None:
    source = s.open(QUIET)
    members = [s.open(QUIET) for _ in range(3)]
    for number, member in enumerate(members):
        member.send(b"SUB q.* g %d\r\nSUB q.1 g 9%d\r\nSUB q.1 other 7\r\nSUB q.1 8\r\n" % (number, number))
    settle(s, *members)
    s.say(source, b"".join(pub(b"q.1", b"%d" % i) for i in range(300)), label="three hundred")
    seen: dict[bytes, list[bytes]] = {}
    for member in members:
        for frame in s_quiet(member):
            seen.setdefault(frame.split()[2], []).append(frame.split(b"\r\n")[1])
    groups = {b"g": [b"0", b"1", b"2", b"90", b"91", b"92"], b"other": [b"7"]}
    for name, sids in groups.items():
        bodies = [body for sid in sids for body in seen.get(sid, [])]
        s.note(f"group {name!r} got {len(bodies)}, {len(set(bodies))} different")
    s.note(f"plain got {len(seen[b'8'])}; every member of g got some: {all(seen.get(sid) for sid in groups[b'g'])}")
    members[0].send(b"UNSUB 0\r\nUNSUB 90\r\n")
    members[1].send(b"UNSUB 1 1\r\nUNSUB 91 1\r\n")
    members[2].send(b"UNSUB 2\r\nUNSUB 92 1\r\n")
    settle(s, *members)
    s.say(source, pub(b"q.1") * 20, label="members leave")
    late = s.open(QUIET)
    s.say(late, b"SUB q.1 g 1\r\n" + pub(b"q.1", b"last one"))


def echo(s: CoreRecord) -> None:
    mute = s.open(b'CONNECT {"echo":false,"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n')
    s.say(mute, b"SUB a 1\r\nSUB a g 2\r\nSUB in 3\r\n" + pub(b"a") + pub(b"a", b"", b"in"))
    other = s.open(QUIET + b"SUB a g 1\r\n")
    settle(s, other)
    s.say(mute, pub(b"a", b"x", b"in") * 10)
    s.note(f"the other member got all: {len(s_quiet(other))}")
    s.say(mute, b"UNSUB 2\r\n")
    s.say(other, pub(b"a", b"from the other"), label="other publishes")
    s.say(mute, b"", label="and is heard")


def s_quiet(raw: Raw) -> list[bytes]:
    raw.send(b"PING\r\n")
    return [frame for frame in raw.until_pong()[0] if not frame.startswith(b"INFO")]


def headers(s: CoreRecord) -> None:
    """Relayed unchanged, whatever they are; cut off for those who did not ask for them."""
    rich, poor = s.open(QUIET + ALL), s.open(PLAIN + ALL)
    settle(s, rich, poor)
    for block in (
        HDR, BLOCK, b"", b"X", b"NATS/1.0 503\r\n\r\n", b"NATS/1.0\r\nno colon\r\n\r\n", b"\x00\xff\r\n",
        b"NATS/1.0\r\nK: 1\r\nK: 2\r\n\r\n",
        b"NATS/9.9\r\n\r\n", b"NATS/1.0\r\n" + b"K: v\r\n" * 500 + b"\r\n", b"\r\n",
        b"NATS/1.0\r\nk:v\r\n K\t:  v \r\n\r\n",
    ):  # fmt: skip
        for body in (b"", b"body"):
            for reply in (b"", b"r"):
                s.say(rich, hpub(b"h", block, body, reply), label=f"{block[:30]!r} {body!r} {reply!r}")
                s.say(poor, b"", label="without headers")
    s.fatal(poor, b"HPUB a 12 12\r\n" + HDR + b"\r\n")
    bare = s.open(ALL)
    s.fatal(bare, hpub(b"h", BLOCK))


def unsubscribe(s: CoreRecord) -> None:
    def life(*frames: bytes) -> None:
        raw = s.open(QUIET)
        s.say(raw, b"".join(frames), ordered=False)
        raw.close()

    life(b"SUB a 1\r\nUNSUB 1 2\r\n", pub(b"a") * 4)
    life(b"SUB a 1\r\n", pub(b"a") * 2, b"UNSUB 1 2\r\n", pub(b"a"))
    life(b"SUB a 1\r\n", pub(b"a") * 2, b"UNSUB 1 3\r\n", pub(b"a") * 3)
    life(b"SUB a 1\r\nUNSUB 1 2\r\nUNSUB 1 4\r\n", pub(b"a") * 6)
    life(b"SUB a 1\r\nUNSUB 1 5\r\n", pub(b"a") * 2, b"UNSUB 1 1\r\n", pub(b"a") * 2)
    life(b"SUB a 1\r\nUNSUB 1 1\r\n", pub(b"a"), b"SUB b 1\r\n", pub(b"a"), pub(b"b"))
    life(b"SUB a 1\r\nUNSUB 1 2\r\nSUB b 1\r\n", pub(b"a") * 3, pub(b"b"))
    life(b"SUB a 1\r\nSUB a 2\r\nUNSUB 1 1\r\nUNSUB 2 2\r\n", pub(b"a") * 3)
    life(b"SUB a g 1\r\nSUB a g 2\r\nUNSUB 1 1\r\nUNSUB 2 1\r\n", pub(b"a") * 4)
    life(b"SUB in 1\r\nUNSUB 1 1\r\n", pub(b"nobody", b"", b"in") * 3, pub(b"in"), pub(b"nobody", b"", b"in"))
    life(b"UNSUB nothing\r\nUNSUB nothing 5\r\nSUB a nothing\r\n", pub(b"a"))
    life(b"SUB a 1\r\nUNSUB 1 999999999\r\n", pub(b"a"))


def no_responders(s: CoreRecord) -> None:
    raw = s.open(QUIET)
    s.say(raw, pub(b"nobody", b"x", b"in"))
    s.say(raw, b"SUB in 1\r\n" + pub(b"nobody", b"x", b"in"))
    s.say(raw, hpub(b"nobody", BLOCK, b"x", b"in"))
    s.say(raw, pub(b"no.bo-dy.\xc3\xa9", b"", b"in") + pub(b"a..b", b"", b"in") + pub(b">", b"", b"in"))
    s.say(raw, pub(b"nobody", b"", b"in.side") + b"SUB in.* 2\r\n" + pub(b"nobody", b"", b"in.side"))
    s.say(raw, b"UNSUB 1\r\nUNSUB 2\r\nSUB in g 3\r\n" + pub(b"nobody", b"", b"in"))
    s.say(raw, pub(b"nobody", b"", b"in"))
    other = s.open(QUIET + b"SUB else 1\r\n")
    settle(s, other)
    s.say(raw, pub(b"nobody", b"", b"else"))
    s.say(other, b"", label="the owner of that inbox hears nothing")
    s.say(raw, b"SUB nobody 4\r\nSUB in 5\r\n" + pub(b"nobody", b"", b"in"))
    late = s.open(PLAIN)
    s.say(late, b"SUB in 1\r\n" + pub(b"none", b"", b"in"))
    loud = s.open(b'CONNECT {"headers":true,"no_responders":true}\r\n')
    s.say(loud, b"SUB in 1\r\n" + pub(b"none", b"", b"in"))
    service = s.open(QUIET + b"SUB none g 1\r\n")
    settle(s, service)
    s.say(loud, pub(b"none", b"?", b"in"))
    service.close()
    s.target.closed_reason(service.cid)
    s.say(loud, pub(b"none", b"?", b"in"))


def reserved(s: CoreRecord) -> None:
    """Subjects and replies that belong to servers."""
    raw = s.open(QUIET + ALL)
    for subject in (
        b"_GR_", b"_GR_.", b"_GR_.x", b"_GR_.abcdef.ghijkl.in", b"$GR", b"$GR.", b"$GR.x", b"$GR.1.2", b"$NRG",
        b"$NRG.", b"$NRG.a", b"$NRG.V.x", b"_GNR_.a",
        b"_R_.x", b"$JS.ACK.x", b"$JS.ACK.a.b.1.2.3.4.5", b"$JS.API.INFO", b"$JS.API.STREAM.NAMES", b"$JS.EVENT.x",
        b"$SYS.x", b"$SYS.REQ.x", b"$KV.b.k",
        b"_INBOX.1", b"$G", b'_GR_."q"\\', b"$NRG.\x01\xff",
    ):  # fmt: skip
        s.say(raw, pub(subject, b"x"))
    for reply in (
        b"_R_", b"_R_.", b"_R_.x", b"_R_x", b"_GR_", b"_GR_.", b"_GR_.x", b"$GR.", b"$GR.x", b"$JS.ACK", b"$JS.ACK.",
        b"$JS.ACK.x", b"$JS.ACKx",
        b"$JS.FC.x", b"a..b", b">", b"*", b".", b'$JS.ACK."', b"_R_.\xe2\x82\xac\x00",
    ):  # fmt: skip
        s.say(raw, pub(b"a", b"x", reply))
        s.say(raw, hpub(b"a", BLOCK, b"x", reply))
    s.say(raw, b"SUB _GR_.> 1\r\nSUB $NRG.> 2\r\nSUB _R_.> 3\r\nSUB $SYS.> 4\r\nSUB $JS.> 5\r\n")


def pedantic(s: CoreRecord) -> None:
    """Invalid publish subjects are told and processed all the same; replies are not judged."""
    raw = s.open(b'CONNECT {"verbose":false,"headers":true}\r\n' + ALL)
    for subject in (b"a", b"a.b", b"*", b">", b"a.*", b"a.>", b"a.>.b", b".", b"a.", b".a", b"a..b", b"a*", b">a",
    b"**", b"a\x0cb", b"a\x00", b"\xff"):
        s.say(raw, pub(subject, b"x"))
        s.say(raw, hpub(subject, BLOCK))
    s.say(raw, pub(b"a", b"", b"r..r") + pub(b"a", b"", b">") + b"SUB a..b 1\r\nSUB a.* 2\r\n")


def verbose(s: CoreRecord) -> None:
    raw = s.open(LOUD)
    s.say(raw, b"SUB a 1\r\nSUB a 1\r\nSUB a g 2\r\nUNSUB 2\r\nUNSUB nothing\r\nPING\r\nPONG\r\n+OK\r\nINFO {}\r\n")
    s.say(raw, pub(b"a", b"x") + hpub(b"a", BLOCK, b"x") + pub(b"nobody", b"", b"in"))
    s.say(raw, b"SUB a.. 3\r\nSUB a _sys_ 4\r\n" + pub(b"$NRG.x") + pub(b"a", b"", b"_R_.x") + pub(b"a..b"))
    s.say(raw, b"UNSUB 1 1\r\n" + pub(b"a") * 2)
    s.fatal(raw, b"SUB\r\n")


def output_before_the_end(s: CoreRecord) -> None:
    """What was to be said before a connection ends is said."""
    for ending in (b"X\r\n", b"PUB a 99999999\r\n", b"PUB a\r\n", b"-ERR 'x'\r\n"):
        raw = s.open(QUIET)
        s.fatal(raw, b"SUB a 1\r\n" + pub(b"a", b"last") + b"PING\r\n" + ending)
    for count in (1, 2000):
        raw = s.open(QUIET + b"SUB a 1\r\n")
        raw.send(pub(b"a", b"x" * 100) * count + b"PING\r\n")
        raw.socket.shutdown(socket.SHUT_WR)
        heard = raw.until_closed()
        s.note(f"half closed: {heard.count(b'MSG a 1 100')} messages, {heard.count(b'PONG')} PONG")
        s.note(s.target.closed_reason(raw.cid))
    raw = s.open(QUIET)
    raw.close()
    s.note(s.target.closed_reason(raw.cid))
    raw = s.open(QUIET + b"PUB a 100\r\nhalf of")
    raw.close()
    s.note(s.target.closed_reason(raw.cid))


def ids(s: CoreRecord) -> None:
    cids = [s.open().cid for _ in range(5)]
    s.note(f"client ids grow by one: {[b - a for a, b in pairwise(cids)]}")


SCENARIOS = [
    fan_out, order, queue_groups, echo, headers, unsubscribe, no_responders, reserved, pedantic, verbose,
    output_before_the_end, ids,
]  # fmt: skip
