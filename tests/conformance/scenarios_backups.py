"""What a client sees of snapshots and restores. How an archive is compressed is not compared, what is in it is."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

from millpond.store.backup.s2_stream import S2Writer

from .backups import Taken, begin, give, messages, plain, take
from .compare import Session, normalise, show_payload

SECOND_NS = 1_000_000_000
ADVISORIES = "$JS.EVENT.ADVISORY.STREAM.>"


def noted(s: Session, label: str, answer: Any) -> Any:
    s.documents.append(json.dumps(answer).encode())
    s.note(f"{label} -> {json.dumps(answer)}")
    return answer


def taken(s: Session, stream: str, **asked: Any) -> Taken:
    """Takes a snapshot and records its answer, what is in it, and the end."""
    snapshot = take(s.client, stream, **asked)
    noted(s, f"SNAPSHOT {stream} {asked}", snapshot.answer)
    if snapshot.frames:
        s.note(f"end: {snapshot.frames[-1].headers!r} reply={snapshot.frames[-1].reply!r}")
        for name, ts_ns, seq, content in messages(snapshot.archive):
            s.note(f"  {name} {'-' if ts_ns == 0 else '<time>'} {seq} {shown(name, content)}")
    return snapshot


def shown(name: str, content: bytes) -> str:
    """An entry's content; the times of deliveries are of this run."""
    if name != "state.json" and not name.startswith("consumers/"):
        return repr(content[:100])
    document = json.loads(content)
    for row in document.get("state", {}).get("pending", {}).values():
        row["Timestamp"] = row["Timestamp"] > 0
    return json.dumps(document)


def given(s: Session, stream: str, config: dict[str, Any], archive: bytes, chunk_bytes: int = 64 * 1024) -> Any:
    return noted(s, f"RESTORE {stream}", give(s.client, stream, config, archive, chunk_bytes=chunk_bytes))


def filled(s: Session, name: str = "BACK", **config: Any) -> Any:
    """A stream with gaps at its head, inside and at its end, and headers."""
    made = s.stream(name, subjects=[f"{name}.>"], **config)
    for number in range(12):
        headers = {"A": str(number)} if number % 3 == 0 else None
        s.publish(f"{name}.{number % 4}", b"data %d" % number * (number + 1), headers)
    for seq in (1, 2, 6, 9, 12):
        s.api(f"STREAM.MSG.DELETE.{name}", {"seq": seq})
    return made


def seen(s: Session, name: str = "BACK") -> None:
    """Everything a client can ask of the stream and its consumers."""
    answer = s.api(f"STREAM.INFO.{name}", {"deleted_details": True, "subjects_filter": ">"})
    for seq in range(answer.get("state", {}).get("first_seq", 0), answer.get("state", {}).get("last_seq", -1) + 2):
        s.api(f"STREAM.MSG.GET.{name}", {"seq": seq})
    for consumer in s.api(f"CONSUMER.NAMES.{name}").get("consumers") or []:
        s.api(f"CONSUMER.INFO.{name}.{consumer}")


def snapshot_requests(s: Session) -> None:
    filled(s)
    for body in (
        b"", b"{}", b"{", b"[]", {"deliver_subject": ""}, {"deliver_subject": "a.*"}, {"deliver_subject": "a b"},
        {"deliver_subject": 1}, {"deliver_subject": "x", "more": 1}, {"deliver_subject": "x", "chunk_size": "1"},
        {"no_consumers": True},
    ):
        s.api("STREAM.SNAPSHOT.BACK", body)
    for body in (b"", {"deliver_subject": "x"}, b"{"):
        s.api("STREAM.SNAPSHOT.NONE", body)
    s.account()


