"""Every field of a stream configuration: its least, largest, absent and wrong values, and what replies show of it."""

from __future__ import annotations

from typing import Any

from .compare import Session
from .scenarios_streams import SECOND_NS, update

INT32, INT64 = 2**31 - 1, 2**63 - 1
NUMBERS = [0, 1, -1, -2, 5, INT32, INT32 + 1, INT64, INT64 + 1, -INT64 - 1, -INT64 - 2, 1.5, 1e3, "1", None, True]
SMALL_NUMBERS = [value for value in NUMBERS if value not in (INT64, INT32, INT32 + 1)]
FLAGS = [True, False, None, 0, 1, "true", "", []]
TEXTS = ["", "x", " ", "a.b", "é", "<&>", None, 1, [], "x" * 300]
FIELDS: dict[str, list[Any]] = {
    "description": [*TEXTS, "d" * 4096, "d" * 4097, "é" * 2049, "\u2028\x00"],
    "subjects": [[], None, [""], ["a"], ["a", "a"], ["a.*", "a.b"], ["a b"], [">"], ["a.>.b"], ["$JS.x"], ["$SYS.x"],
                 ["$JS.EVENT.x"], ["$SYS.ACCOUNT.>"], "a", [1], [None], ["a."], [".a"], ["*"], ["a*"], ["$NRG.x"]],
    "retention": ["limits", "interest", "workqueue", "", "LIMITS", "other", None, 0],
    "max_consumers": NUMBERS, "max_msgs": NUMBERS, "max_bytes": SMALL_NUMBERS,
    "max_age": [*NUMBERS, 10**8, 10**8 - 1, SECOND_NS], "max_msgs_per_subject": NUMBERS, "max_msg_size": NUMBERS,
    "discard": ["old", "new", "OLD", "New", "", "other", None, 0], "discard_new_per_subject": FLAGS,
    "storage": ["file", "memory", "", "FILE", "disk", None, 0],
    "num_replicas": [0, 1, 2, 3, 5, 6, -1, INT64, None, "1"],
    "no_ack": FLAGS, "duplicate_window": [*NUMBERS, 10**8, 10**8 - 1, 120 * SECOND_NS, 3600 * SECOND_NS],
    "placement": [None, {}, {"cluster": ""}, {"cluster": "c"}, {"cluster": "c", "tags": []}, {"tags": []},
                  {"preferred": ""}, {"tags": None}, {"tags": ["a", "a"]}, {"tags": [""]}, {"preferred": "p"},
                  {"cluster": 1}, [], "c", {"unknown": 1}, {"cluster": "c d", "tags": ["t u"]},
                  {"cluster": "c", "preferred": "p"}],
    "compression": ["none", "s2", "", "S2", "None", "gzip", None, 0],
    "first_seq": [0, 1, 2, 100, INT32 + 1, 2**64, -1, None, "1", 1.5],
    "subject_transform": [None, {}, {"src": ">", "dest": ">"}, {"src": "", "dest": "x"}, {"src": "x", "dest": ""},
                          {"src": "a.*", "dest": "b.{{wildcard(1)}}"}, {"src": "a.*", "dest": "b.{{wildcard(2)}}"},
                          {"src": "a..b", "dest": "x"}, {"src": "a", "dest": "b c"}, {"src": 1}, [], {"other": 1}],
    "republish": [None, {}, {"src": ">", "dest": "r.>"}, {"src": "", "dest": "r"}, {"src": "", "dest": "r.>"},
                  {"src": "a", "dest": ""}, {"src": "a", "dest": "r", "headers_only": True},
                  {"src": ">", "dest": "FIELD"}, {"dest": "r.>", "headers_only": False}, {"src": "a.*", "dest": "r"},
                  {"src": ">", "dest": ">"}, [],
                  {"headers_only": True}],
    "allow_direct": FLAGS, "mirror_direct": FLAGS, "sealed": FLAGS, "deny_delete": FLAGS, "deny_purge": FLAGS,
    "allow_rollup_hdrs": FLAGS, "allow_msg_ttl": FLAGS, "allow_msg_counter": FLAGS, "allow_atomic": FLAGS,
    "allow_msg_schedules": FLAGS, "allow_batched": FLAGS,
    "consumer_limits": [None, {}, {"inactive_threshold": 0}, {"inactive_threshold": SECOND_NS}, {"max_ack_pending": 0},
                        {"inactive_threshold": -1}, {"max_ack_pending": -2}, {"max_ack_pending": -1},
                        {"max_ack_pending": 5},
                        {"inactive_threshold": SECOND_NS, "max_ack_pending": 5}, {"max_ack_pending": "5"}, [], {"x": 1},
                        {"inactive_threshold": INT64, "max_ack_pending": INT64}],
    "subject_delete_marker_ttl": [*NUMBERS, SECOND_NS, SECOND_NS - 1, SECOND_NS + 1],
    "persist_mode": ["", "default", "async", "ASYNC", "Default", "sync", None, 0],
    "metadata": [None, {}, {"a": "b"}, {"": ""}, {"b": "1", "a": "2"}, {"a": 1}, {"a": None}, {"_nats.level": "9"},
                 {"_nats.req.level": "9"}, {"_nats.ver": "9", "x": "y"}, {"_nats.other": "z"}, {"k": "v" * 131_071},
                 {"k": "v" * 131_072}, {"é": "<>"}, [], "x"],
}  # fmt: skip
NOWHERE = [{}, {"src": "a", "dest": ""}, {"headers_only": True}]
TOGETHER: list[dict[str, Any]] = [
    {"persist_mode": "async", "num_replicas": 2}, {"persist_mode": "async", "allow_atomic": True},
    {"persist_mode": "async", "storage": "memory"}, {"persist_mode": "async", "storage": "file"},
    {"persist_mode": "async", "storage": "file", "allow_batched": True}, {"compression": "s2", "storage": "memory"},
    {"compression": "s2", "storage": "file"}, {"allow_batched": True, "allow_atomic": True},
    {"allow_batched": True, "allow_msg_counter": True}, {"allow_batched": True, "allow_msg_schedules": True},
    {"allow_batched": True, "retention": "workqueue", "no_ack": True}, {"first_seq": 5, "max_msgs": 1},
    {"allow_atomic": True, "allow_msg_counter": True}, {"allow_msg_ttl": True, "allow_msg_schedules": True},
    {"allow_msg_counter": True, "allow_msg_schedules": True}, {"allow_msg_schedules": True, "discard": "new"},
    {"metadata": {"_nats.req.level": "9"}, "allow_batched": True}, {"allow_batched": True, "persist_mode": "async"},
    {"max_age": SECOND_NS, "duplicate_window": 2 * SECOND_NS}, {"max_age": SECOND_NS},
    {"discard": "new", "discard_new_per_subject": True}, {"deny_purge": True, "allow_rollup_hdrs": True},
    {"discard": "new", "discard_new_per_subject": True, "max_msgs_per_subject": 1},
    {"consumer_limits": {"max_ack_pending": 5}, "max_consumers": 1},
]


