"""Subjects that a stream rewrites, and copies that it republishes."""

from __future__ import annotations

from .compare import Session

TRANSFORMS: list[tuple[str, str, list[str]]] = [
    ("t.*.*", "u.$2.$1", ["t.a.b", "t.a", "t.a.b.c"]),
    ("t.*.*", "u.{{wildcard(2)}}.{{ Wildcard ( 1 ) }}", ["t.a.b"]),
    ("t.>", "u.>", ["t.a.b.c", "t.a"]),
    ("t.*.>", "u.$1.in.>", ["t.a.b.c"]),
    ("", "u.>", ["t.a.b"]),
    (">", "u.>", ["t.a.b"]),
    ("t.one", "u.two", ["t.one", "t.other"]),
    ("t.*", "u.$0.$-1.$foo.$", ["t.a"]),
    ("t.*", "u.{{wildcard(0)}}", ["t.a"]),
    ("t.*", "u.{{partition(7,1)}}", ["t.a", "t.b", "t.orders", "t.\u00e4"]),
    ("t.*.*", "u.{{partition(10,1,2)}}", ["t.a.b", "t.ab.c", "t.a.bc"]),
    ("t.*.*", "u.{{partition(10)}}", ["t.a.b", "t.ab.c"]),
    ("t.>", "u.{{partition(10)}}.>", ["t.a.b"]),
    ("t.one", "u.{{partition(10)}}", ["t.one"]),
    ("t.*", "u.{{partition(0,1)}}", ["t.a"]),
    ("t.*", "u.{{partition(-3,1)}}", ["t.a", "t.b"]),
    ("t.*", "u.{{partition(-9223372036854775808,1)}}", ["t.a", "t.b"]),
    ("t.*", "u.{{partition(-4294967290,1)}}", ["t.a", "t.b"]),
    ("t.*", "u.{{random(1)}}.{{random(0)}}.{{random(-1)}}", ["t.a"]),
    ("t.*", "u.{{splitfromleft(1,3)}}", ["t.12345", "t.123", "t.12"]),
    ("t.*", "u.{{SplitFromRight(1,3)}}", ["t.12345", "t.123", "t.12"]),
    ("t.*", "u.{{SliceFromLeft(1,3)}}", ["t.1234567890", "t.123456", "t.1234", "t.123", "t.1"]),
    ("t.*", "u.{{sliceFromRight(1,3)}}", ["t.1234567890", "t.123456", "t.1234", "t.123", "t.1"]),
    ("t.*", "u.{{split(1,-)}}", ["t.-abc-def--ghi-", "t.abc", "t.-", "t.--", "t.a-b", "t.-a"]),
    ("t.*", "u.{{split(1,)}}", ["t.abc"]),
    ("t.*", "u.{{split(1,ab)}}", ["t.xabyabz"]),
    ("t.*", "u.{{left(1,2)}}", ["t.12345", "t.1"]),
    ("t.*", "u.{{Right(1,2)}}", ["t.12345", "t.1"]),
    ("t.*", "u.{{splitfromleft(1,0)}}.{{splitfromleft(1,-1)}}", ["t.abc"]),
    ("t.*", "u.{{splitfromleft(1, 2 )}}", ["t.abc"]),
    ("t.*.*", "u.{{split(2,-)}}.{{splitfromleft(1,2)}}", ["t.foo.-abc-def--ghij-"]),
    ("t.*", "", ["t.a"]),
    ("", "", ["t.a"]),
    ("t.**", "u.a", ["t.anything"]),
    ("t.*", "u.{{x{{wildcard(1)}}", ["t.a"]),
]

