"""What the door takes, deletes and purges, against the same requests when the API judges them (by a header)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_rig import Rig as Account
from hypothesis import given, settings
from hypothesis import strategies as st
from millpond.broker.sink import CallableSink

from millpond.base import limits

OTHER_WAY = b"NATS/1.0\r\nX: 1\r\n\r\n"


class Rig(Account):
    """Twin streams `quick` and `judged`, eight messages each."""

    def __init__(self, directory: Path, storage: str = "memory", **config: object) -> None:
        super().__init__(directory)
        for name in ("quick", "judged"):
            body = {"name": name, "subjects": [name + ".*"], "storage": storage, **config}
            self.request("STREAM.CREATE." + name, json.dumps(body).encode())
            for number in range(8):
                self.broker.router.publish(f"{name}.{number}".encode(), b"x", b"", b"")
        self.turns()

    def delete(self, body: bytes) -> tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]]:
        return (
            self.request("STREAM.MSG.DELETE.quick", body),
            self.request("STREAM.MSG.DELETE.judged", body, OTHER_WAY),
        )

    def purge(self, body: bytes) -> tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]]:
        """NAME in the body is the stream's."""
        return (
            self.request("STREAM.PURGE.quick", body.replace(b"NAME", b"quick")),
            self.request("STREAM.PURGE.judged", body.replace(b"NAME", b"judged"), OTHER_WAY),
        )

    def left(self, name: str) -> list[int]:
        return [seq for seq in range(1, 9) if self.engine.stream(name).get_message(seq) is not None]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.close()


TAKEN = [
    b'{"seq":3}', b'{"seq": 3}', b'{"seq":3,"no_erase":true}', b'{"seq": 3, "no_erase": true}',
    b'{"seq":3,"no_erase":false}', b'{ "seq":3}',
]  # fmt: skip
LEFT_TO_THE_API = [
    b'{"seq":9}', b'{"seq":0}', b'{"seq":03}', b'{"seq":-3}', b'{"seq":3.0}', b'{"seq":3}}', b'{"seq":3', b"", b"{}",
    b'{"seq":3,"no_erase":tru}', b'{"seq":3,"no_erase":true', b'{"seq":3,"no_erase":1}', b'{"no_erase":true,"seq":3}',
    b'{"seq":3,"x":1}', b'{"SEQ":3}', b'{"seq":18446744073709551619}', b'{"seq":3} ', b'{"seq":  3}', b'{"seq":"3"}',
]  # fmt: skip


@pytest.mark.parametrize(("body", "taken"), [(b, 1) for b in TAKEN] + [(b, 0) for b in LEFT_TO_THE_API])
def test_both_ways_answer_and_do_the_same(rig: Rig, body: bytes, taken: int) -> None:
    before = rig.api.total
    quick, judged = rig.delete(body)
    assert quick == judged and len(quick) == 1
    assert rig.left("quick") == rig.left("judged")
    assert (3 in rig.left("quick")) == (b'"success":true' not in quick[0][1])
    assert rig.api._removals.taken == taken
    assert rig.api.total == before + 2


@settings(deadline=None)
@given(st.lists(st.sampled_from([*(bytes([c]) for c in b'{}":, 0123456789seq'), b'"seq"', b'"no_erase"', b"true",
                                 b"false", b'{"seq":', b',"no_erase":']), max_size=12).map(b"".join))  # fmt: skip
