"""Input that makes no sense, in every field of every request, by the hundred.

The requests are generated from the shapes that the API decodes, so a field that is added there is swept here.
They go out in one piece and are answered one by one. Where all are refused, nothing may have changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from millpond.jetstream.api import consumers as consumer_shapes
from millpond.jetstream.api import request as shapes
from millpond.jetstream.config_wire import CONSUMER_FIELDS
from millpond.jetstream.go_json import Shape

from .compare import Session, show_payload
from .scenarios_api import BODIES as BODIES_OF_ALL_KINDS
from .scenarios_api import INTEGERS, values_of

CHUNK = 100
"""Requests on their way at a time."""
Asked = tuple[str, bytes]
"""The verb and the body of one request."""

SMALL: dict[str, Shape] = {
    "STREAM.INFO.E": shapes.STREAM_INFO,
    "STREAM.NAMES": shapes.STREAM_NAMES,
    "STREAM.LIST": shapes.STREAM_LIST,
    "STREAM.PURGE.E": shapes.STREAM_PURGE,
    "STREAM.MSG.GET.E": shapes.MSG_GET,
    "STREAM.MSG.DELETE.E": shapes.MSG_DELETE,
    "CONSUMER.NAMES.E": shapes.CONSUMERS,
    "CONSUMER.LIST.E": shapes.CONSUMERS,
    "CONSUMER.PAUSE.E.c": consumer_shapes.PAUSE,
    "CONSUMER.RESET.E.c": consumer_shapes.RESET,
    "CONSUMER.UNPIN.E.c": consumer_shapes.UNPIN,
}
"""Requests whose body is optional or small, with what it may hold."""


def many(s: Session, asked: Iterable[Asked], *, shown: int = 120) -> list[dict[str, Any]]:
    """Sends all requests without waiting, in chunks; records each answer and gives their JSON."""
    out: list[dict[str, Any]] = []
    waiting = list(asked)
    for start in range(0, len(waiting), CHUNK):
        chunk = waiting[start : start + CHUNK]
        replies = []
        for verb, body in chunk:
            replies.append(s.client.new_reply())
            s.client.publish(f"$JS.API.{verb}", body, replies[-1])
        for (verb, body), reply in zip(chunk, replies, strict=True):
            frame = s.frame(f"{verb} {body[:shown]!r}", s.client.next_message(reply), subject=False)
            out.append(json.loads(frame.payload) if frame.payload[:1] == b"{" else {})
    return out


def refused(s: Session, asked: Iterable[Asked]) -> None:
    """As `many`; what was refused as a whole must have left everything as it was."""
    before = everything(s)
    answers = many(s, asked)
    if all("error" in answer for answer in answers):
        s.note(f"{len(answers)} refused, nothing changed: {everything(s) == before}")


def everything(s: Session) -> list[Any]:
    """All that the API tells of streams and consumers, without the moment of asking."""
    seen: list[Any] = [json.loads(s.client.request("$JS.API.STREAM.LIST").payload)["streams"]]
    for name in [stream["config"]["name"] for stream in seen[0]]:
        details = b'{"subjects_filter":">","deleted_details":true}'
        seen.append(json.loads(s.client.request(f"$JS.API.STREAM.INFO.{name}", details).payload))
        seen.append(json.loads(s.client.request(f"$JS.API.CONSUMER.LIST.{name}").payload))
    return json.loads(json.dumps(seen), object_hook=_timeless)


def _timeless(document: dict[str, Any]) -> dict[str, Any]:
    document.pop("ts", None)
    return document


def prepared(s: Session) -> None:
    """A stream with a gap and a consumer with something acknowledged and something on its way."""
    s.stream("E", subjects=["e.>"], allow_direct=True)
    s.consumer("E", "c", ack_policy="explicit")
    for number in range(6):
        s.publish(f"e.{number % 3}", b"x%d" % number)
    s.api("STREAM.MSG.DELETE.E", {"seq": 2})
    s.ack(s.pull("E", "c", {"batch": 2}, 2)[0])


def documents(shape: Shape) -> Iterator[bytes]:
    """Every field alone with every odd value."""
    for name, kind in shape.fields.items():
        for value in values_of(kind):
            yield b'{"%b":%b}' % (name.encode(), value)


def small_requests(s: Session) -> None:
    prepared(s)
    for verb, shape in SMALL.items():
        refused(s, [(verb, body) for body in documents(shape)])
    s.note(json.dumps(everything(s)))


LASTING = b'"inactive_threshold":3600000000000'
UNSAID = frozenset({
    *(("inactive_threshold", b"%d" % value) for value in (1, 2**31 - 1, 2**31)),    # may be gone when it is deleted
    ("sourcing", b"true"),                              # answered with an identity, which is the stream's own
    ("pause_until", b'"0001-01-01T00:00:00Z"'),         # shown by nats-server, though it is none
    *(("priority_timeout", b"%d" % value) for value in INTEGERS if -(2**63) <= value < 0),   # raises the level
    ("expires", b"1"),                                  # may end before the consumer does
    ("idle_heartbeat", b"%d" % (2**63 - 1)),            # its double overflows in nats-server
})
"""Fields and values that say nothing, or are told about elsewhere."""


def consumer_fields(s: Session) -> None:
    """Each field of a consumer with each odd value: created, created again, deleted.

    Every consumer has its own name: nats-server is not always done with a name when it says that it is deleted.
    """
    prepared(s)
    for field, kind in CONSUMER_FIELDS.items():
        bodies = [
            (b"v%d" % number, b'{"stream_name":"E","config":{%b,"%b":%b}}' % (LASTING, field.encode(), value))
            for number, value in enumerate(values_of(kind))
            if (field, value) not in UNSAID
        ]
        asked = [(f"CONSUMER.CREATE.E.{field}{name.decode()}", body) for name, body in bodies]
        many(s, asked, shown=200)
        many(s, asked, shown=200)
        many(s, [(f"CONSUMER.DELETE.E.{field}{name.decode()}", b"") for name, _ in bodies])


PULL: Shape = Shape(
    "JSApiConsumerGetNextRequest",
    {
        "expires": "time.Duration", "batch": "int", "max_bytes": "int", "no_wait": "bool",
        "idle_heartbeat": "time.Duration", "group": "string", "min_pending": "int64", "min_ack_pending": "int64",
        "id": "string", "priority": "int",
    },
)  # fmt: skip


def first_answers(s: Session, subject: str, bodies: Iterable[bytes], last: bytes, end: Asked | None = None) -> None:
    """Sends all bodies to one subject; records the first answer to each.

    `last` is a body that is answered at once: all before it have been read by then. Those that wait for something
    are answered when `end` is done.
    """
    replies: list[tuple[bytes, str]] = []
    for body in bodies:
        replies.append((body, s.client.new_reply()))
        s.client.publish(subject, body, replies[-1][1])
    s.client.request(subject, last)
    if end is not None:
        s.api(*end)
    for body, reply in replies:
        s.frame(f"{subject} {body[:120]!r}", s.client.next_message(reply), subject=False)
    s.client.flush()


def pull_requests(s: Session) -> None:
    """On consumers of an empty stream; what waits is answered when its consumer is deleted."""
    s.stream("E", subjects=["e.>"])
    for priority in ({}, {"priority_policy": "overflow", "priority_groups": ["g"]},
                     {"priority_policy": "pinned_client", "priority_groups": ["g"]},
                     {"priority_policy": "prioritized", "priority_groups": ["g"]}):
        group = b',"group":"g"' if priority else b""
        last = b'{"no_wait":true%b}' % group
        for field, kind in PULL.fields.items():
            name = f"{field}-{priority.get('priority_policy', 'none')}"
            s.consumer("E", name, ack_policy="explicit", max_waiting=512, **priority)
            bodies = [
                b'{"%b":%b%b}' % (field.encode(), value, more + group)
                for value in values_of(kind)
                if (field, value) not in UNSAID
                for more in ((b"",) if field == "idle_heartbeat" else (b"", b',"no_wait":true'))
            ]
            first_answers(s, f"$JS.API.CONSUMER.MSG.NEXT.E.{name}", bodies, last, (f"CONSUMER.DELETE.E.{name}", b""))


def pull_bodies(s: Session) -> None:
    """Everything that a pull request may hold instead of an object."""
    s.stream("E", subjects=["e.>"])
    s.consumer("E", "c", ack_policy="explicit", max_waiting=512)
    # nats-server takes off what Unicode calls a space.
    bodies = [body for body in ODD_BODIES if not body.endswith(b"\xe2\x80\xa9")]
    first_answers(s, "$JS.API.CONSUMER.MSG.NEXT.E.c", bodies, b'{"no_wait":true}', ("CONSUMER.DELETE.E.c", b""))


def direct_gets(s: Session) -> None:
    prepared(s)
    for name, kind in shapes.MSG_GET.fields.items():
        for more in (b"", b',"seq":1', b',"last_by_subj":"e.1"', b',"next_by_subj":"e.>"', b',"batch":2',
                     b',"multi_last":["e.>"]', b',"up_to_seq":5,"multi_last":["e.*"]'):
            bodies = [b'{"%b":%b%b}' % (name.encode(), value, more) for value in values_of(kind)]
            first_answers(s, "$JS.API.DIRECT.GET.E", bodies, b'{"seq":1}')
    first_answers(s, "$JS.API.DIRECT.GET.E", ODD_BODIES, b'{"seq":1}')


VERBS: tuple[str, ...] = (
    "STREAM.CREATE.A", "STREAM.UPDATE.E", "STREAM.DELETE.A", "STREAM.INFO.E", "STREAM.NAMES", "STREAM.LIST",
    "STREAM.PURGE.A", "STREAM.MSG.GET.E", "STREAM.MSG.DELETE.E", "STREAM.LEADER.STEPDOWN.E", "STREAM.PEER.REMOVE.E",
    "STREAM.PEER.EVACUATE.E", "STREAM.CANCEL_MOVE.E", "CONSUMER.DURABLE.CREATE.E.d", "CONSUMER.CREATE.E",
    "CONSUMER.CREATE.E.n", "CONSUMER.CREATE.E.n.e.x", "CONSUMER.INFO.E.c", "CONSUMER.DELETE.E.x",
    "CONSUMER.PAUSE.E.c", "CONSUMER.UNPIN.E.c", "CONSUMER.RESET.E.c", "CONSUMER.NAMES.E", "CONSUMER.LIST.E",
    "CONSUMER.LEADER.STEPDOWN.E.c", "CONSUMER.PEER.REMOVE.E.c", "CONSUMER.PEER.EVACUATE.E.c",
)
GARBAGE: tuple[bytes, ...] = (
    b" ", b"\0", b"x", b"}", b"]", b",", b"{}", b" {}", b"[]", b"null", b"1", b'"x"', b"\xff", b"\n//", b"{",
    b"\xe2\x80\xa9", b"\xc3",
)
"""What may stand behind a document."""


def odd_bodies() -> Iterator[bytes]:
    """No documents, broken documents, two documents, documents in disguise."""
    yield from BODIES_OF_ALL_KINDS
    for whole in (b"{}", b'{"unknown":1}', b'{"seq":1}', b'{"name":"A"}', b'{"stream_name":"E"}'):
        yield from (whole + garbage for garbage in GARBAGE)
        yield from (garbage + whole for garbage in GARBAGE)
    for depth in (2, 100, 1000):
        yield b'{"seq":' * depth + b"1" + b"}" * depth
        yield b'{"unknown":' * depth + b"1" + b"}" * depth
        yield b"[" * depth + b"]" * depth
    for key in (b"seq", b"name", b"stream_name", b"config", b"offset", b"filter", b"batch"):
        yield b'{"%b":1,"%b":"x"}' % (key, key)
        yield b'{"%b":"x","%b":1}' % (key, key)
        yield b'{"%b":null,"%b":{}}' % (key, key)
        yield b'{"%b":1,"%b":2,"unknown":3}' % (key, key.upper())


ODD_BODIES: tuple[bytes, ...] = tuple(odd_bodies())


def every_verb(s: Session) -> None:
    """Every odd body to every verb. Where all are refused, nothing has changed."""
    prepared(s)
    for verb in VERBS:
        refused(s, [(verb, body) for body in ODD_BODIES])
        if ".CREATE.E" in verb:
            drop_consumers(s)
    s.note(json.dumps(everything(s)))


def drop_consumers(s: Session) -> None:
    """All but one: they would go away after a while, and the names of some are the server's choice."""
    for name in json.loads(s.client.request("$JS.API.CONSUMER.NAMES.E").payload)["consumers"]:
        if name != "c":
            if len(name) == 8:
                s.hide(name, "<ephemeral>")
            s.client.request(f"$JS.API.CONSUMER.DELETE.E.{name}")


