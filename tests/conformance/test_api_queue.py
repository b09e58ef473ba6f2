"""Requests beyond the queue's limit are dropped, and the system account is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millpond.base import limits

from .conftest import running_pair
from .schema_rules import broken_rules
from .target import Target

pytestmark = pytest.mark.reference
CONFIG = """
jetstream { info_queue_limit: 1 }
system_account: SYS
accounts {
  SYS { users: [ { user: sys, password: x } ] }
  A { users: [ { user: a, password: x } ], jetstream: enabled }
}
"""
ADVISORY = "$JS.EVENT.ADVISORY.API.LIMIT_REACHED"


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Target, Target]]:
    path: Path = tmp_path_factory.mktemp("queue") / "queue.conf"
    path.write_text(CONFIG)
    with running_pair(request, ("-c", str(path))) as both:
        yield both


def advisory(target: Target) -> dict[str, Any]:
    """What is said when a request for information is dropped. nats-server drops the first one; here only those that
    take long wait, and the one that would be the second to wait is dropped with it."""
    with target.connect(user="sys", **{"pass": "x"}) as system, target.connect(user="a", **{"pass": "x"}) as client:
        sid = system.subscribe(ADVISORY)
        system.flush()
        body = json.dumps({"name": "Q", "subjects": ["q.*"], "storage": "memory"}).encode()
        client.request("$JS.API.STREAM.CREATE.Q", body)
        client.send(b"".join(b"PUB q.%d 0\r\n\r\n" % number for number in range(20 * limits.SUBJECTS_PER_STEP)))
        client.request("q.last", b"")
        client.send(b'PUB $JS.API.STREAM.INFO.Q in 23\r\n{"subjects_filter":">"}\r\n' * 3)
        frame = system.next_message(sid=sid)
        assert frame.subject == ADVISORY
        assert broken_rules([frame.payload]) == {"advisory/api_limit_reached": set()}
        found: dict[str, Any] = json.loads(frame.payload)
        return found


def test_the_same_advisory(pair: tuple[Target, Target]) -> None:
    theirs, ours = (advisory(target) for target in pair)
    assert list(theirs) == list(ours)
    for member in ("type", "server"):
        assert theirs[member] == ours[member]
    assert ours["dropped"] == 1
    assert theirs["dropped"] in (0, 1), "it counts before or after it has taken the waiting one out"
