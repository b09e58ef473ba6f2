"""What a client sees of streams: the API's answers, publish acknowledgements, reads."""

from __future__ import annotations

from .compare import Session

EXPECT = "Nats-Expected-"


def stream_life(s: Session) -> None:
    s.api("INFO")
    for storage in ("file", "memory"):
        name = f"LIFE_{storage}"
        s.stream(name, subjects=[f"{storage}.>"], storage=storage)
        s.stream(name, subjects=[f"{storage}.>"], storage=storage)
        s.stream(name, subjects=[f"{storage}.x"], storage=storage)
        for number in range(5):
            s.publish(f"{storage}.{number % 2}", b"data %d" % number)
        s.publish(f"{storage}.h", b"data", {"A": "b"})
        s.api(f"STREAM.INFO.{name}")
        s.api(f"STREAM.INFO.{name}", {"subjects_filter": ">", "deleted_details": True})
        s.api(f"STREAM.MSG.DELETE.{name}", {"seq": 2})
        s.api(f"STREAM.MSG.DELETE.{name}", {"seq": 2})
        s.api(f"STREAM.MSG.DELETE.{name}", {"seq": 3, "no_erase": True})
        s.api(f"STREAM.INFO.{name}", {"subjects_filter": f"{storage}.0", "deleted_details": True})
        s.api(f"STREAM.UPDATE.{name}", {"name": name, "subjects": [f"{storage}.>"], "storage": storage, "max_msgs": 3})
        s.api(f"STREAM.INFO.{name}")
        s.api("STREAM.LIST")
        s.api("STREAM.NAMES")
    s.api("STREAM.NAMES", {"subject": "file.x"})
    s.api("STREAM.NAMES", {"subject": "nobody"})
    s.api("STREAM.NAMES", {"offset": 10})
    s.api("STREAM.LIST", {"offset": 10})
    s.api("STREAM.NAMES", {"offset": -1})
    s.api("STREAM.DELETE.LIFE_file")
    s.api("STREAM.DELETE.LIFE_file")
    s.api("STREAM.INFO.LIFE_file")
    s.api("INFO")


def stream_every_field(s: Session) -> None:
    s.stream(
        "FULL", description="<all> & more", subjects=["full.*", "other"], max_consumers=3, max_msgs=10,
        max_bytes=10_000, max_age=3_600_000_000_000, max_msgs_per_subject=2, max_msg_size=100, discard="new",
        discard_new_per_subject=True, duplicate_window=1_000_000_000, allow_rollup_hdrs=True, allow_direct=True,
        deny_delete=True, first_seq=100, metadata={"b": "2", "a": "1"},
        consumer_limits={"inactive_threshold": 5_000_000_000, "max_ack_pending": 10},
    )
    s.publish("other", b"x")
    s.api("STREAM.INFO.FULL")
    s.api("STREAM.MSG.DELETE.FULL", {"seq": 100})
    s.publish("other", b"x")
    s.publish("other", b"x")
    s.publish("full.a", b"x" * 101)