def _create(s: Session, **fields: Any) -> None:
    name = f"FIELD{len(s.lines)}"        # nats-server may find what it just deleted under a name that it had
    s.api(f"STREAM.CREATE.{name}", {"name": name, **({"storage": s.storage} | fields)})
    s.api(f"STREAM.INFO.{name}")
    s.api(f"STREAM.DELETE.{name}")


def created_with_each_field(s: Session) -> None:
    for field, values in FIELDS.items():
        for value in values:
            _create(s, **{field: value})
            _create(s, **{field: value, "pedantic": True})


def created_with_fields_together(s: Session) -> None:
    for fields in TOGETHER:
        _create(s, **fields)
        _create(s, **fields, pedantic=True)


def updated_in_each_field(s: Session) -> None:
    """Every value given to a stream that has it not, then taken back."""
    for field, values in FIELDS.items():
        for number, value in enumerate(values):
            if field == "republish" and value in NOWHERE:
                continue
            name = f"{field}-{number}"
            s.stream(name, subjects=["field.*"])
            s.publish("field.a", b"x")
            update(s, name, **{"subjects": ["field.*"], field: value})
            if field != "no_ack":
                s.publish("field.a", b"x")
            update(s, name, subjects=["field.*"])
            s.api(f"STREAM.DELETE.{name}")


def republished_to_nowhere(s: Session) -> None:
    """An update to a republish without a destination."""
    for number, value in enumerate(NOWHERE):
        s.stream(f"N{number}", subjects=[f"n{number}"])
        update(s, f"N{number}", subjects=[f"n{number}"], republish=value)


def compressed(s: Session) -> None:
    s.stream("S2", subjects=["s2.*"], compression="s2")
    for number in range(50):
        s.publish(f"s2.{number % 5}", b"the same again " * 50)
    s.api("STREAM.INFO.S2", {"subjects_filter": ">"})
    update(s, "S2", subjects=["s2.*"], compression="none")
    s.publish("s2.0", b"plain")
    update(s, "S2", subjects=["s2.*"], compression="s2")
    s.api("STREAM.MSG.GET.S2", {"seq": 7})
    s.api("STREAM.PURGE.S2", {"filter": "s2.1"})
    s.api("STREAM.INFO.S2")


def compressed_in_many_blocks(s: Session) -> None:
    """So many messages that blocks of both servers are sealed, and sizes are those of messages all the same."""
    s.stream("S2", subjects=["s2.*"], compression="s2", max_bytes=1 << 20)
    for number in range(900):
        s.publish(f"s2.{number % 5}", b'{"number": %d, "state": "open"}' % number * 15)
    s.api("STREAM.INFO.S2", {"subjects_filter": ">"})
    for seq in (1, 200, 450, 900):
        s.api("STREAM.MSG.GET.S2", {"seq": seq})
    s.api("STREAM.MSG.DELETE.S2", {"seq": 200})
    s.api("STREAM.MSG.GET.S2", {"seq": 200})
    s.api("STREAM.PURGE.S2", {"filter": "s2.1", "keep": 3})
    update(s, "S2", subjects=["s2.*"], compression="none", max_bytes=1 << 20)
    s.publish("s2.0", b"plain")
    s.api("STREAM.MSG.GET.S2", {"last_by_subj": "s2.2"})
    s.api("STREAM.INFO.S2", {"subjects_filter": ">"})


def persisted_at_leisure(s: Session) -> None:
    if s.storage == "memory":
        return
    s.stream("LAZY", subjects=["lazy"], persist_mode="async")
    s.publish("lazy", b"x", {"Nats-Msg-Id": "1"})
    s.publish("lazy", b"x", {"Nats-Msg-Id": "1"})
    update(s, "LAZY", subjects=["lazy"])
    update(s, "LAZY", subjects=["lazy"], persist_mode="default")
    update(s, "LAZY", subjects=["lazy"], persist_mode="async", description="d")
    update(s, "LAZY", subjects=["lazy"], persist_mode="async", allow_atomic=True)
    s.api("STREAM.MSG.GET.LAZY", {"seq": 1})