REFUSED: list[tuple[str, str]] = [
    ("t.*", "u.*"), ("t.*", "u.$2"), ("t.*", "u.$1.>"), ("t.>", "u.a"), ("t..a", "u.a"), ("t.*", "u..$1"),
    ("t.a b", "u.a"), ("t.*", "u.a b"), ("t.*", "u. "), ("t.*", "u.>.a"), ("t.*", "u.{{wildcard(2)}}"),
    ("t.*", "u.{{unknown(1)}}"), ("t.*", "u.{{partition()}}"), ("t.*", "u.{{partition(a)}}"),
    ("t.*", "u.{{partition(1,a)}}"), ("t.*", "u.{{partition(1,2)}}"), ("t.*", "u.{{partition(2147483648,1)}}"),
    ("t.*", "u.{{wildcard()}}"), ("t.*", "u.{{wildcard(1,2)}}"), ("t.*", "u.{{wildcard(a)}}"),
    ("t.*", "u.{{splitfromleft(1)}}"), ("t.*", "u.{{splitfromleft(1,2,3)}}"), ("t.*", "u.{{splitfromleft(x,2)}}"),
    ("t.*", "u.{{splitfromleft(1,x)}}"), ("t.*", "u.{{splitfromleft(1,2147483648)}}"), ("t.*", "u.{{split(1)}}"),
    ("t.*", "u.{{split(1,a,b)}}"), ("t.*", "u.{{split(1, )}}"), ("t.*", "u.{{split(1,a b)}}"),
    ("t.*", "u.{{split(9,-)}}"), ("t.*", "u.{{random()}}"), ("t.*", "u.{{random(1,2)}}"),
    ("t.*", "u.{{random(2147483648)}}"), ("t.one", "u.$1"), ("t.one", "u.{{wildcard(1)}}"),
    ("t.one", "u.{{split(1,-)}}"), ("t.*", "u.{{WILDCARD(1)}}"), ("t.*", "u.{{}}"), ("t.*", "u.{{a}}"),
    ("t.>.a", "u.a"), ("t.*", "u.{{wildcard(99999999999999999999)}}"), ("t.*", ">"), ("t.*", "u.{{left(1)}}"),
]  # fmt: skip


def subject_transforms(s: Session) -> None:
    for number, (src, dest, subjects) in enumerate(TRANSFORMS):
        name = f"T{number}"
        s.stream(name, subjects=["t.>"], subject_transform={"src": src, "dest": dest})
        for subject in subjects:
            s.publish(subject, b"x", {"Nats-Expected-Last-Subject-Sequence": "0"})
        s.api(f"STREAM.INFO.{name}", {"subjects_filter": ">"})
        s.api(f"STREAM.DELETE.{name}")


def refused_transforms(s: Session) -> None:
    for number, (src, dest) in enumerate(REFUSED):
        name = f"R{number}"
        s.stream(name, subjects=["t.>"], subject_transform={"src": src, "dest": dest})
        s.api(f"STREAM.DELETE.{name}")


def transform_updates(s: Session) -> None:
    base = {"name": "U", "subjects": ["t.>"], "storage": s.storage}
    s.stream("U", subjects=["t.>"], subject_transform={"src": "t.*", "dest": "one.$1"})
    s.publish("t.a", b"x")
    s.api("STREAM.UPDATE.U", {**base, "subject_transform": {"src": "t.*", "dest": "two.$1"}})
    s.publish("t.a", b"x")
    s.api("STREAM.UPDATE.U", {**base, "subject_transform": {"src": "t.*", "dest": "two.$2"}})
    s.publish("t.a", b"x", {"Nats-Rollup": "sub"})
    s.api("STREAM.UPDATE.U", {**base, "allow_rollup_hdrs": True})
    s.publish("t.a", b"x")
    s.publish("t.a", b"y", {"Nats-Rollup": "sub"})
    s.api("STREAM.INFO.U", {"subjects_filter": ">"})
    s.consumer("U", "C", filter_subject="two.*", ack_policy="explicit")
    s.pull("U", "C", {"batch": 1}, 1)
    s.api("STREAM.MSG.GET.U", {"last_by_subj": "one.a"})


