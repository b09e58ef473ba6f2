"""Fast batches (ADR-50): what is answered on the reply subjects, and when."""

from __future__ import annotations

from .compare import Session
from .scenarios_features import stored
from .scenarios_streams import update

BEGIN, APPEND, COMMIT, COMMIT_WITHOUT, PING = range(5)


def _stream(s: Session, name: str = "F", **config: object) -> None:
    s.client.subscribe("fi.>")
    s.stream(name, subjects=["f.*"], allow_batched=True, **config)


def _send(s: Session, place: str, subject: str = "f.x", body: bytes = b"m", **headers: str) -> None:
    """One publish with the reply subject `fi.<place>.$FI`."""
    fields = {key.replace("_", "-"): value for key, value in headers.items()}
    s.client.publish(subject, body, f"fi.{place}.$FI", fields or None)


def _answers(s: Session, label: str, subject: str = "f.sync") -> None:
    """All that was answered until a plain publish to the same stream is acknowledged."""
    s.client.request(subject, b"")
    s.frames(label, s.client.flush())


def _batch(s: Session, name: str, count: int, flow: int = 10, *, gap: str = "ok", op: int = COMMIT) -> None:
    """A whole batch: the last of `count` messages commits."""
    for number in range(1, count + 1):
        _send(s, f"{name}.{flow}.{gap}.{number}.{op if number == count else APPEND if number > 1 else BEGIN}")
    _answers(s, f"{name} {count} {flow} {gap} {op}")


def fast_commits(s: Session) -> None:
    _stream(s)
    for gap in ("ok", "fail"):
        for op in (COMMIT, COMMIT_WITHOUT):
            for count in (1, 2, 3, 12):
                _batch(s, f"b{gap}{op}{count}", count, gap=gap, op=op)
    for flow in (0, 1, 2, 3, 5, 7, 1000, 65535, 65536, 100000):
        _batch(s, f"flow{flow}", 10, flow)
    _batch(s, "long", 1100, 1000)
    for name in ("b" * 64, "b" * 65, 'q"uo', "\u00e9"):
        _batch(s, name, 2)
    _batch(s, "sameid", 2)
    _batch(s, "sameid", 2)
    s.api("STREAM.INFO.F")


def fast_patterns(s: Session) -> None:
    _stream(s)
    s.client.subscribe("$FI")
    for place in (
        "1", "x", "5", "-1", "", "01", "1.1", "1.0", "ok.1.0", "10.ok.1.0", "b.10.ok.1.0", "b.10.ok.1.5", "b.10.ok.0.0",
        "b.10.ok.2.0", "b.10.ok.1.1", "b.10.ok.1.3", "c.10.ok.1.2", "b.10.no.1.0", "b.10.OK.1.0", "b.10.fail.1.0",
        "b.x.ok.1.0", "d.x.ok.1.0", "e.-5.ok.1.0", "g..ok.1.0", "h.10.ok.x.0", "h.10.ok.-1.0", "h.10.ok..0",
        "i.10.ok.18446744073709551615.1", "i.10.ok.18446744073709551614.1", "i.10.ok.18446744073709551616.1",
        "j.10.ok.01.0", "k.10.ok.1.00", "l.10.ok.1.x", "more.tokens.m.10.ok.1.0", "n.10.ok.9223372036854775808.1",
    ):
        _send(s, place)
        _answers(s, place)
    for reply in ("$FI", ".$FI", "x.$FI", "fi.$FI", "fi.b.10.ok.1.0.$fi", "fi.b.10.ok.1.0.$FI.x"):
        s.client.publish("f.x", b"m", reply)
        _answers(s, reply)
    s.client.publish("f.x", b"m", "o.10.ok.1.0.$FI")
    _answers(s, "no prefix")
    s.stream("OFF", subjects=["off"])
    _send(s, "b.10.ok.1.0", "off")
    _send(s, "nonsense", "off")
    _answers(s, "off", "off")
    s.api("STREAM.INFO.F")


