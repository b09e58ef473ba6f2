"""Random API requests to both servers: every answer is compared, and with it what the requests did.

Each example is a short conversation about two streams. Its bodies are made from the field types of the API's
own shapes: mostly sense, some nonsense, sometimes broken bytes. `MILLPOND_API_EXAMPLES=5000` looks further than
the fixed examples of a normal run.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millpond.jetstream.api import request as shapes
from millpond.jetstream.config_wire import STREAM_REQUEST
from millpond.jetstream.go_json import Choice, ListOf, MapOf, Shape

from .anew import recorded
from .compare import Session, differences
from .scenarios_api import ELSEWHERE

EXAMPLES = int(os.environ.get("MILLPOND_API_EXAMPLES", "120"))
pytestmark = pytest.mark.reference

SUBJECTS = st.sampled_from(["a", "a.b", "a.*", "b.>", "*", ">", "a..b", "", "é", "a b", "$JS.x", "b.c.d", "_INBOX.>"])
TEXTS = st.one_of(SUBJECTS, st.sampled_from(["A", "B", "x" * 5000, "\0", "a/b", "..", "\x7f", "😀"]),
st.text(max_size=5))
NUMBERS = st.one_of(
    st.integers(-3, 12), st.sampled_from([10**8, 10**9, 10**11, 2**31 - 1, 2**31, 2**63 - 1, 2**63, -(2**63), 2**64])
)
OTHERS: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.floats(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=4,
)
TIMES = st.sampled_from(["2020-01-01T00:00:00Z", "2120-01-01T00:00:00.5+01:00", "0001-01-01T00:00:00Z", "2020-13-01",
""])


def fitting(kind: Any) -> st.SearchStrategy[Any]:
    """Values of the right type."""
    if isinstance(kind, Choice):
        return st.sampled_from(kind.values)
    if isinstance(kind, Shape):
        return st.fixed_dictionaries({}, optional={name: fitting(inner) for name, inner in kind.fields.items()})
    if isinstance(kind, ListOf):
        return st.lists(SUBJECTS if kind.kind == "string" else fitting(kind.kind), max_size=3)
    if isinstance(kind, MapOf):
        return st.dictionaries(TEXTS, TEXTS, max_size=3)
    return {"string": TEXTS, "bool": st.booleans(), "time.Time": TIMES}.get(kind, NUMBERS)


def mostly(kind: Any) -> st.SearchStrategy[Any]:
    return st.integers(0, 9).flatmap(lambda dice: OTHERS if dice == 0 else fitting(kind))


def objects_of(shape: Shape, **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of the shape's fields, in any order; now and then one that is not there."""
    fields = {
        name: mostly(kind)
        for name, kind in shape.fields.items()
        if name not in ELSEWHERE and name not in fixed
    }
    some = st.fixed_dictionaries(fixed, optional=fields)
    strange = st.dictionaries(st.sampled_from(["unknown", "NAME", "Seq", "subject", ""]), OTHERS, max_size=1)
    return st.tuples(some, st.booleans(), strange).map(lambda made: made[0] | (made[2] if made[1] else {}))


def encoded(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def broken(body: bytes, at: int, junk: bytes) -> bytes:
    at %= len(body) + 1
    return body[:at] + junk + body[at + 1 :]


def bodies(objects: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    whole = objects.map(encoded)
    damaged = st.builds(broken, whole, st.integers(0, 10_000), st.sampled_from([b"", b"x", b"\xff", b'"', b"}", b"\\",
    b"1e"]))
    return st.one_of(whole, whole, whole, damaged, OTHERS.map(encoded), st.just(b""))


STREAMS = ("A", "B")
CONFIG = objects_of(
    STREAM_REQUEST,
    storage=st.just("memory"),
    name=st.sampled_from(STREAMS),
    retention=st.just("limits"),
    compression=st.just("none"),
    persist_mode=st.sampled_from(["", "default"]),
    # What a server grants depends on its machine.
    max_bytes=st.one_of(st.integers(-3, 500), st.just(-(2**63))),
)


def requests() -> st.SearchStrategy[tuple[str, bytes]]:
    verbs = {
        "STREAM.CREATE": CONFIG,
        "STREAM.UPDATE": CONFIG,
        "STREAM.INFO": objects_of(shapes.STREAM_INFO),
        "STREAM.PURGE": objects_of(shapes.STREAM_PURGE),
        "STREAM.MSG.GET": objects_of(shapes.MSG_GET),
        "STREAM.MSG.DELETE": objects_of(shapes.MSG_DELETE),
        "DIRECT.GET": objects_of(shapes.MSG_GET),
    }
    on_streams = st.one_of(
        *(
            st.tuples(st.sampled_from([f"{verb}.{name}" for name in STREAMS]), bodies(body))
            for verb, body in verbs.items()
        )
    )
    listings = st.tuples(st.sampled_from(["STREAM.NAMES", "STREAM.LIST"]), bodies(objects_of(shapes.STREAM_NAMES)))
    publishes = st.tuples(st.just("PUB"), st.sampled_from([b"a", b"a.b", b"b.c", b"b.c.d", b"x"]))
    return st.one_of(on_streams, on_streams, listings, publishes)


CONVERSATIONS = st.lists(requests(), min_size=1, max_size=8)


def talk(conversation: list[tuple[str, bytes]]) -> Any:
    def scenario(s: Session) -> None:
        for subject in ("a", "b.c"):
            s.stream(subject.upper()[:1], subjects=[subject + ".>", subject], allow_direct=True)
            s.publish(subject, b"x")
        for verb, body in conversation:
            if verb == "PUB":
                frame = s.client.request(body.decode(), b"payload")
            else:
                frame = s.client.request(f"$JS.API.{verb}", body)
            s.frame(f"{verb} {body[:400]!r}", frame, subject=False)
            s.client.flush()
        for name in STREAMS:
            s.api(f"STREAM.INFO.{name}", {"subjects_filter": ">", "deleted_details": True})

    return scenario


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="MILLPOND_API_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
@given(CONVERSATIONS)
def test_same_answers_to_random_requests(pair, conversation):
    reference, other = pair
    scenario = talk(conversation)
    diff = differences(*recorded(reference, other, scenario, "memory"))
    assert not diff, "\n".join(diff)