def stream_refusals(s: Session) -> None:
    s.stream("TAKEN", subjects=["taken.>"])
    bad: list[dict[str, object]] = [
        {"subjects": ["taken.x"]}, {"subjects": ["a", "a"]}, {"subjects": ["a.>", "a.b"]}, {"subjects": ["a..b"]},
        {"subjects": [">"]}, {"subjects": ["$JS.API.x"]}, {"subjects": ["$SYS.x"]}, {"subjects": [""]},
        {"retention": "x"}, {"storage": "x"}, {"discard": "x"}, {"unknown": 1}, {"max_msgs": "1"},
        {"max_msgs": 1.5}, {"max_msgs": 1 << 70}, {"max_age": -1}, {"max_age": 1}, {"num_replicas": 3},
        {"num_replicas": 6}, {"num_replicas": -1}, {"duplicate_window": 1}, {"duplicate_window": -1},
        {"max_age": 10**9, "duplicate_window": 10**10}, {"discard_new_per_subject": True},
        {"discard_new_per_subject": True, "discard": "new"}, {"sealed": True},
        {"deny_purge": True, "allow_rollup_hdrs": True}, {"description": "x" * 4097},
        {"metadata": {"k": "x" * 140_000}}, {"mirror_direct": True}, {"first_seq": -1},
        {"max_bytes": -5, "max_msgs": -7, "max_msg_size": -3, "max_consumers": -2, "max_msgs_per_subject": -9},
        {"max_msgs": -9223372036854775808}, {"max_msgs": 9223372036854775807}, {"max_msg_size": 1 << 31},
        {"subjects": "x"}, {"subjects": None}, {"placement": {"cluster": "x"}},
        {"consumer_limits": {"inactive_threshold": -1}}, {"consumer_limits": {"max_ack_pending": -5}},
    ]
    for number, config in enumerate(bad):
        s.stream(f"BAD{number}", **config)
        s.api(f"STREAM.DELETE.BAD{number}")
    s.api("STREAM.CREATE.A", b"")
    s.api("STREAM.CREATE.A", {"name": "B"})
    s.api("STREAM.UPDATE.A", {"name": "A"})
    for body in (b"{", b"[]", b"null", b"1", b'"x"', b"{}", b"\xff\xfe", b'{"name":"A","name":"B"}', b"{} x",
                 b'{"name":"A\xff"}', b"[" * 500, b'{"NAME":"A"}', b'{"name":null}'):
        s.api("STREAM.CREATE.A", body)
        s.api("STREAM.INFO.A", body)
    s.api("STREAM.NAMES")


def stream_names(s: Session) -> None:
    for name in ("a/b", "a\\b", "..", "a*b", "a>b", "n" * 255, "n" * 256, "a\x01b", "é", "a-b_c", "$x"):
        s.api(f"STREAM.CREATE.{name}", {"name": name, "subjects": ["names.x"]})
        s.api(f"STREAM.INFO.{name}")
        s.api(f"STREAM.DELETE.{name}")
    for name in ("", "a.b", "a b", "a\tb", "a\0b", ".."):
        s.api("STREAM.CREATE.X", {"name": name})


def stream_updates(s: Session) -> None:
    s.stream("UP", subjects=["up"])
    for change in ({"subjects": ["up", "up2"]}, {"storage": "memory"}, {"retention": "workqueue"}, {"max_consumers": 2},
                   {"max_msgs": 5, "max_bytes": 1000, "max_age": 10**10, "discard": "new"}, {"deny_delete": True},
                   {"deny_delete": False}, {"deny_purge": True}, {"deny_purge": False}, {"first_seq": 9},
                   {"num_replicas": 3}, {"description": "d", "metadata": {"a": "b"}}, {"unknown": 1}):
        s.api("STREAM.UPDATE.UP", {"name": "UP", "subjects": ["up"], **change})
    s.api("STREAM.UPDATE.UP", {"name": "NOT"})
    s.api("STREAM.INFO.UP")


def purge_forms(s: Session) -> None:
    for name, storage in (("PF", "file"), ("PM", "memory")):
        s.stream(name, subjects=[f"{name}.*"], storage=storage)
        for number in range(20):
            s.publish(f"{name}.{number % 4}", b"x")
        for body in ({"filter": f"{name}.0"}, {"filter": f"{name}.1", "keep": 2}, {"seq": 5}, {"keep": 6},
                     {"filter": f"{name}.2", "seq": 12}, {"seq": 3, "keep": 3}, {"filter": "none"}, {"unknown": 1},
                     {"keep": -1}, {"seq": 1000}):
            s.api(f"STREAM.PURGE.{name}", body)
            s.api(f"STREAM.INFO.{name}", {"subjects_filter": ">", "deleted_details": True})
        s.publish(f"{name}.9", b"x")
        s.api(f"STREAM.PURGE.{name}")
        s.api(f"STREAM.INFO.{name}")
        s.publish(f"{name}.9", b"x")
    s.api("STREAM.PURGE.NONE")
    s.api("STREAM.PURGE.PF", b"{")


