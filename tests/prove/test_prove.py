"""What proves things is proved itself: the power cut cuts, the comparison sees what is missing, failures count."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

import millpond

from . import ours
from .disks import PowerDisk, why_not
from .load import Acked, Publisher, asked, compare, create, payload
from .plan import parts
from .servers import OURS
from .side_by_side import Sums, power_cuts
from .table import Row, failed, table


def quiet(text: str) -> None:
    assert text


def test_a_power_cut_takes_what_was_not_synced(tmp_path: Path) -> None:
    if why := why_not():
        pytest.skip(why)
    with PowerDisk(tmp_path / "disk") as disk:
        kept, lost = disk.mounted / "kept", disk.mounted / "lost"
        with kept.open("wb") as file:
            file.write(b"synced")
            file.flush()
            os.fsync(file.fileno())
        lost.write_bytes(b"written")
        disk.cut()
        with pytest.raises(OSError):
            kept.write_bytes(b"after")
        disk.power_on()
        assert kept.read_bytes() == b"synced"
        assert not lost.exists() or lost.read_bytes() == b""


def test_millpond_survives_one(tmp_path: Path) -> None:
    row = power_cuts(OURS, 0.1, 1, quiet)
    if not row.ran:
        pytest.skip(row.notes)
    assert (row.injected, row.violations, failed([row])) == (1, 0, 0)


async def _compared(acked: Acked, tmp_path: Path, change: int) -> Sums:
    sums = Sums("", OURS)
    async with millpond.Server(store_dir=str(tmp_path)) as server:
        await create(server.port)
        publisher = Publisher(acked)
        task = asyncio.ensure_future(publisher.run(server.port))
        while len(acked.by_seq) < 500:
            await asyncio.sleep(0.001)
        publisher.stop.set()
        await task
        while len(acked.by_seq) < acked.sent:
            await publisher.wire.flush()
        if change == 1:
            assert (await asked(publisher.wire, "STREAM.MSG.DELETE.P", {"seq": 100}))["success"]
        elif change == 2:
            acked.by_seq[100], acked.by_seq[101] = acked.by_seq[101], acked.by_seq[100]
        elif change == 3:
            acked.by_seq[max(acked.by_seq) + 1] = 0
        elif change == 4:
            assert (await asked(publisher.wire, "STREAM.DELETE.P"))["success"]
        publisher.wire.close()
        sums.add(await compare(server.port, acked))
    return sums


@pytest.mark.parametrize(
    ("change", "expected"), [(0, (0, 0, 0, 0)), (1, (1, 0, 0, 0)), (2, (0, 2, 0, 0)), (3, (1, 0, 1, 0))]
)
def test_the_comparison_sees_it(tmp_path: Path, change: int, expected: tuple[int, int, int, int]) -> None:
    sums = asyncio.run(_compared(Acked(), tmp_path, change))
    assert (sums.lost, sums.wrong, sums.again, sums.gone) == expected
    assert (sums.cases, sums.untold) == (1, expected[0])
    assert bool(failed([sums.row(1.0)])) == (change > 0)


def test_a_stream_that_is_gone(tmp_path: Path) -> None:
    sums = asyncio.run(_compared(Acked(), tmp_path, 4))
    assert (sums.gone, sums.lost) == (1, sums.acked)


def test_every_byte_of_a_payload_follows_from_its_number() -> None:
    assert payload(41) == b"%016d" % 41 * 2
    assert len({payload(number) for number in range(100)}) == 100


def test_a_campaign_that_fails_is_a_violation(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def campaign(code: int, said: str) -> ours.Campaign:
        script = f"print({said!r}); raise SystemExit({code})"
        return ours.Campaign("x", lambda seed: ours.Slice([sys.executable, "-c", script], {}, 7), r"(\d+) kills", "")

    for code, said, expected in ((0, "3 kills", (3, 0)), (1, "3 kills", (3, 1)), (0, "", (7, 0))):
        monkeypatch.setitem(ours.CAMPAIGNS, "x", campaign(code, said))
        row = ours.run("x", 0.0, 1, quiet)
        assert (row.injected, row.violations) == expected
        assert failed([row]) == expected[1]
    monkeypatch.setitem(ours.CAMPAIGNS, "x", campaign(0, "1 skipped"))
    assert not ours.run("x", 0.0, 1, quiet).ran
    assert "raise SystemExit(1)" in capfd.readouterr().out, "what failed is shown"


@pytest.mark.parametrize("name", sorted(ours.CAMPAIGNS))
def test_what_is_called_is_there(name: str) -> None:
    """A test that was renamed would be no test: pytest ends with 5 then, but only in the middle of a long run."""
    command = ours.CAMPAIGNS[name].slice_of(1).command
    if "pytest" not in command:
        module = Path(*command[command.index("-m") + 1].split(".")).with_suffix(".py")
        assert (ours.ROOT / module).exists()
        return
    (path,) = [word for word in command if word.endswith(".py")]
    text = (ours.ROOT / path).read_text()
    named = command[command.index("-k") + 1].split()[0] if "-k" in command else "test_"
    assert re.search(rf"def {named}\w*\(", text)


def test_the_plan_and_the_table() -> None:
    found = parts()
    assert {"simulated", "kill", "cut", "flip", "disk", "syscalls", "faults"} <= {part.name for part in found}
    rows = [Row("kill -9", "Millpond", 3, 0, 1.0, "fine"), Row("kill -9", "nats-server", 3, 5, 1.0, counts=False)]
    assert failed(rows) == 0
    assert failed([*rows, rows[0]._replace(violations=2)]) == 2
    lines = table([*rows, Row("x", "Millpond", 0, 0, 0.0, "not here", ran=False)]).splitlines()
    assert len(lines) == 4 and lines[1].split() == ["kill", "-9", "Millpond", "3", "0", "1", "fine"]
    assert lines[3].split() == ["x", "Millpond", "-", "-", "0", "not", "here"]