def test_nothing_else_is_taken_for_a_delete(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    rig = Rig(tmp_path_factory.mktemp("store"))
    quick, judged = rig.delete(body)
    assert quick == judged
    assert rig.left("quick") == rig.left("judged")
    rig.close()


PURGES_TAKEN = [b'{"filter":"NAME.3"}', b'{"filter": "NAME.3"}', b'{"filter":"NAME.none"}', b'{"filter":"other"}',
                b'{ "filter":"NAME.3"}', b'{"filter":"NAME..3"}', b'{"filter":"."}', b'{"filter":"$JS.x"}']  # fmt: skip
PURGES_LEFT = [
    b"", b"{}", b'{"filter":""}', b'{"filter":"NAME.*"}', b'{"filter":">"}', b'{"filter":"NAME.two"}',
    b'{"filter":"NAME.3","keep":1}', b'{"filter":"NAME.3","seq":4}', b'{"keep":1,"filter":"NAME.3"}',
    b'{"filter":"NAME.3', b'{"filter":"NAME.3"', b'{"filter":3}', b'{"filter":"NAME.3"} ', b'{"filter":  "NAME.3"}',
    b'{"Filter":"NAME.3"}', b'{"filter":"NAME.\\u0033"}', b'{"filter":"NAME.\xc3\xa9"}', b'{"filter":"NAME 3"}',
    b'{"filter":null}',
]  # fmt: skip


@pytest.mark.parametrize(("body", "taken"), [(b, 1) for b in PURGES_TAKEN] + [(b, 0) for b in PURGES_LEFT])
def test_both_ways_answer_and_do_the_same_for_purges(rig: Rig, body: bytes, taken: int) -> None:
    for name in ("quick", "judged"):
        for _ in range(2):
            rig.broker.router.publish(name.encode() + b".two", b"x", b"", b"")
    rig.turns()
    before = rig.api.total
    quick, judged = rig.purge(body)
    assert quick == judged and len(quick) == 1
    assert rig.left("quick") == rig.left("judged")
    quick_state, judged_state = (rig.engine.stream(name).state() for name in ("quick", "judged"))
    assert {**quick_state, "bytes": 0} == {**judged_state, "bytes": 0}, "one name is shorter"
    assert rig.api._removals.taken == taken
    assert rig.api.total == before + 2


@settings(deadline=None)
@given(st.lists(st.sampled_from([*(bytes([c]) for c in b'{}":, .3*>\\'), b'"filter"', b'{"filter":', b"NAME", b'"}']),
                max_size=12).map(b"".join))  # fmt: skip
def test_nothing_else_is_taken_for_a_purge(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    rig = Rig(tmp_path_factory.mktemp("store"))
    quick, judged = rig.purge(body)
    found = [json.loads(answer) for ((_, answer),) in (quick, judged)]
    assert found[0]["purged"] == found[1]["purged"]
    assert found[0].get("error", {}).get("err_code") == found[1].get("error", {}).get("err_code")
    assert rig.left("quick") == rig.left("judged")
    rig.close()


def test_with_consumers_a_purge_is_the_apis(rig: Rig) -> None:
    """They are to hear of what is gone."""
    rig.request("CONSUMER.DURABLE.CREATE.quick.c", b'{"stream_name":"quick","config":{"durable_name":"c"}}')
    (answer,) = rig.request("STREAM.PURGE.quick", b'{"filter":"quick.3"}')
    assert json.loads(answer[1])["purged"] == 1 and rig.api._removals.taken == 0
    (info,) = rig.request("CONSUMER.INFO.quick.c")
    assert json.loads(info[1])["num_pending"] == 7


def test_a_purge_on_file_is_answered_when_it_is_there_for_ever(tmp_path: Path) -> None:
    rig = Rig(tmp_path, "file")
    rig.answers.clear()
    for filter in (b"quick.3", b"quick.3"):
        rig.broker.router.publish(b"$JS.API.STREAM.PURGE.quick", b'{"filter":"%s"}' % filter, b"re.1", b"")
    assert rig.answers == []
    rig.turns()
    assert [json.loads(body)["purged"] for _, body in rig.answers] == [1, 0]
    assert rig.api._removals.taken == 2
    rig.close()


@pytest.mark.parametrize("config", [{"deny_delete": True, "deny_purge": True}, {"sealed": True}])
def test_what_the_stream_forbids_is_refused(tmp_path: Path, config: dict[str, bool]) -> None:
    rig = Rig(tmp_path)
    for name in ("quick", "judged"):
        update = {"name": name, "subjects": [name + ".*"], "storage": "memory", **config}
        rig.request("STREAM.UPDATE." + name, json.dumps(update).encode())
    for quick, judged in (rig.delete(b'{"seq":3}'), rig.purge(b'{"filter":"NAME.3"}')):
        assert quick == judged and b'"error"' in quick[0][1]
    assert rig.left("quick") == list(range(1, 9)) and rig.api._removals.taken == 0
    rig.close()


def test_who_listens_to_the_audit_hears_of_it(rig: Rig) -> None:
    heard: list[bytes] = []
    audit = rig.broker.router.subscribe(
        b"$JS.EVENT.ADVISORY.API", CallableSink(lambda subject, reply, hdr, body, source: heard.append(body))
    )
    rig.request("STREAM.MSG.DELETE.quick", b'{"seq":3}')
    assert len(heard) == 1 and b"STREAM.MSG.DELETE.quick" in heard[0]
    rig.broker.router.unsubscribe(audit)
    rig.request("STREAM.MSG.DELETE.quick", b'{"seq":4}')
    assert len(heard) == 1 and rig.left("quick") == [1, 2, 5, 6, 7, 8]


def test_without_an_answer_wanted_it_is_deleted_too(rig: Rig) -> None:
    rig.broker.router.publish(b"$JS.API.STREAM.MSG.DELETE.quick", b'{"seq":3}', b"", b"")
    rig.turns()
    assert 3 not in rig.left("quick")


def test_on_file_the_answer_waits_for_the_commit(tmp_path: Path) -> None:
    rig = Rig(tmp_path, "file")
    stream = rig.engine.stream("quick")
    rig.answers.clear()
    rig.broker.router.publish(b"$JS.API.STREAM.MSG.DELETE.quick", b'{"seq":3}', b"re.1", b"")
    assert rig.answers == [] and stream.store.committed_position < stream.store.position
    rig.turns()
    assert [json.loads(body)["success"] for _, body in rig.answers] == [True]
    assert stream.store.committed_position == stream.store.position
    rig.close()


def test_a_stream_of_that_name_somewhere_else_is_not_meant(rig: Rig) -> None:
    (refused,) = rig.request("STREAM.MSG.DELETE.other", b'{"seq":3}')
    assert json.loads(refused[1])["error"]["err_code"] == 10059


def test_it_waits_for_a_purge_that_takes_turns(rig: Rig) -> None:
    for _ in range(limits.PURGE_STEP_MESSAGES + 1):
        rig.broker.router.publish(b"quick.0", b"x", b"", b"")
    rig.turns()
    rig.answers.clear()
    rig.broker.router.publish(b"$JS.API.STREAM.PURGE.quick", b"", b"re.purge", b"")
    rig.broker.router.publish(b"$JS.API.STREAM.MSG.DELETE.quick", b'{"seq":3}', b"re.delete", b"")
    rig.turns()
    purged, deleted = (json.loads(body) for _, body in rig.answers)
    assert purged["purged"] == limits.PURGE_STEP_MESSAGES + 9
    assert deleted["error"]["err_code"] == 10043 and rig.api._removals.taken == 0