def fast_gaps(s: Session) -> None:
    _stream(s)
    for gap in ("ok", "fail"):
        for number, places in enumerate((
            ((1, BEGIN), (3, APPEND), (4, COMMIT)), ((1, BEGIN), (3, COMMIT), (4, APPEND)),
            ((1, BEGIN), (3, COMMIT_WITHOUT)), ((1, BEGIN), (2, APPEND), (2, APPEND), (3, COMMIT)),
            ((1, BEGIN), (1, BEGIN), (2, COMMIT)), ((1, BEGIN), (2, APPEND), (1, BEGIN), (2, COMMIT)),
            ((2, APPEND), (1, BEGIN), (2, COMMIT)), ((1, BEGIN), (20, APPEND), (21, COMMIT)),
            ((1, BEGIN), (5, APPEND), (9, APPEND), (10, COMMIT_WITHOUT)), ((1, COMMIT), (2, COMMIT)),
            ((1, BEGIN), (2, COMMIT_WITHOUT), (3, APPEND)), ((3, COMMIT),), ((3, COMMIT_WITHOUT),),
        )):
            for flow in (1, 10):
                for at, op in places:
                    _send(s, f"g{gap}{number}-{flow}.{flow}.{gap}.{at}.{op}", body=b"%d" % at)
                _answers(s, f"{gap} {flow} {places}")
    s.api("STREAM.INFO.F")


def fast_pings(s: Session) -> None:
    _stream(s)
    for gap in ("ok", "fail"):
        for number, places in enumerate((
            ((1, PING), (1, BEGIN)), ((1, BEGIN), (1, PING), (2, APPEND), (2, PING), (1, PING), (3, COMMIT)),
            ((1, BEGIN), (2, PING), (2, APPEND), (3, COMMIT)), ((1, BEGIN), (2, PING), (3, APPEND), (4, COMMIT)),
            ((5, PING),), ((1, BEGIN), (9, PING), (10, COMMIT_WITHOUT)), ((1, BEGIN), (9, PING), (9, PING)),
        )):
            for flow in (1, 3, 10):
                for at, op in places:
                    _send(s, f"p{gap}{number}-{flow}.{flow}.{gap}.{at}.{op}")
                _answers(s, f"{gap} {flow} {places}")


def fast_refusals(s: Session) -> None:
    """A refused message in the middle, at the begin, at the commit, with and without gaps."""
    _stream(s, allow_rollup_hdrs=True, max_msg_size=300)
    s.publish("f.seen", b"", {"Nats-Msg-Id": "seen"})
    faults: list[dict[str, str]] = [
        {"Nats_Expected_Stream": "X"}, {"Nats_TTL": "5"}, {"Nats_Expected_Last_Sequence": "9999"},
        {"Nats_Msg_Id": "seen"}, {"Nats_Rollup": "bad"}, {"Nats_Incr": "1"}, {"Nats_Schedule": "@daily"},
        {"Nats_Required_Api_Level": "99"}, {"Nats_Required_Api_Level": "1"}, {"X": "y" * 400},
        {"Nats_Expected_Last_Subject_Sequence": "77"}, {"Nats_Stream_Source": "x"}, {"Nats_Batch_Id": "atomic"},
    ]
    for gap in ("ok", "fail"):
        for number, fault in enumerate(faults):
            for flow in (1, 10):
                for at_fault in (1, 2, 3):
                    name = f"r{gap}{number}-{flow}-{at_fault}"
                    for at, op in ((1, BEGIN), (2, APPEND), (3, COMMIT)):
                        _send(s, f"{name}.{flow}.{gap}.{at}.{op}", **(fault if at == at_fault else {}))
                    _answers(s, f"{gap} {fault} {flow} {at_fault}")
            _send(s, f"one{gap}{number}.10.{gap}.1.{COMMIT}", **fault)
            _send(s, f"eob{gap}{number}.10.{gap}.1.{BEGIN}", **fault)
            _send(s, f"eob{gap}{number}.10.{gap}.2.{COMMIT_WITHOUT}")
            _answers(s, f"{gap} {fault} single")
    s.api("STREAM.INFO.F")


def fast_duplicates(s: Session) -> None:
    _stream(s)
    for gap in ("ok", "fail"):
        for _ in range(2):
            for number, op in ((1, BEGIN), (2, APPEND), (3, APPEND), (4, COMMIT)):
                _send(s, f"d.1.{gap}.{number}.{op}", Nats_Msg_Id=f"{gap}{number}")
            _answers(s, gap)
        for number, op in ((1, BEGIN), (2, APPEND), (3, COMMIT_WITHOUT)):
            _send(s, f"e.10.{gap}.{number}.{op}", Nats_Msg_Id=f"{gap}{number}")
        _answers(s, "without")
        _send(s, f"f.10.{gap}.1.{COMMIT}", Nats_Msg_Id=f"{gap}1")
        _answers(s, "one")
    stored(s, "F")


