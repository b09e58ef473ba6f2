"""A message to very many leaves in shares, and whoever speaks to a few does not wait for it."""

from __future__ import annotations

import subprocess
import sys
import time

from millpond.broker.sink import CallableSink
from tests.unit.broker.session_rig import Wire, run

import millpond

CHILD = """
import asyncio
from millpond.base import limits
limits.TURN_FLUSH_NS_MAX = -1      # the time is up whenever it is looked at the clock
import millpond
from tests.unit.broker.session_rig import Wire, run

CROWD = 3 * limits.FLUSHES_PER_CLOCK_LOOK

async def scenario(server):
    crowd = [await Wire.open(server) for _ in range(CROWD)]
    for wire in crowd:
        await wire.say(b"SUB all 1\\r\\n")
    one = await Wire.open(server)
    await one.say(b"SUB one 1\\r\\n")
    turn, sessions = server.broker.turn, list(server.broker.sessions.values())

    def waiting():
        return sum(session.info(False).pending_bytes > 0 for session in sessions)

    # From here to the end no turn happens but those that are asked for.
    left = []
    server.broker.router.publish(b"all", b"first")
    left.append(waiting())
    assert turn.finish_now() == 1
    left.append(waiting())
    server.broker.router.publish(b"one", b"at once")
    server.broker.router.publish(b"all", b"second")
    assert waiting() == CROWD + 1
    turn.finish_now()
    assert not sessions[-1].info(False).pending_bytes, "it does not wait for the crowd"
    while turn.finish_now():
        left.append(waiting())
    assert waiting() == 0
    assert left[:2] == [CROWD, CROWD - limits.FLUSHES_PER_CLOCK_LOOK]
    assert all(before - after <= 2 * limits.FLUSHES_PER_CLOCK_LOOK for before, after in zip(left[2:], left[3:])), left
    for wire in crowd:
        got = await wire.say(b"")
        assert got == b"MSG all 1 5\\r\\nfirst\\r\\nMSG all 1 6\\r\\nsecond\\r\\n", got
    assert await one.say(b"") == b"MSG one 1 7\\r\\nat once\\r\\n"

run(scenario)
"""


def test_output_leaves_in_shares_and_in_order() -> None:
    subprocess.run([sys.executable, "-c", CHILD], check=True, timeout=60)


def test_the_clock_is_looked_at_after_work_for_the_control_plane() -> None:
    async def scenario(server: millpond.Server) -> None:
        turns: list[int] = []

        def slow(*parts: object) -> None:
            turns.append(server.broker.turn.turns)
            time.sleep(0.003)  # longer than the intake of a turn may take

        server.broker.router.subscribe(b"slow", CallableSink(slow))
        wire = await Wire.open(server)
        await wire.say(b"PUB slow 0\r\n\r\n" * 5)
        assert len(turns) == len(set(turns)) == 5, "each has had a turn to itself"

    run(scenario)
