"""Any JSON, and what is nearly JSON, as a request to the JetStream API of a whole server: it is answered or left
alone, nothing fails inside, and the connection lives on."""

from __future__ import annotations

import json
import logging
import random
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millpond.testing.plugin import NatsServer

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))

from checks import mutate

VERBS = (
    "INFO", "STREAM.CREATE.S", "STREAM.UPDATE.S", "STREAM.INFO.S", "STREAM.NAMES", "STREAM.LIST", "STREAM.PURGE.S",
    "STREAM.MSG.GET.S",
    "STREAM.MSG.DELETE.S", "STREAM.DELETE.S", "CONSUMER.CREATE.S", "CONSUMER.CREATE.S.c",
    "CONSUMER.DURABLE.CREATE.S.c", "CONSUMER.INFO.S.c",
    "CONSUMER.NAMES.S", "CONSUMER.LIST.S", "CONSUMER.MSG.NEXT.S.c", "CONSUMER.DELETE.S.c", "DIRECT.GET.S",
)  # fmt: skip
NUMBERS = st.sampled_from([0, 1, -1, 2**31, 2**32, 2**53, 2**63 - 1, -(2**63), 2**63, 2**64, 10**30, 0.5, -0.0, 1e308])
FIELDS = st.sampled_from([
    "name", "subjects", "max_msgs", "max_age", "storage", "num_replicas", "duplicate_window", "first_seq", "seq",
    "last_by_subj", "next_by_subj",
    "filter", "keep", "offset", "subject", "batch", "expires", "no_wait", "idle_heartbeat", "max_bytes", "config",
    "stream_name", "ack_wait",
    "backoff", "filter_subject", "filter_subjects", "deliver_policy", "opt_start_seq", "metadata", "sources",
    "mirror", "placement", "action",
    "multi_last", "up_to_seq", "start_time", "subjects_filter", "consumer_limits", "subject_transform", "republish",
    "max_deliver",
])  # fmt: skip
TEXTS = st.one_of(st.sampled_from(["S", "c", "s.>", "memory", "explicit", "", ".", "a..b", "../x", "\x00",
"\ud83d\ude00"]), st.text(max_size=8))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(FIELDS, inner, max_size=4)),
    max_leaves=8,
)
REQUESTS = st.dictionaries(FIELDS, VALUES, max_size=6)
SEEDS = [
    b'{"name":"S","subjects":["s.>"],"storage":"memory"}',
    b'{"stream_name":"S","config":{"durable_name":"c","ack_policy":"explicit"}}',
    b'{"seq":1}', b'{"batch":2,"expires":1000000,"no_wait":true}', b'{"filter":"s.a","keep":1}', b"5",
]  # fmt: skip


class Failures(logging.Handler):
    """Records of exceptions inside the server."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.texts.append(logging.Formatter().format(record))


class Asker:
    def __init__(self, port: int) -> None:
        self.failures = Failures()
        logging.getLogger("millpond").addHandler(self.failures)
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._file = self._socket.makefile("rb")
        self._file.readline()
        self._socket.sendall(b'CONNECT {"verbose":false,"headers":true}\r\nSUB answers 1\r\n')
        self.ask("STREAM.CREATE.S", SEEDS[0])

    def ask(self, verb: str, body: bytes) -> None:
        """Sends one request and waits until it was taken in."""
        frame = b"PUB $JS.API.%s answers %d\r\n%s\r\nPING\r\n" % (verb.encode(), len(body), body)
        self._socket.sendall(frame)
        while (line := self._file.readline()) != b"PONG\r\n":
            assert line, f"the server hung up on {verb} {body!r}"
            if line.startswith((b"MSG ", b"HMSG ")):
                answer = self._file.read(int(line.split()[-1]) + 2)
                if line.startswith(b"MSG ") and answer[:1] == b"{":
                    json.loads(answer)
        assert not self.failures.texts, f"{verb} {body!r}\n{self.failures.texts[0]}"

    def close(self) -> None:
        logging.getLogger("millpond").removeHandler(self.failures)
        self._socket.close()


@pytest.fixture(scope="module")
def asker() -> Iterator[Asker]:
    server = NatsServer(jetstream=True)
    asker = Asker(server.port)
    yield asker
    asker.close()
    server.shutdown()


@settings(deadline=None, max_examples=200)
@given(verb=st.sampled_from(VERBS), request=REQUESTS)
def test_any_json(asker: Asker, verb: str, request: dict[str, Any]) -> None:
    asker.ask(verb, json.dumps(request).encode())


@settings(deadline=None, max_examples=200)
@given(verb=st.sampled_from(VERBS), rng=st.randoms(use_true_random=False))
def test_nearly_json(asker: Asker, verb: str, rng: random.Random) -> None:
    asker.ask(verb, mutate(rng, SEEDS))
