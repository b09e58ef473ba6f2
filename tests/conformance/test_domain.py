"""A JetStream domain: the API under the domain's name, and the domain in answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .target import Target
from .wire_client import Frame

pytestmark = pytest.mark.reference

CONSUMER = b'{"stream_name":"S","config":{"durable_name":"C","ack_policy":"explicit","mem_storage":true}}'
REQUESTS = [
    ("$JS.hub.API.STREAM.CREATE.S", b'{"name":"S","subjects":["s.>"],"storage":"memory","allow_direct":true}'),
    ("$JS.hub.API.CONSUMER.DURABLE.CREATE.S.C", CONSUMER),
    ("s.a", b"one"),
    ("$JS.hub.API.INFO", b""),
    ("$JS.API.INFO", b""),
    ("$JS.hub.API.STREAM.NAMES", b""),
    ("$JS.hub.API.CONSUMER.MSG.NEXT.S.C", b"1"),
    ("$JS.hub.API.CONSUMER.MSG.NEXT.S.NOBODY", b"1"),
    ("$JS.hub.API.DIRECT.GET.S.s.a", b""),
    ("$JS.hub.API.DIRECT.GET.NOTHING.s.a", b""),
    ("$JS.other.API.INFO", b""),
]
"""Without a responder, too: what the requester is told then is compared as well."""
VOLATILE = frozenset({"created", "ts", "first_ts", "last_ts", "max_memory", "max_storage"})


def shown(frame: Frame) -> tuple[str, str, str]:
    """Subject, status and body, without what differs from run to run."""
    subject = ".".join(frame.subject.split(".")[:2])
    try:
        body = json.loads(frame.payload)
    except ValueError:
        return subject, frame.status, frame.payload.decode()
    return subject, frame.status, json.dumps(without(body))


def without(value: object) -> object:
    if isinstance(value, dict):
        return {name: without(item) for name, item in value.items() if name not in VOLATILE}
    return [without(item) for item in value] if isinstance(value, list) else value


def answers(running: Target, file: Path, requests: list[tuple[str, bytes]]) -> list[tuple[str, str, str, str]]:
    target = Target(running.kind, flags=("-c", str(file))).start()
    try:
        with target.connect(no_responders=True) as client:
            frames = []
            for subject, body in requests:
                client.publish(subject, body, client.new_reply())
                frames.append(client.next_message(sid="1"))  # a pull is answered with the message's subject
        return [(asked, *shown(frame)) for (asked, _), frame in zip(requests, frames, strict=True)]
    finally:
        target.discard()


def test_same_answers_under_the_name_of_the_domain(pair: tuple[Target, Target], tmp_path: Path) -> None:
    file = tmp_path / "domain.conf"
    file.write_text("jetstream {domain: hub}\n")
    seen = [answers(running, file, REQUESTS) for running in pair]
    assert seen[0] == seen[1]
    assert [asked for asked, _, status, _ in seen[0] if status == "503"] == [
        "$JS.hub.API.CONSUMER.MSG.NEXT.S.NOBODY", "$JS.hub.API.DIRECT.GET.NOTHING.s.a", "$JS.other.API.INFO",
    ]  # fmt: skip


DEFAULT = """
jetstream { domain: hub }
accounts {
  J { jetstream: enabled, exports: [{service: "$JS.hub.API.>"}] }
  A { users: [{user: a, password: a}], imports: [{service: {account: J, subject: "$JS.hub.API.>"}}] }
}
no_auth_user: a
default_js_domain { A: hub }
"""
BY_DEFAULT = [
    ("$JS.API.INFO", b""),
    ("$JS.API.STREAM.CREATE.S", b'{"name":"S","subjects":["s.>"],"storage":"memory","allow_direct":true}'),
    ("$JS.API.STREAM.NAMES", b""),
    ("$JS.API.CONSUMER.DURABLE.CREATE.S.C", CONSUMER),
    ("$JS.API.CONSUMER.NAMES.S", b""),
    ("$JS.API.STREAM.INFO.NOTHING", b""),
]


def test_an_account_without_streams_means_the_default_domain(pair: tuple[Target, Target], tmp_path: Path) -> None:
    file = tmp_path / "default.conf"
    file.write_text(DEFAULT)
    seen = [answers(running, file, BY_DEFAULT) for running in pair]
    assert seen[0] == seen[1]
    assert '"name":"S"' in seen[0][1][3].replace(" ", "")
