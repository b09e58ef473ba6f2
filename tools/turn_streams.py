"""Work over long streams, and over many streams and consumers, for tools/longest_turn.py."""

from __future__ import annotations

from turn_rig import CHUNK, Run


def rollups(run: Run) -> None:
    for storage in ("file", "memory"):
        s = run.filled("R", storage=storage, allow_rollup_hdrs=True)
        with run.work(f"rollup of everything, {storage}, a subject each"):
            s.ask("R.k.0", b"x", b"Nats-Rollup: all")
        run.drop("R")
    s = run.filled("R", lambda n: f"k.{n % 2}", allow_rollup_hdrs=True)
    with run.work("rollup of one of two subjects"):
        s.ask("R.k.0", b"x", b"Nats-Rollup: sub")
    run.drop("R")


def lowered(run: Run) -> None:
    for what, change in (("max_msgs 10", {"max_msgs": 10}), ("max_msgs_per_subject 1", {"max_msgs_per_subject": 1})):
        s = run.filled("L", lambda n: f"k.{n % 7}")
        with run.work(f"update to {what}"):
            s.update("L", **change)
        run.drop("L")
    s = run.filled("L")
    with run.work("update to max_age: all expire"):
        s.update("L", max_age=10**9, duplicate_window=10**9)
        run.until_empty("L")
    run.drop("L")


def gaps(run: Run) -> None:
    s = run.filled("G", lambda n: f"{'keep' if n % 2 else 'gone'}.{n % 1000}")
    with run.work("purge of every other message"):
        s.api("STREAM.PURGE.G", {"filter": "G.gone.>"})
    with run.work("STREAM.INFO with deleted_details"):
        found = s.api("STREAM.INFO.G", {"deleted_details": True})["state"]
    assert len(found["deleted"]) >= run.messages // 2 - CHUNK
    run.drop("G")


def gets(run: Run) -> None:
    rare = run.messages // 2 + 1
    s = run.filled("M", lambda n: f"k.{n}" if n != rare else "rare.x", allow_direct=True)
    for what, request, found in (
        ("next_by_subj, rare", {"next_by_subj": "M.rare.*"}, 1),
        ("last_by_subj, rare", {"last_by_subj": "M.rare.*"}, 1),
        ("next_by_subj, none", {"next_by_subj": "M.none.*"}, 0),
        ("last_by_subj, none", {"last_by_subj": "M.none.*"}, 0),
    ):
        if found:
            with run.work(f"STREAM.MSG.GET {what}"):
                s.api("STREAM.MSG.GET.M", request)
        with run.work(f"direct get {what}"):
            (header,) = s.get("M", **request)
        assert header.startswith(b"NATS/1.0 404") == (not found)
    with run.work("direct get of a batch, and its num_pending"):
        assert len(s.get("M", next_by_subj="M.*.*", batch=1000, seq=rare)) == 1000
    with run.work("direct get of a batch that is rare"):
        assert len(s.get("M", next_by_subj="M.rare.*", batch=1000)) == 1
    for what, request, found in (
        ("rare", {"multi_last": ["M.rare.*"]}, 1),
        ("none", {"multi_last": ["M.none.*"]}, 1),
        ("as it was", {"multi_last": ["M.rare.*", "M.k.0"], "up_to_seq": run.messages}, 2),
        ("by name", {"multi_last": [f"M.k.{number}" for number in range(1000)]}, 1000),
    ):
        with run.work(f"direct get multi_last, {what}"):
            assert len(s.get("M", **request)) == found
        s.ask("M.k.0", b"x")
    run.drop("M")