def fast_expected_ids(s: Session) -> None:
    """The stream judges `Nats-Expected-Last-Msg-Id`: the batch goes on, and counts again when a message is stored."""
    _stream(s)
    s.publish("f.seen", b"", {"Nats-Msg-Id": "seen"})
    bad, seen, rolls, id_a = (
        {"Nats_Expected_Last_Msg_Id": "z"}, {"Nats_Msg_Id": "seen"}, {"Nats_Rollup": "sub"}, {"Nats_Msg_Id": "a"},
    )
    after_a = {"Nats_Expected_Last_Msg_Id": "a", "Nats_Msg_Id": "b"}
    lives: list[list[tuple[int, int, dict[str, str]]]] = [
        [(1, BEGIN, {}), (2, APPEND, bad), (3, APPEND, seen), (4, COMMIT_WITHOUT, {})],
        [(1, BEGIN, {}), (2, APPEND, bad), (3, COMMIT, seen)],
        [(1, BEGIN, {}), (2, APPEND, bad), (5, PING, {}), (6, COMMIT_WITHOUT, {})],
        [(1, BEGIN, {}), (2, APPEND, bad), (5, APPEND, {}), (6, COMMIT_WITHOUT, {})],
        [(1, BEGIN, bad), (2, APPEND, bad), (3, APPEND, {}), (4, COMMIT, {})],
        [(1, BEGIN, {}), (2, APPEND, bad), (3, APPEND, rolls), (4, COMMIT_WITHOUT, {})],
        [(1, BEGIN, {}), (2, COMMIT, bad), (3, APPEND, {}), (3, PING, {})],
        [(1, BEGIN, id_a), (2, APPEND, after_a), (3, COMMIT, after_a)],
        [(1, COMMIT, bad), (1, BEGIN, {})],
    ]
    for gap in ("ok", "fail"):
        for flow in (1, 2):
            for number, life in enumerate(lives):
                for at, op, headers in life:
                    _send(s, f"x{gap}{flow}-{number}.{flow}.{gap}.{at}.{op}", **headers)
                _answers(s, f"{gap} {flow} {life}")
    stored(s, "F")


def fast_after_a_refused_batch(s: Session) -> None:
    _stream(s, allow_atomic=True)
    s.publish("f.x", b"")
    batch = {"Nats-Batch-Id": "refused", "Nats-Batch-Sequence": "1"}
    s.publish("f.x", b"", batch)
    last = {"Nats-Batch-Sequence": "2", "Nats-Batch-Commit": "1", "Nats-Expected-Last-Msg-Id": "x"}
    s.publish("f.x", b"", {**batch, **last})
    _send(s, f"y.1.ok.1.{BEGIN}", Nats_Expected_Last_Sequence="1")
    _answers(s, "the last sequence is 1")


def fast_flow_is_shared(s: Session) -> None:
    _stream(s)
    for number in range(1, 5):
        _send(s, f"s{number}.300.ok.1.{BEGIN}")
    _answers(s, "begun")
    for at in range(2, 700):
        for number in (1, 2):
            _send(s, f"s{number}.300.ok.{at}.{APPEND}")
    _answers(s, "grown")
    for number in (2, 3, 4):
        _send(s, f"s{number}.300.ok.1000.{COMMIT_WITHOUT}")
    for at in range(700, 1400):
        _send(s, f"s1.300.ok.{at}.{APPEND}")
    _answers(s, "alone")