def snapshots(s: Session) -> None:
    filled(s, max_msgs=100, description="<a>", metadata={"k": "v"})
    taken(s, "BACK")
    taken(s, "BACK", no_consumers=True, jsck=True)
    s.consumer("BACK", "one", ack_policy="explicit", filter_subject="BACK.1")
    s.consumer("BACK", "all", ack_policy="all", max_ack_pending=5)
    frames = s.pull("BACK", "one", {"batch": 2, "no_wait": True}, 2)
    s.ack(frames[1])
    s.pull("BACK", "all", {"batch": 3, "no_wait": True}, 3)
    taken(s, "BACK")
    taken(s, "BACK", no_consumers=True)
    s.stream("EMPTY", subjects=["e"])
    taken(s, "EMPTY")
    s.publish("e", b"x")
    s.api("STREAM.PURGE.EMPTY")
    taken(s, "EMPTY")
    s.account()


def snapshot_in_chunks(s: Session) -> None:
    """Chunks are full but for the last; the size asked for is clamped."""
    s.stream("BIG", subjects=["big"])
    for number in range(8):
        s.publish("big", bytes((number * 7 + i * i * 13 + (i >> 8) * 31) & 0xFF for i in range(3000)))
    for size, window in ((1, 1), (1024, 2048), (5000, 0), (0, 0), (1 << 30, 1 << 30)):
        snapshot = take(s.client, "BIG", chunk_size=size, window_size=window)
        full = [frame for frame in snapshot.frames if frame.reply]
        s.note(f"{size}: sizes {sorted({len(frame.payload) for frame in full})}, end {snapshot.frames[-1].headers!r}")
        tails = [frame.reply.split(".")[5:] for frame in full]
        s.note(f"acks {tails[:3]} {full[0].reply.split('.')[:4] if full else ''}")
        assert all(tail == [str(len(full[0].payload)), str(i + 1)] for i, tail in enumerate(tails)), tails
        s.note(f"{[(name, seq, len(content)) for name, _, seq, content in messages(snapshot.archive)[1:]]}")


def snapshot_advisories(s: Session) -> None:
    filled(s)
    s.client.subscribe(ADVISORIES)
    snapshot = take(s.client, "BACK")
    advised(s, "snapshot")
    s.api("STREAM.DELETE.BACK")
    s.client.flush()
    noted(s, "restored", give(s.client, "BACK", snapshot.answer["config"], plainly(snapshot.archive)))
    advised(s, "restored")
    noted(s, "again", give(s.client, "BACK", snapshot.answer["config"], plainly(snapshot.archive)))
    advised(s, "again")
    s.api("STREAM.DELETE.BACK")
    s.client.flush()
    noted(s, "nothing", give(s.client, "BACK", snapshot.answer["config"], b""))
    advised(s, "nothing")
    answer = begin(s.client, "BACK", snapshot.answer["config"])
    s.client.flush()
    s.client.publish(answer["deliver_subject"], b"no reply")
    advised(s, "a chunk without a reply", 1)
    late = s.client.request(answer["deliver_subject"], b"x")
    s.note(f"a chunk behind the end: {late.status}")


def advised(s: Session, label: str, count: int = 0) -> None:
    """Advisories so far, in no order: nats-server sends some of them when it comes to it. `count`: as many as come."""
    frames = [s.client.next_message(sid="2") for _ in range(count)] or s.client.flush()
    shown = []
    for frame in frames:
        body = json.loads(frame.payload)
        s.documents.append(frame.payload)
        if "bytes" in body:
            body["bytes"] = "<some>" if body["bytes"] else 0
        shown.append(f"{frame.subject} {normalise(show_payload(json.dumps(body).encode()), {})}")
    s.note(f"{label}: {sorted(shown)}")


def plainly(archive: bytes) -> bytes:
    """The same archive in an encoding that does not depend on the server."""
    return bytes(S2Writer().encode_all(plain(archive)))


