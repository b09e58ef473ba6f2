"""Expiry, schedules, batches, watchers, filters, followers, compression, backups: for tools/longest_turn.py."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

from turn_rig import CHUNK, Run, Server

SUBJECTS = 70_000
"""As many as have room in one request."""


def expiry(run: Run) -> None:
    s = run.server
    s.stream("X", allow_msg_ttl=True)
    began = time.monotonic()
    s.fill("X", run.messages, "k.{}".format, b"Nats-TTL: 20s")
    with run.work(f"{run.messages} messages expire, TTL of each (filled in {time.monotonic() - began:.0f} s)"):
        run.until_empty("X")
    run.drop("X")
    s.stream("X", max_age=20 * 10**9, duplicate_window=10**9)
    s.fill("X", run.messages, "k.{}".format)
    with run.work(f"{run.messages} messages expire, max_age"):
        run.until_empty("X")
    run.drop("X")


def schedules(run: Run) -> None:
    s, many = run.server, run.messages // 10
    s.stream("T", subjects=["T.>", "due.>"], allow_msg_schedules=True)
    due = datetime.now(UTC) + timedelta(seconds=8)
    at = due.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    block = b"NATS/1.0\r\nNats-Schedule: @at %b\r\nNats-Schedule-Target: due.x\r\n\r\n" % at
    with run.work(f"{many} schedules are stored"):
        for begin in range(0, many, CHUNK):
            rows = (b"HPUB T.s.%d %d %d\r\n%b\r\n" % (n, len(block), len(block), block)
                    for n in range(begin, begin + CHUNK))  # fmt: skip
            s.send(b"".join(rows))
            s.state("T")
    with run.work(f"{many} schedules are due at once"):
        while s.api("STREAM.INFO.T", {"subjects_filter": "T.>"})["state"].get("subjects"):
            time.sleep(0.1)
    run.drop("T")


def batches(run: Run) -> None:
    s = run.server
    s.stream("B", allow_atomic=True)
    with run.work("20 atomic batches of 1000"):
        for batch in range(20):
            for number in range(1, 1001):
                last = b"\r\nNats-Batch-Commit: 1" if number == 1000 else b""
                block = b"NATS/1.0\r\nNats-Batch-Id: b%d\r\nNats-Batch-Sequence: %d%b\r\n\r\n" % (batch, number, last)
                reply = b"in.a" if last else b""
                s.send(b"HPUB B.k.%d %b %d %d\r\n%b%064d\r\n" % (number, reply, len(block), len(block) + 64, block, 0))
            found = json.loads(s.message()[1])
            assert found["count"] == 1000, found
    run.drop("B")


def watches(run: Run) -> None:
    s, keys = run.server, run.messages // 2
    s.stream("KV_w", subjects=["$KV.w.>"], max_msgs_per_subject=1, allow_rollup_hdrs=True, allow_direct=True)
    for begin in range(0, keys, CHUNK):
        s.send(b"".join(b"PUB $KV.w.a%d.b%d.c%d 8\r\n12345678\r\n" % (n % 10, n % 1000, n)
                        for n in range(begin, begin + CHUNK)))  # fmt: skip
        s.ask("$KV.w.a0.b0.c0", b"x")
    s.send(b"SUB watched 7\r\n")
    for filters in (["$KV.w.>"], ["$KV.w.*.b7.*"], ["$KV.w.*.*.*7"], ["$KV.w.a7.>", "$KV.w.*.b8.>"], ["$KV.w.none.>"]):
        with run.work(f"watch of {' '.join(filters)} over {keys} keys"):
            body = {"stream_name": "KV_w", "config": {
                "deliver_policy": "last_per_subject", "ack_policy": "none", "deliver_subject": "watched",
                "mem_storage": True, "filter_subjects": filters, "name": "watch",
                "inactive_threshold": 300 * 10**9}}  # fmt: skip
            s.request("$JS.API.CONSUMER.CREATE.KV_w.watch", body)
            answer, got = None, 0
            while answer is None or got < answer["num_pending"] + answer["delivered"]["consumer_seq"]:
                message = s.message()[1]
                if b"consumer_create_response" in message:
                    answer = json.loads(message)
                    assert "error" not in answer, answer
                else:
                    got += 1
        s.api("CONSUMER.DELETE.KV_w.watch")
    with run.work("purge of a key with a wildcard filter"):
        s.api("STREAM.PURGE.KV_w", {"filter": "$KV.w.*.b9.*"})
    run.drop("KV_w")


def filters(run: Run) -> None:
    s, many = run.server, 10_000
    for storage in ("memory", "file"):
        s.stream("F", storage=storage)
        s.fill("F", run.messages // 10, "k.{}".format)
        for what, subjects in (
            ("literal", [f"F.k.{n}" for n in range(many)]),
            ("wildcards", [f"F.k.{n}.*.>" for n in range(many)]),
        ):
            with run.work(f"consumer with {many} filters, {what}, {storage}"):
                s.consumer("F", "f", ack_policy="explicit", filter_subjects=subjects)
            with run.work(f"CONSUMER.INFO with {many} filters"):
                s.api("CONSUMER.INFO.F.f")
            with run.work(f"CONSUMER.LIST with {many} filters"):
                s.api("CONSUMER.LIST.F")
            with run.work("update of it to one filter"):
                s.consumer("F", "f", ack_policy="explicit", filter_subject="F.k.1")
            with run.work(f"update of it to {many} filters"):
                s.consumer("F", "f", ack_policy="explicit", filter_subjects=subjects)
            with run.work("delete of it"):
                s.api("CONSUMER.DELETE.F.f")
        run.drop("F")


def subjects(run: Run) -> None:
    s, many = run.server, SUBJECTS
    names = [f"u.{n}" for n in range(many)]
    with run.work(f"stream with {many} subjects is made"):
        s.stream("U", subjects=names)
    with run.work(f"STREAM.INFO of {many} subjects"):
        s.api("STREAM.INFO.U")
    with run.work("its subjects become others"):
        s.update("U", subjects=[f"v.{n}" for n in range(many)])
    with run.work(f"another stream, beside one of {many} subjects"):
        s.stream("U2", subjects=["u.>"])
    with run.work("its subjects become one"):
        s.update("U", subjects=["v.>"])
    with run.work(f"the one becomes {many}"):
        s.update("U", subjects=[f"v.{n}" for n in range(many)])
    with run.work("STREAM.LIST with it"):
        s.api("STREAM.LIST")
    with run.work("/jsz?config=1 with it"):
        s.page("jsz?streams=1&config=1")
    with run.work("/subsz?subs=1 with it"):
        s.page("subsz?subs=1")
    run.drop("U", f"delete of a stream with {many} subjects")
    run.drop("U2")


def followers(run: Run) -> None:
    s = run.filled("O")
    for what, name, config in (
        ("mirror", "O_m", {"mirror": {"name": "O"}}),
        ("source", "O_s", {"sources": [{"name": "O"}]}),
    ):
        with run.work(f"a {what} takes {run.messages} messages"):
            s.api(f"STREAM.CREATE.{name}", {"name": name, **config})
            while s.state(name)["messages"] < run.messages:
                time.sleep(0.05)
        run.drop(name)
    run.drop("O")


def compressed(run: Run) -> None:
    s = run.filled("Z", compression="s2")
    s.consumer("Z", "c", ack_policy="none")
    time.sleep(5)                                      # until segments are packed
    with run.work(f"{run.messages} compressed messages are read"):
        s.pull("Z", "c", run.messages)
    s.consumer("Z", "d", ack_policy="none", headers_only=True)
    with run.work("the same, headers only"):
        s.pull("Z", "d", run.messages)
    with run.work("direct gets all over it"):
        for n in range(0, run.messages, max(1, run.messages // 500)):
            s.get("Z", **{"seq": n + 1})
    run.drop("Z")


def backups(run: Run) -> None:
    s, many = run.server, max(1000, run.messages // 500)
    s.stream("K", max_consumers=-1, storage="memory")
    s.fill("K", run.messages // 10, "k.{}".format)
    for number in range(many):
        s.consumer("K", f"c{number}", ack_policy="explicit")
    s.pull("K", "c0", min(10_000, run.messages // 10))
    chunks = []
    s.send(b"SUB snap 8\r\n")
    with run.work(f"snapshot with {many} consumers"):
        s.request("$JS.API.STREAM.SNAPSHOT.K", {"deliver_subject": "snap"}, reply=b"in.snap")
        answer = None
        while True:
            line = s.input.readline()
            if line.startswith(b"PING"):
                s.send(b"PONG\r\n")
                continue
            parts = line.split()
            body = s.input.read(int(parts[-1]) + 2)[:-2]
            if parts[1] == b"in.snap":
                answer = json.loads(body)
                assert "error" not in answer, answer
                continue
            if parts[0] == b"HMSG" or not body:
                break
            chunks.append(body)
            if len(parts) > 4:
                s.send(b"PUB %b 0\r\n\r\n" % parts[3])
    assert answer is not None
    run.drop("K", f"delete of a stream with {many} consumers, and pending")
    with run.work(f"restore with {many} consumers"):
        found = s.api("STREAM.RESTORE.K", {"config": answer["config"], "state": answer["state"]})
        for chunk in chunks:
            s.request(found["deliver_subject"], chunk)
            s.message()
        s.request(found["deliver_subject"], b"")
        done = json.loads(s.message()[1])
        assert "error" not in done, done
    run.drop("K")


def embedded(run: Run) -> None:
    """The collector of a program that has a server in it."""
    import tempfile
    from pathlib import Path

    many = max(1000, run.messages // 100)
    with tempfile.TemporaryDirectory() as root, run.on(Server(Path(root), embedded=True)) as s:
        with run.work(f"embedded: {many} streams are made, a consumer each"):
            for number in range(many):
                s.stream(f"S{number}", storage="memory")
                s.consumer(f"S{number}", "c", ack_policy="explicit")
        import gc

        with run.work("embedded: a full collection"):
            s.do(_collect(gc))


async def _collect(gc: object) -> None:
    gc.collect()  # type: ignore[attr-defined]


PARTS = (expiry, schedules, batches, watches, filters, subjects, followers, compressed, backups, embedded)