def fast_with_features(s: Session) -> None:
    _stream(s, allow_msg_ttl=True, allow_rollup_hdrs=True, allow_atomic=True, allow_msg_schedules=True,
            max_msgs_per_subject=2, republish={"src": "f.*", "dest": "copy.{{wildcard(1)}}"})  # fmt: skip
    for number, fields in enumerate((
        {}, {"Nats_TTL": "60"}, {"Nats_Rollup": "sub"}, {"A": "b"}, {"Nats_Msg_Id": "x"},
        {"Nats_Schedule": "@every 1h", "Nats_Schedule_Target": "f.t"}, {"Nats_Expected_Last_Subject_Sequence": "0"},
    ), 1):  # fmt: skip
        _send(s, f"all.1.fail.{number}.{APPEND if number > 1 else BEGIN}", f"f.{number}", **fields)
    _send(s, f"all.1.fail.8.{COMMIT}", "f.8", b"last")
    _answers(s, "features")
    stored(s, "F")
    s.api("STREAM.DELETE.F")
    s.stream("C", subjects=["c.*"], allow_batched=True, allow_msg_counter=True)
    for number, value in enumerate(("1", "+5", "x", "-2"), 1):
        _send(s, f"c.1.ok.{number}.{APPEND if number > 1 else BEGIN}", "c.a", b"", Nats_Incr=value)
    _send(s, f"c.1.ok.5.{COMMIT}", "c.b", b"", Nats_Incr="7")
    s.client.request("c.sync", b"", {"Nats-Incr": "1"})
    s.frames("counters", s.client.flush())
    stored(s, "C")


def fast_limits(s: Session) -> None:
    for kind, bound in (("max_msgs", 4), ("max_bytes", 500), ("max_msgs_per_subject", 2)):
        for discard in ("old", "new"):
            for gap in ("ok", "fail"):
                extra = {"discard_new_per_subject": True} if (discard, kind[-1]) == ("new", "t") else {}
                s.stream("L", subjects=["l.*", "sync"], discard=discard, allow_batched=True, **{kind: bound}, **extra)
                s.client.subscribe("fi.>")
                for number in range(1, 9):
                    op = BEGIN if number == 1 else COMMIT if number == 8 else APPEND
                    _send(s, f"l.2.{gap}.{number}.{op}", f"l.{number % 2}", b"0123456789" * 5)
                s.client.request("sync", b"")
                s.frames(f"{kind} {discard} {gap}", s.client.flush())
                s.api("STREAM.INFO.L")
                s.api("STREAM.DELETE.L")
                s.client.unsubscribe(str(s.client.next_sid - 1))


def fast_and_updates(s: Session) -> None:
    _stream(s)
    _send(s, f"u.10.ok.1.{BEGIN}")
    _answers(s, "begun")
    update(s, "F", subjects=["f.*"])
    _send(s, f"u.10.ok.2.{COMMIT}")
    _answers(s, "off")
    update(s, "F", subjects=["f.*"], allow_batched=True)
    _send(s, f"u.10.ok.2.{COMMIT}")
    _answers(s, "on again")
    update(s, "F", subjects=["f.*"], allow_batched=True, no_ack=True)
    for number, op in ((1, BEGIN), (2, APPEND), (5, APPEND), (6, PING), (7, COMMIT)):
        _send(s, f"quiet.1.ok.{number}.{op}")
    s.frames("no ack", [s.client.next_message() for _ in range(7)])
    update(s, "F", subjects=["f.*"], allow_batched=True)
    _send(s, f"s.10.ok.1.{BEGIN}")
    _answers(s, "begun")
    update(s, "F", subjects=["f.*"], allow_batched=True, sealed=True)
    _send(s, f"s.10.ok.2.{COMMIT}")
    _answers(s, "sealed")
    s.stream("T", subjects=["t.*"], allow_batched=True, subject_transform={"src": "t.*", "dest": "u.{{wildcard(1)}}"})
    _send(s, f"t.10.ok.1.{COMMIT}", "t.a")
    s.client.request("t.sync", b"")
    s.frames("transformed", s.client.flush())
    stored(s, "T")


def fast_without_interest(s: Session) -> None:
    _stream(s, retention="interest")
    _batch(s, "none", 3, 1)
    _batch(s, "none", 3, 1, gap="fail", op=COMMIT_WITHOUT)
    s.consumer("F", "C", filter_subject="f.x")
    _batch(s, "some", 3, 1)
    s.api("STREAM.INFO.F")


def fast_numbers(s: Session) -> None:
    """A thousand batches in a stream, and no more."""
    _stream(s)
    for number in range(1000):
        _send(s, f"n{number}.10.ok.1.{BEGIN}")
    _answers(s, "a thousand")
    _send(s, f"more.10.ok.1.{BEGIN}")
    _answers(s, "one more")
    _send(s, f"n7.10.ok.2.{COMMIT}")
    _send(s, f"more.10.ok.1.{BEGIN}")
    _answers(s, "room")
