"""The server's scrubbing: stream after stream, within its share of the time, and only where it is wanted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import nats
import pytest
from millpond.store.scan import scan_segment

import millpond
from millpond.base import limits
from millpond.config.options import JetStreamOptions
from millpond.server import scrubber


class Timer:
    def __init__(self, delay_s: float) -> None:
        self.delay_s, self.cancelled = delay_s, False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """Time stands still; timers are kept, not run."""

    def __init__(self) -> None:
        self.timers: list[Timer] = []
        self.now_s = 0.0

    def time(self) -> float:
        return self.now_s

    def call_later(self, delay_s: float, callback: object) -> Timer:
        self.timers.append(Timer(delay_s))
        return self.timers[-1]


def test_it_rests_in_proportion() -> None:
    loop = Loop()
    made = scrubber.Scrubber(loop, list, lambda: True)  # type: ignore[arg-type]
    assert [timer.delay_s for timer in loop.timers] == [limits.SCRUB_FIRST_S]
    made.step()
    assert loop.timers[-1].delay_s == limits.SCRUB_FIRST_S, "no streams: it looks again"
    made._began_s, loop.now_s = 1.0, 1.5
    made._rest(1000)
    assert loop.timers[-1].delay_s == pytest.approx(0.5 * 99)
    made._rest(400 * limits.SCRUB_BYTES_PER_S)
    assert loop.timers[-1].delay_s == pytest.approx(400)
    made.close()
    assert all(timer.cancelled for timer in loop.timers)


@pytest.mark.parametrize("wanted", [True, False])
def test_a_server_finds_what_nobody_reads(tmp_path: Path, wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SCRUB_STEP_LEAST_S", 0.001)
    monkeypatch.setattr(limits, "SCRUB_SHARE_OF", 1)
    monkeypatch.setattr(limits, "SCRUB_BYTES_PER_S", 1 << 40)
    found = asyncio.run(_run(tmp_path, wanted))
    assert found == ([17] if wanted else [])


async def _run(directory: Path, wanted: bool) -> list[int]:
    options = JetStreamOptions(store_dir=str(directory), scrub=wanted)
    async with millpond.Server(jetstream=options, store_dir=str(directory)) as server:
        nc = await nats.connect(server.client_url)
        js = nc.jetstream()
        await js.add_stream(name="S", subjects=["s"])
        for number in range(300):
            await js.publish("s", b"%03d" % number * 300)
        await js.add_stream(name="OTHER", subjects=["o"])
        (path,) = directory.glob("jetstream/$G/streams/0000/log.0000")
        (record,) = [record for record in scan_segment(path).records if record.seq == 17]
        with path.open("r+b") as file:
            file.seek(record.offset + 100)
            file.write(b"\xff\xfe")
        store = server._jetstream.engines[0].streams["S"].store
        made = server._jetstream._scrubber
        made.step()
        while not made.rounds and wanted:
            await asyncio.sleep(0)                 # its timers are due at once
        await nc.close()
        return list(store.losses.sequences(10))