def publish_headers(s: Session) -> None:
    s.stream("H", subjects=["h.*"], allow_rollup_hdrs=True, max_msg_size=1000)
    s.publish("h.a", b"1", {"Nats-Msg-Id": "one"})
    s.publish("h.a", b"1", {"Nats-Msg-Id": "one"})
    for name, value in (("Stream", "H"), ("Stream", "X"), ("Last-Sequence", "2"), ("Last-Sequence", "0"),
                        ("Last-Sequence", "x"), ("Last-Msg-Id", "one"), ("Last-Msg-Id", "no"),
                        ("Last-Subject-Sequence", "0"), ("Last-Subject-Sequence", "1"),
                        ("Last-Subject-Sequence", "x"), ("Last-Subject-Sequence", "3")):
        s.publish("h.a", b"2", {EXPECT + name: value})
    s.publish("h.b", b"", {EXPECT + "Last-Subject-Sequence": "0", EXPECT + "Last-Subject-Sequence-Subject": "h.*"})
    s.publish("h.b", b"", {EXPECT + "Last-Subject-Sequence": "0", EXPECT + "Last-Subject-Sequence-Subject": "h.z"})
    s.publish("h.b", b"", {EXPECT + "Last-Subject-Sequence-Subject": "h.*"})
    s.publish("h.b", b"3", {"Nats-Rollup": "sub"})
    s.publish("h.b", b"3", {"Nats-Rollup": "bad"})
    s.publish("h.c", b"4", {"Nats-Rollup": "all"})
    s.publish("h.c", b"4", {"Nats-TTL": "5"})
    s.publish("h.c", b"4", {"Nats-Incr": "+5"})
    s.publish("h.c", b"4", {"Nats-Batch-Id": "b", "Nats-Batch-Sequence": "1"})
    s.publish("h.c", b"4", {"Nats-Schedule": "@every 1s"})
    s.publish("h.c", b"4", {"Nats-Stream-Source": "x"})
    s.publish("h.c", b"4", {"Nats-Required-Api-Level": "99"})
    s.publish("h.c", b"5", {"X": "y" * 70_000})
    s.publish("h.c", b"5", {"X": "y" * 1000})
    s.api("STREAM.INFO.H", {"subjects_filter": ">"})
    s.stream("NOROLL", subjects=["noroll"])
    s.publish("noroll", b"3", {"Nats-Rollup": "sub"})
    s.stream("NOACK", subjects=["noack"], no_ack=True)
    s.client.publish("noack", b"x", s.client.new_reply())
    s.frames("no ack", s.client.flush())
    s.publish("nobody.listens", b"")


def limits(s: Session) -> None:
    for storage in ("file", "memory"):
        for discard in ("old", "new"):
            name = f"L{storage}{discard}"
            for kind, bound in (("max_msgs", 3), ("max_bytes", 150), ("max_msgs_per_subject", 2)):
                stream = f"{name}{kind}"
                s.stream(stream, subjects=[f"{stream}.*"], storage=storage, discard=discard, **{kind: bound})
                for number in range(6):
                    s.publish(f"{stream}.{number % 2}", b"0123456789")
                s.publish(f"{stream}.0", b"z" * 300)
                s.api(f"STREAM.INFO.{stream}", {"subjects_filter": ">", "deleted_details": True})


def byte_accounting(s: Session) -> None:
    for storage in ("file", "memory"):
        name = f"B{storage}"
        s.stream(name, subjects=[f"{name}.>"], storage=storage)
        for subject, payload, headers in (("a", b"", None), ("a", b"x", None), ("abc.def", b"x" * 1000, None),
                                          ("a", b"x", {"A": "b"}), ("a", b"", {"A": "b", "C": "d" * 100})):
            s.publish(f"{name}.{subject}", payload, headers)
            state = s.api(f"STREAM.INFO.{name}")
            assert state["state"]["bytes"] > 0