REPUBLISHES: list[dict[str, object]] = [
    {"src": "r.*", "dest": "copy.$1"}, {"src": ">", "dest": "copy.>"}, {"dest": "copy.>"},
    {"src": "r.a", "dest": "copy", "headers_only": True}, {"src": "r.*", "dest": "copy.{{splitfromleft(1,1)}}"},
    {"src": "none.>", "dest": "copy.>"}, {"src": "r.a"}, {}, {"src": "r.*", "dest": "copy"},
    {"src": ">", "dest": ">"}, {"src": "r.*", "dest": "r.copy.$1"}, {"src": "r.*", "dest": "copy.$2"},
    {"src": "r.*", "dest": "copy.>"}, {"src": "r..", "dest": "copy"}, {"src": "r.*", "dest": "*.copy"},
    {"src": "r.*", "dest": "copy. "}, {"src": "r.*", "dest": "copy.{{left(1,1)}}"},
]  # fmt: skip


def republishing(s: Session) -> None:
    s.client.subscribe("copy.>")
    s.client.subscribe("copy")
    for number, republish in enumerate(REPUBLISHES):
        name = f"R{number}"
        config = {"name": name, "subjects": ["r.*"], "storage": s.storage, "republish": republish}
        s.api(f"STREAM.CREATE.{name}", {**config, "pedantic": True})
        s.api(f"STREAM.DELETE.{name}")
        s.api(f"STREAM.CREATE.{name}", config)
        for subject, headers in (("r.a", None), ("r.bc", {"A": "b"}), ("r.a", {"Nats-Msg-Id": "1"}), ("r.a", None)):
            s.publish(subject, b"data", headers)
        s.publish("r.a", b"again", {"Nats-Msg-Id": "1"})
        s.publish("r.a", b"", {"Nats-Expected-Last-Sequence": "9"})
        s.frames("copies", s.client.flush())
        s.api(f"STREAM.DELETE.{name}")


def republishing_and_the_rest(s: Session) -> None:
    s.client.subscribe("copy.>")
    base = {"name": "A", "subjects": ["a.>"], "storage": s.storage}
    s.stream("A", subjects=["a.>"], max_msgs_per_subject=1, no_ack=True,
             republish={"src": "a.>", "dest": "copy.>"})  # fmt: skip
    for _ in range(3):
        s.client.publish("a.x", b"x")
    for _ in range(3):
        s.frame("copy", s.client.next_message(sid="2"))
    s.api("STREAM.UPDATE.A", {**base, "republish": {"src": "a.>", "dest": "copy.new.>", "headers_only": True}})
    s.publish("a.x", b"xyz", {"A": "b"})
    s.frames("copies", s.client.flush())
    s.api("STREAM.UPDATE.A", base)
    s.publish("a.x", b"x")
    s.frames("copies", s.client.flush())
    s.stream("B", subjects=["b.*"], subject_transform={"src": "b.*", "dest": "copy.of.$1"},
             republish={"src": ">", "dest": ">"})  # fmt: skip
    s.api("STREAM.CREATE.P", {
        "name": "P", "subjects": ["p.*"], "storage": s.storage, "subject_transform": {"src": "p.*", "dest": "copy.$1"},
        "republish": {"src": ">", "dest": ">"}, "pedantic": True,
    })
    s.publish("b.x", b"x")
    s.frames("copies", s.client.flush())
    s.stream("C", subjects=["c.*"], republish={"src": "c.*", "dest": "copy.$1"}, max_msgs=2,
             discard="new")  # fmt: skip
    for _ in range(3):
        s.publish("c.x", b"x")
    s.frames("copies", s.client.flush())
    s.stream("D", subjects=["d.*"], republish={"src": "d.*", "dest": "e.$1"})
    s.stream("E", subjects=["e.*"], republish={"src": "e.*", "dest": "copy.$1"})
    s.publish("d.x", b"x", {"H": "v"})
    s.frame("copy", s.client.next_message(sid="2"))