def purges(run: Run) -> None:
    s = run.filled("P", lambda n: f"k.{n}" if n % (run.messages // 3) else f"rare.{n}")
    with run.work("purge, keep 2, of a rare wildcard filter"):
        s.api("STREAM.PURGE.P", {"filter": "P.rare.*", "keep": 2})
    with run.work("purge of a filter that matches nothing"):
        s.api("STREAM.PURGE.P", {"filter": "P.none.*"})
    with run.work("purge of everything"):
        s.api("STREAM.PURGE.P")
    run.drop("P")


def consumers(run: Run) -> None:
    s = run.filled("C")
    for name, filter in (("a", ">"), ("w", "C.k.>")):
        with run.work(f"consumer with last_per_subject of {filter}"):
            s.consumer("C", name, deliver_policy="last_per_subject", ack_policy="explicit", filter_subject=filter)
        with run.work("CONSUMER.INFO"):
            s.api(f"CONSUMER.INFO.C.{name}")
    with run.work("consumer with filters, and its num_pending"):
        s.consumer("C", "f", filter_subjects=["C.k.1*", "C.none.>"], ack_policy="explicit")
    s.api("CONSUMER.DELETE.C.f")
    from_time = {"deliver_policy": "by_start_time", "opt_start_time": "2020-01-01T00:00:00Z"}
    for policy in ({"deliver_policy": "last"}, from_time):
        for filters in (["C.none.>", "C.no.*"], ["C.k.0", "C.none.*"], [f"C.k.{run.messages - 1}", "C.none.*"]):
            with run.work(f"consumer with filters, {policy['deliver_policy']}"):
                s.consumer("C", "f", filter_subjects=filters, ack_policy="explicit", **policy)
            s.api("CONSUMER.DELETE.C.f")
    with run.work("STREAM.INFO with subjects_filter"):
        s.api("STREAM.INFO.C", {"subjects_filter": ">"})
    run.drop("C", "delete of a file stream with consumers")


def interest(run: Run) -> None:
    s = run.server
    s.stream("I", retention="interest")
    s.consumer("I", "c", ack_policy="explicit")
    s.fill("I", run.messages, "k.{}".format)
    with run.work("delete of the only consumer, interest retention"):
        s.api("CONSUMER.DELETE.I.c")
        run.until_empty("I")
    run.drop("I")


def pending(run: Run) -> None:
    for storage in ("memory", "file"):
        s = run.filled("D", storage=storage)
        messages = s.state("D")["messages"]
        s.consumer("D", "c", ack_policy="explicit", max_ack_pending=-1, ack_wait=5 * 10**9)
        for what in ("delivered", "delivered again", "delivered a third time"):
            with run.work(f"{messages} messages are {what}, {storage}"):
                s.pull("D", "c", messages)
        run.drop("D")


def crowds(run: Run) -> None:
    s = run.server
    for crowd, storage in ((3000, "file"), (run.messages // 50, "memory")):
        s.stream("W", max_consumers=crowd, storage=storage)
        with run.work(f"{crowd} consumers are made"):
            for number in range(crowd):
                s.consumer("W", f"c{number}", ack_policy="explicit")
        s.fill("W", 8192, "k.{}".format)
        with run.work(f"purge of 8192 messages with {crowd} consumers"):
            s.api("STREAM.PURGE.W")
        with run.work(f"delete of a stream with {crowd} consumers"):
            s.api("STREAM.DELETE.W")


def lists(run: Run) -> None:
    s, many = run.server, max(1000, run.messages // 50)
    with run.work(f"{many} streams are made"):
        for number in range(many):
            s.stream(f"S{number}", storage="memory", max_consumers=many + 1)
    for verb in ("STREAM.NAMES", "STREAM.LIST", "INFO"):
        with run.work(f"{verb} of {many} streams"):
            s.api(verb)
    with run.work(f"STREAM.NAMES by subject of {many} streams"):
        s.api("STREAM.NAMES", {"subject": "S777.>"})
    with run.work(f"{many} consumers are made"):
        for number in range(many):
            s.consumer("S0", f"c{number}", ack_policy="explicit")
    for verb in ("NAMES", "LIST"):
        with run.work(f"CONSUMER.{verb} of {many}"):
            s.api(f"CONSUMER.{verb}.S0")
    run.drop("S0", f"delete of a stream with {many} consumers")


PARTS = (rollups, lowered, gaps, gets, purges, consumers, interest, lists, pending, crowds)