def direct_gets(s: Session) -> None:
    s.stream("D", subjects=["d.*"], allow_direct=True)
    s.stream("DE", subjects=["de"], allow_direct=True)
    for number in range(8):
        s.publish(f"d.{number % 3}", b"%d" % number, {"N": str(number)} if number % 2 else None)
    for body in (b"", b"{", b"{}", b'{"seq":3}', b'{"seq":99}', b'{"last_by_subj":"d.1"}', b'{"last_by_subj":"d.9"}',
                 b'{"next_by_subj":"d.1"}', b'{"seq":4,"next_by_subj":"d.1"}', b'{"seq":1,"last_by_subj":"d.1"}',
                 b'{"seq":4,"next_by_subj":"d.*"}', b'{"unknown":1}', b'{"seq":3,"no_hdr":true}', b'{"seq":-1}',
                 b'{"start_time":"2020-01-01T00:00:00Z"}', b'{"batch":2,"seq":99}', b'{"multi_last":["x"]}'):
        s.frame(f"DIRECT {body!r}", s.client.request("$JS.API.DIRECT.GET.D", body))
        s.api("STREAM.MSG.GET.D", body)
    s.frame("by subject", s.client.request("$JS.API.DIRECT.GET.D.d.1"))
    s.frame("by subject", s.client.request("$JS.API.DIRECT.GET.D.d.9"))
    s.frame("empty stream", s.client.request("$JS.API.DIRECT.GET.DE.de"))
    s.frame("no stream", s.client.request("$JS.API.DIRECT.GET.NONE", b'{"seq":1}'))
    for body in (b'{"batch":3,"seq":1}', b'{"batch":3,"seq":2,"next_by_subj":"d.1"}',
                 b'{"batch":10,"next_by_subj":"d.*"}', b'{"batch":10,"max_bytes":60,"seq":1}',
                 b'{"multi_last":["d.*"]}',
                 b'{"multi_last":["d.1","d.2"],"batch":1}',
                 b'{"multi_last":["d.*"],"up_to_seq":4}', b'{"batch":2,"start_time":"2020-01-01T00:00:00Z"}'):
        s.client.publish("$JS.API.DIRECT.GET.D", body, s.client.new_reply())
        s.note(f"BATCH {body!r}")
        while s.frame("  ", s.client.next_message(sid="1")).status[:3] not in ("204", "404", "408", "413"):
            pass


def api_edges(s: Session) -> None:
    s.stream("E", subjects=["e"])
    s.api("INFO", b"{")
    s.api("STREAM.INFO.E", {"x": 1})
    s.api("STREAM.DELETE.E", b"{}")
    for verb in ("STREAM.LEADER.STEPDOWN.E", "STREAM.PEER.REMOVE.E", "CONSUMER.NAMES.NONE", "CONSUMER.LIST.NONE",
                 "CONSUMER.INFO.NONE.c", "CONSUMER.DELETE.NONE.c", "STREAM.MSG.GET.NONE", "STREAM.MSG.DELETE.NONE"):
        s.api(verb)
    s.stream("E", subjects=["e"])
    s.api("STREAM.MSG.DELETE.E", {"seq": 0})
    s.api("STREAM.MSG.DELETE.E", {})
    s.api("STREAM.INFO.E", headers={"Nats-Required-Api-Level": "99"})
    reply = s.client.new_reply()
    s.client.publish("$JS.API.NOTHING", b"", reply)
    s.frames("unknown", s.client.flush())


def advisories(s: Session) -> None:
    s.client.subscribe("$JS.EVENT.ADVISORY.>")
    s.stream("ADV", subjects=["adv"])
    s.api("STREAM.UPDATE.ADV", {"name": "ADV", "subjects": ["adv"], "max_msgs": 5})
    s.consumer("ADV", "C", ack_policy="explicit")
    s.publish("adv", b"x")
    message = s.pull("ADV", "C", {"batch": 1}, 1)[0]
    s.ack(message, b"-NAK")
    s.ack(s.pull("ADV", "C", {"batch": 1}, 1)[0], b"+TERM why")
    s.api("CONSUMER.DELETE.ADV.C")
    s.api("STREAM.PURGE.ADV")
    s.api("STREAM.DELETE.ADV")
    # API audits leave by a queue of their own, so order is only promised within one subject.
    seen = [s.client.next_message(sid="2") for _ in range(12)]
    for frame in sorted(seen, key=lambda frame: frame.subject):
        s.frame("advisory", frame)
