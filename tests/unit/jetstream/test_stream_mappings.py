"""Rewritten subjects and republished copies: what is stored, and when a copy leaves."""

from __future__ import annotations

from typing import Any

from millpond.broker.sink import CallableSink
from millpond.testing.model_store import finish
from stream_rig import Rig

from millpond.jetstream.stream_config import Republish, SubjectTransform


class Listener:
    """`copies` holds (subject, header block, body) of what was republished."""

    def __init__(self, rig: Rig) -> None:
        self.copies: list[tuple[bytes, bytes, bytes]] = []
        rig.router.subscribe(b"copy.>", CallableSink(self._take))

    def _take(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: Any) -> None:
        self.copies.append((subject, hdr, body))


def test_what_is_judged_and_stored_is_the_new_subject() -> None:
    rig = Rig(subject_transform=SubjectTransform("s.*", "new.$1"), max_msgs_per_subject=1)
    rig.publish(b"s.a", b"1")
    assert b'"err_code":10071' in rig.publish(b"s.a", b"2", Nats_Expected_Last_Subject_Sequence="0")
    rig.publish(b"s.a", b"2", Nats_Expected_Last_Subject_Sequence="1")
    assert [row[:2] for row in rig.store.rows] == [(2, b"new.a")]


def test_copies_leave_when_their_message_is_committed_and_before_its_answer() -> None:
    rig = Rig(republish=Republish("s.*", "copy.$1"), max_msgs_per_subject=1)
    listener = Listener(rig)
    rig.send(b"s.a", b"1")
    rig.send(b"s.a", b"2", A="b")
    finish(rig.turn)
    assert listener.copies == []
    rig.store.commit_now()
    (subject, hdr, body), (_, later, _) = listener.copies
    assert (subject, body) == (b"copy.a", b"1")
    assert hdr == (
        b"NATS/1.0\r\nNats-Stream: S\r\nNats-Subject: s.a\r\nNats-Sequence: 1\r\n"
        b"Nats-Time-Stamp: 2023-11-14T22:13:20Z\r\nNats-Last-Sequence: 0\r\n\r\n"
    )
    assert later.startswith(b"NATS/1.0\r\nA: b\r\nNats-Stream: S\r\n")
    assert later.endswith(b"Nats-Last-Sequence: 1\r\n\r\n")
    assert len(rig.replies) == 2


def test_only_headers_and_only_what_is_meant() -> None:
    rig = Rig(republish=Republish("s.a", "copy.it", headers_only=True))
    listener = Listener(rig)
    rig.publish(b"s.a", b"four")
    rig.publish(b"s.b", b"four")
    ((_, hdr, body),) = listener.copies
    assert body == b""
    assert hdr.endswith(b"Nats-Last-Sequence: 0\r\nNats-Msg-Size: 4\r\n\r\n")


def test_what_did_not_become_durable_is_not_republished() -> None:
    rig = Rig(republish=Republish("s.*", "copy.$1"))
    listener = Listener(rig)
    rig.send(b"s.a", b"1")
    rig.store.fail("gone")
    finish(rig.turn)
    rig.store.commit_now()
    assert listener.copies == []
    assert b'"err_code":10047' in rig.replies[0][2]


def test_a_new_configuration_takes_over() -> None:
    rig = Rig(republish=Republish("s.*", "copy.$1"), subject_transform=SubjectTransform("s.*", "new.$1"))
    listener = Listener(rig)
    rig.publish(b"s.a")
    assert listener.copies == [], "the copy's source is the subject as stored"
    rig.stream.update(rig.config(republish=Republish("s.*", "copy.other.$1")))
    rig.publish(b"s.a")
    assert [subject for subject, _, _ in listener.copies] == [b"copy.other.a"]
    rig.stream.update(rig.config())
    rig.publish(b"s.a")
    assert len(listener.copies) == 1