def huge_bodies(s: Session) -> None:
    """As large as a message may be, and larger; what the server says goes to whoever asked."""
    prepared(s)
    for size in (100_000, 1_048_576):
        for body in (b" " * size, b" " * (size - 2) + b"{}", b"x" * size, b"[" + b"1," * (size // 2 - 1) + b"1",
                     b'{"unknown":"' + b"x" * (size - 14) + b'"}', b'{"' + b"n" * (size - 6) + b'":1}',
                     b'{"name":"' + b"A" * (size - 11) + b'"}', b'{"seq":' + b"1" * (size - 8) + b"}",
                     b'{"name":"A","description":"' + b"d" * (size - 29) + b'"}'):
            assert len(body) <= size
            for verb in ("STREAM.CREATE.A", "STREAM.INFO.E", "STREAM.PURGE.E", "STREAM.MSG.GET.E", "STREAM.NAMES",
                         "CONSUMER.CREATE.E.c", "STREAM.DELETE.E"):
                if verb.startswith("STREAM.PURGE") and body.strip() in (b"", b"{}"):
                    continue
                frame = s.client.request(f"$JS.API.{verb}", body)
                answer = frame.payload.replace(body[12:-4], b"<most of the body>")
                s.note(f"{verb} {body[:20]!r} {len(body)} -> {frame.headers!r} {show_payload(answer)}")
    s.note(json.dumps(everything(s)))


SETTINGS: dict[str, dict[str, Any]] = {
    "interest": {"retention": "interest"},
    "workqueue": {"retention": "workqueue"},
    "discard new": {"discard": "new"},
    "new per subject": {"discard": "new", "discard_new_per_subject": True, "max_msgs_per_subject": 1},
    "per subject without a limit": {"discard_new_per_subject": True},
    "one per subject": {"max_msgs_per_subject": 1},
    "limits": {"max_msgs": 5, "max_bytes": 5000, "max_msg_size": 100},
    "no consumers": {"max_consumers": 1},
    "short lived": {"max_age": 10**9},
    "window": {"duplicate_window": 10**10},
    "no ack": {"no_ack": True},
    "replicas": {"num_replicas": 3},
    "negative replicas": {"num_replicas": -1},
    "placed": {"placement": {"cluster": "x", "tags": ["a"]}},
    "placed on a server": {"placement": {"preferred": "x"}},
    "first": {"first_seq": 10},
    "transform": {"subject_transform": {"src": "p.>", "dest": "q.>"}},
    "bad transform": {"subject_transform": {"src": "p.*", "dest": "q.{{wildcard(2)}}"}},
    "republish": {"republish": {"src": "p.>", "dest": "r.>"}},
    "republish cycle": {"republish": {"src": ">", "dest": "p.>"}},
    "direct": {"allow_direct": True},
    "mirror direct": {"mirror_direct": True},
    "sealed": {"sealed": True},
    "no delete": {"deny_delete": True},
    "no purge": {"deny_purge": True},
    "rollups": {"allow_rollup_hdrs": True},
    "consumer limits": {"consumer_limits": {"max_ack_pending": 5, "inactive_threshold": 10**9}},
    "ttl": {"allow_msg_ttl": True},
    "markers": {"subject_delete_marker_ttl": 10**9},
    "short markers": {"subject_delete_marker_ttl": 10**8},
    "counter": {"allow_msg_counter": True},
    "atomic": {"allow_atomic": True},
    "schedules": {"allow_msg_schedules": True},
    "batched": {"allow_batched": True},
    "compressed": {"compression": "s2"},
    "mirror": {"mirror": {"name": "ORIGIN"}, "subjects": []},
    "mirror with subjects": {"mirror": {"name": "ORIGIN"}},
    "source": {"sources": [{"name": "ORIGIN"}]},
    "nobody's subjects": {"subjects": []},
    "everything": {"subjects": [">"]},
    "the API": {"subjects": ["$JS.API.x"]},
    "taken": {"subjects": ["origin.x"]},
    "same twice": {"subjects": ["p.a", "p.a"]},
    "overlapping": {"subjects": ["p.*", "p.a"]},
    "no subject": {"subjects": ["p..a"]},
}
"""Features that may or may not go together."""


Case = list[tuple[str, dict[str, Any]]]
"""Verbs and configurations of one stream, in order. Each case has a name and subjects of its own."""


def paired(extra: dict[str, Any]) -> Iterator[Case]:
    every = list(SETTINGS.values())
    for number, config in enumerate(every):
        for more in every[number:]:
            yield [("CREATE", {**config, **more, **extra})]
            yield [("CREATE", {}), ("UPDATE", {**config, **more, **extra})]


def apart(s: Session, cases: Iterable[Case]) -> None:
    """Runs the cases side by side, a chunk at a time. nats-server does not keep the order of what creates and deletes
    streams: what has to come one after the other waits for the answer."""
    s.stream("ORIGIN", subjects=["origin.>"])
    waiting = list(cases)
    for start in range(0, len(waiting), CHUNK):
        chunk = list(enumerate(waiting[start : start + CHUNK]))
        for step in range(max(len(case) for _, case in chunk)):
            many(s, [_of_its_own(s, number, *case[step]) for number, case in chunk if step < len(case)], shown=400)
        many(s, [(f"STREAM.DELETE.P{number}", b"") for number, _ in chunk])


def _of_its_own(s: Session, number: int, verb: str, config: dict[str, Any]) -> Asked:
    name = f"P{number}"
    body = json.dumps({"name": name, "storage": s.storage or "file", "subjects": ["p.>"], **config})
    return f"STREAM.{verb}.{name}", body.replace('"p.', f'"p{number}.').encode()


def pairs(s: Session) -> None:
    """Every two features: may a stream have both, may a plain stream become one that has both?"""
    apart(s, paired({}))


def pedantic_pairs(s: Session) -> None:
    apart(s, paired({"pedantic": True}))


def every_feature_updated(s: Session) -> None:
    """From every feature to every other: what may be turned on and off."""
    s.hide('"active": "never"', '"active": "<ns ago>"')      # whether the origin was heard of by then is a race
    every = [{}, *SETTINGS.values()]
    apart(s, [[("CREATE", config), ("UPDATE", more)] for config in every[1:] for more in every])
