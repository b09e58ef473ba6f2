"""Snapshots and restores: both servers answer the same, and each restores what the other has backed up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from . import scenarios_backups as backups
from .backups import give, messages, take
from .compare import clean
from .target import Target
from .wire_client import Client

SCENARIOS = [
    backups.snapshot_requests, backups.snapshots, backups.snapshot_in_chunks, backups.snapshot_advisories,
    backups.restore_requests, backups.round_trip, backups.restored_elsewhere, backups.broken_archives,
]
SLOW = [backups.nobody_acknowledges, backups.nobody_listens]
"""They wait for as long as the servers do."""
pytestmark = pytest.mark.reference


@pytest.mark.parametrize("storage", ["memory", "file"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_same_answers(compare, scenario, storage):
    compare(scenario, storage)


@pytest.mark.parametrize("scenario", SLOW, ids=lambda scenario: scenario.__name__)
def test_same_ends(compare, scenario):
    compare(scenario, "memory")


OLDER = Path(__file__).parents[1] / "data" / "backups"


@pytest.mark.parametrize("version", ["2.10.26", "2.14.6"])
def test_a_backup_of_an_older_server_is_restored_as_there(pair: tuple[Target, Target], version: str):
    document = json.loads((OLDER / f"{version}.json").read_text())
    archive = (OLDER / f"{version}.tar.s2").read_bytes()
    found = []
    for target in pair:
        clean(target)
        with target.connect() as client:
            result = give(client, "OLD", document["config"], archive, chunk_bytes=700, state=document["state"])
            assert "error" not in result, result
            assert (result["state"]["messages"], result["state"]["last_seq"]) == (33, 49)
            assert result["state"]["consumer_count"] == 3
            rows = described(client, "OLD")
            for row in rows[-3:]:                  # 2.10 wrote neither; we always show both
                row["config"].pop("name", None)
                row["config"]["metadata"].pop("_nats.req.level", None)
                if not row["delivered"]["consumer_seq"]:
                    row.pop("ack_floor")           # ours is never below the stream's first message
            found.append([result["created"], *rows])
            client.request("$JS.API.STREAM.DELETE.OLD")
    assert found[0] == found[1]


def ask(client: Client, verb: str, body: Any = None) -> Any:
    return json.loads(client.request(f"$JS.API.{verb}", json.dumps(body).encode() if body else b"").payload)


def described(client: Client, stream: str) -> list[Any]:
    """All that can be known of a stream from outside, but for the clocks of its creation."""
    info = ask(client, f"STREAM.INFO.{stream}", {"deleted_details": True, "subjects_filter": ">"})
    found = [info["config"], info["state"]]
    for seq in range(info["state"]["first_seq"], info["state"]["last_seq"] + 1):
        found.append(ask(client, f"STREAM.MSG.GET.{stream}", {"seq": seq}))
    for name in ask(client, f"CONSUMER.NAMES.{stream}")["consumers"] or []:
        consumer = ask(client, f"CONSUMER.INFO.{stream}.{name}")
        for position in ("delivered", "ack_floor"):
            consumer[position].pop("last_active", None)
        found.append({key: value for key, value in consumer.items() if key not in ("created", "ts", "cluster")})
    return found


def fill(client: Client, storage: str) -> None:
    """A stream of 300 messages with gaps everywhere, and consumers that have got somewhere."""
    config = {"name": "MOVE", "subjects": ["move.>"], "storage": storage, "metadata": {"a": "b"}, "first_seq": 50}
    assert "error" not in ask(client, "STREAM.CREATE.MOVE", config)
    for number in range(300):
        headers = {"Number": str(number)} if number % 5 == 0 else None
        client.request(f"move.{number % 7}", b"%d " % number * (number % 50), headers)
    for seq in (50, 51, 60, 61, 62, 200, 348, 349):
        assert ask(client, "STREAM.MSG.DELETE.MOVE", {"seq": seq})["success"]
    for name, more in (
        ("explicit", {"ack_policy": "explicit", "max_deliver": 3}), ("all", {"ack_policy": "all"}),
        ("none", {"ack_policy": "none", "filter_subject": "move.1"}), ("untouched", {"ack_policy": "explicit"}),
    ):
        config = {"durable_name": name, "ack_wait": 3600 * 10**9, **more}
        ask(client, f"CONSUMER.DURABLE.CREATE.MOVE.{name}", {"stream_name": "MOVE", "config": config})
    pulled = {name: pull(client, name, 20) for name in ("explicit", "all", "none")}
    for number in (0, 1, 5, 6, 19):
        client.request(pulled["explicit"][number], b"+ACK")
    client.publish(pulled["explicit"][3], b"-NAK")
    pull(client, "explicit", 1)
    client.request(pulled["all"][9], b"+ACK")


def pull(client: Client, consumer: str, count: int) -> list[str]:
    """Where the acknowledgements of the next messages go."""
    reply = client.new_reply()
    client.publish(f"$JS.API.CONSUMER.MSG.NEXT.MOVE.{consumer}", json.dumps({"batch": count}).encode(), reply)
    return [client.next_message(sid="1").reply for _ in range(count)]


@pytest.mark.parametrize("storage", ["memory", "file"])
@pytest.mark.parametrize("back", [False, True], ids=["theirs-to-ours", "ours-to-theirs"])
def test_a_backup_of_the_one_is_restored_by_the_other(pair: tuple[Target, Target], storage: str, back: bool):
    source, destination = reversed(pair) if back else pair
    clean(source)
    clean(destination)
    with source.connect() as giver, destination.connect() as taker:
        fill(giver, storage)
        snapshot = take(giver, "MOVE", chunk_size=2000, window_size=4000)
        result = give(taker, "MOVE", snapshot.answer["config"], snapshot.archive, chunk_bytes=3000)
        assert "error" not in result, result
        expected = described(giver, "MOVE")
        # The last message is gone: a restore knows only the time of the last one that is there.
        last_live = next(found["message"] for found in reversed(expected[2:302]) if "message" in found)
        expected[1]["last_ts"] = last_live["time"]
        assert described(taker, "MOVE") == expected
        again = take(taker, "MOVE")
        assert messages(again.archive)[5:] == messages(snapshot.archive)[5:]
        first = pull(taker, "explicit", 1)
        assert first[0].split(".")[-4] == pull(giver, "explicit", 1)[0].split(".")[-4]


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_what_was_restored_survives_a_restart(pair: tuple[Target, Target], kill: bool):
    reference, ours = pair
    clean(reference)
    clean(ours)
    with reference.connect() as giver, ours.connect() as taker:
        fill(giver, "file")
        snapshot = take(giver, "MOVE")
        assert "error" not in give(taker, "MOVE", snapshot.answer["config"], snapshot.archive)
        expected = described(taker, "MOVE")
    ours.restart(kill=kill)
    with ours.connect() as taker:
        assert described(taker, "MOVE") == expected