def restore_requests(s: Session) -> None:
    filled(s)
    s.stream("SIZED", subjects=["sized"], max_msg_size=1000)
    name = {"name": "BACK2", "subjects": ["other"], "storage": s.storage}
    for stream, body in (
        ("BACK2", b""), ("BACK2", b"{}"), ("BACK2", b"{"), ("BACK2", {"config": {}}), ("BACK2", {"config": 1}),
        ("BACK2", {"config": name, "state": {"messages": -1}}), ("BACK2", {"config": name, "more": {}}),
        ("BACK2", {"config": {**name, "name": "OTHER"}}), ("BACK2", {"config": {**name, "retention": "x"}}),
        ("BACK2", {"config": {**name, "max_age": 5}}), ("BACK2", {"config": {**name, "num_replicas": 3}}),
        ("BACK", {"config": {**name, "name": "BACK"}}), ("BACK", b""), ("a/b", {"config": {**name, "name": "a/b"}}),
        ("BACK2", {"config": {**name, "subjects": ["a..b"]}}),
        ("BACK2", {"config": {**name, "subjects": [], "mirror": {"name": "SIZED"}, "max_msg_size": 10}}),
        ("BACK2", {"config": {**name, "subjects": [], "mirror": {"name": "BACK"}, "mirror_direct": True}}),
        ("BACK2", {"config": {**name, "sources": [{"name": "SIZED"}], "max_msg_size": 10}}),
        ("BACK2", {"config": {**name, "sources": [{"name": "BACK2", "filter_subject": "other"}]}}),
    ):
        answer = json.loads(s.client.request(
            f"$JS.API.STREAM.RESTORE.{stream}", body if isinstance(body, bytes) else json.dumps(body).encode()
        ).payload)
        if answer.get("deliver_subject"):
            answer["deliver_subject"] = answer["deliver_subject"].split(".")[:4]
        noted(s, f"{stream} {body!r}", answer)
    s.account()


def round_trip(s: Session) -> None:
    filled(s)
    s.consumer("BACK", "one", ack_policy="explicit", ack_wait=3600 * SECOND_NS)
    s.consumer("BACK", "all", ack_policy="all", ack_wait=3600 * SECOND_NS, description="<c>")
    s.consumer("BACK", "none", ack_policy="none")
    s.consumer("BACK", "fresh", ack_policy="explicit", deliver_policy="new")
    frames = s.pull("BACK", "one", {"batch": 4, "no_wait": True}, 4)
    s.ack(frames[2])
    s.client.publish(frames[0].reply, b"-NAK")
    s.pull("BACK", "one", {"batch": 1, "no_wait": True}, 1)
    s.ack(s.pull("BACK", "all", {"batch": 3, "no_wait": True}, 3)[1])
    s.pull("BACK", "none", {"batch": 2, "no_wait": True}, 2)
    seen(s)
    snapshot = taken(s, "BACK")
    s.api("STREAM.DELETE.BACK")
    given(s, "BACK", snapshot.answer["config"], plainly(snapshot.archive), 700)
    seen(s)
    before = {name: _pending(s, name) for name in ("one", "all")}
    s.publish("BACK.3", b"after")
    while any(_pending(s, name) == pending for name, pending in before.items()):
        pass                                       # nats-server answers a publish before its consumers have counted it
    s.pull("BACK", "one", {"batch": 1, "no_wait": True}, 1)
    s.ack(s.pull("BACK", "all", {"batch": 1, "no_wait": True}, 1)[0])
    seen(s)


def _pending(s: Session, consumer: str) -> int:
    """No part of the record."""
    return int(json.loads(s.client.request(f"$JS.API.CONSUMER.INFO.BACK.{consumer}", b"").payload)["num_pending"])


def restored_elsewhere(s: Session) -> None:
    """With another configuration: what it does not allow goes. Each time under another name, since nats-server keeps
    what a failed restore has brought."""
    filled(s)
    snapshot = take(s.client, "BACK")
    for number, changes in enumerate((
        {"max_msgs": 2}, {"max_msgs_per_subject": 1}, {"max_msg_size": 20}, {"num_replicas": 3}, {"sealed": True},
        {"subjects": ["BACK.1"]}, {"max_bytes": 200}, {"discard": "new", "max_msgs": 3},
    )):
        name = f"OTHER{number}"
        config = {**snapshot.answer["config"], "name": name, "subjects": [name], **changes}
        if "error" not in given(s, name, config, plainly(snapshot.archive)):
            s.api(f"STREAM.INFO.{name}", {"deleted_details": True})


def broken_archives(s: Session) -> None:
    """What is said of an archive that cannot be restored. What is left of the stream is not compared."""
    filled(s)
    s.consumer("BACK", "one", ack_policy="explicit")
    snapshot = take(s.client, "BACK")
    archive, text = plainly(snapshot.archive), plain(snapshot.archive)
    names = (f"BROKEN{number}" for number in itertools.count())

    def attempt(label: str, data: bytes) -> None:
        name = next(names)
        answer = give(s.client, name, {**snapshot.answer["config"], "name": name, "subjects": [name]}, data)
        s.note(f"{label}: {json.dumps(answer.get('error') or 'restored')}")

    def encoded(data: bytes) -> bytes:
        return bytes(S2Writer().encode_all(data))

    attempt("behind the end", archive + archive)
    attempt("nothing", b"")
    attempt("garbage", b"garbage" * 10)
    attempt("cut in the first frame", archive[:60])
    attempt("cut in a frame's head", archive[:12])
    attempt("a bit", archive[:40] + bytes([archive[40] ^ 1]) + archive[41:])
    attempt("checksum", archive[:14] + bytes([archive[14] ^ 1]) + archive[15:])
    attempt("only the magic", encoded(text[:8]))
    attempt("half the magic", encoded(text[:4]))
    attempt("in the first entry", encoded(text[:30]))
    attempt("no end", encoded(text[:-5]))
    attempt("in the last message", encoded(text[:-9]))
    attempt("in an entry's head", encoded(text[:-4]))
    attempt("without the state", encoded(text[:8] + text[-5:]))


def nobody_acknowledges(s: Session) -> None:
    """The window is used up, then the server waits for five seconds."""
    s.stream("BIG", subjects=["big"])
    for number in range(4):
        s.publish("big", random.Random(number).randbytes(3000))
    s.client.subscribe("$JS.EVENT.ADVISORY.STREAM.SNAPSHOT_COMPLETE.>")
    deliver = s.client.new_reply()
    s.client.request("$JS.API.STREAM.SNAPSHOT.BIG", json.dumps(
        {"deliver_subject": deliver, "chunk_size": 1024, "window_size": 3000}
    ).encode())
    frames = [s.client.next_message(deliver) for _ in range(2)]
    s.note(f"{[(len(frame.payload), frame.reply.split('.')[5:]) for frame in frames]}")
    s.client.socket.settimeout(20)
    s.note(f"end: {s.client.next_message(deliver)!r}")
    advised(s, "end", 1)


def nobody_listens(s: Session) -> None:
    """Nobody at all: the snapshot begins after two seconds all the same. The receiver leaves: it ends."""
    s.stream("BIG", subjects=["big"])
    for number in range(4):
        s.publish("big", random.Random(number).randbytes(3000))
    s.client.subscribe("$JS.EVENT.ADVISORY.STREAM.SNAPSHOT_COMPLETE.>")
    s.client.socket.settimeout(20)
    s.api("STREAM.SNAPSHOT.BIG", {"deliver_subject": "nobody"})
    advised(s, "nobody", 1)
    with s.target.connect() as other:
        deliver = other.new_reply().replace("me", "other")
        other.subscribe(deliver)
        body = {"deliver_subject": deliver, "chunk_size": 1024, "window_size": 3000}
        other.request("$JS.API.STREAM.SNAPSHOT.BIG", json.dumps(body).encode())
        for _ in range(2):
            other.next_message(deliver)
    advised(s, "it left", 1)
