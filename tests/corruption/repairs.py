"""Random damages, each followed by a repair: is the store sound then, and is everything there that could be read?

    python -m tests.corruption.repairs --cases 100 --seed 1
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

from millpond.cli import store_repair, store_survey

from .campaign import FAST, Campaign
from .damages import DAMAGES
from .rooms import Rooms
from .stores import Message, contents

SHOWN = 20


def readable(directory: Path) -> dict[str, dict[int, Message]]:
    """Every message that a start of a copy finds, by stream."""
    copy = directory.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(directory, copy)
    rooms = Rooms(copy)
    try:
        return {name: contents(stream.store) for name, stream in rooms.engine.streams.items()}
    finally:
        rooms.close()


class Repairs:
    """Cases of a campaign, repaired."""

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        self.repaired = self.sound = self.lost = 0
        self.wrong: list[str] = []

    def run(self, number: int) -> None:
        """One damage to one file of one stream's slot."""
        campaign = self._campaign
        rng = random.Random(campaign.seed * 7919 + number)
        kind, which = rng.choice([name for name in DAMAGES if name != "swapped"]), rng.randrange(len(campaign.names))
        base = campaign.case / "jetstream"
        slot = base / "$G" / "streams" / f"{which:04d}"
        shutil.rmtree(campaign.case, ignore_errors=True)
        shutil.copytree(campaign._slot("late", which), slot)
        (base / "lock").touch()
        path = rng.choice(sorted(slot.iterdir()))
        what = DAMAGES[kind](rng, path, campaign._slot("early", which), slot)
        if what:
            name = campaign.names[which]
            case = f"seed {campaign.seed}, case {number}: {name} {what}"
            self.wrong += [f"{case}: {text}" for text in self._judge(name)]

    def _judge(self, name: str) -> list[str]:
        case = self._campaign.case
        before = readable(case).get(name)
        found = store_survey.survey(case)
        wrong: list[str] = []
        report = store_repair.repair(case, None, set_aside=False)
        self.repaired += 1
        self.sound += not report.streams
        if before is None:
            return wrong if any(stream.outcome != store_repair.REPAIRED for stream in report.streams) else ["not told"]
        if not report.sound or not store_survey.survey(case).sound:
            wrong.append(f"it is not sound after the repair: {report}")
        again = store_repair.repair(case, case / "again", set_aside=False)
        if again.streams:
            wrong.append(f"a second repair finds {again.streams}")
        after = readable(case).get(name, {})
        lost = {seq for stream in report.streams for first, last in stream.lost for seq in range(first, last + 1)}
        if after != before:
            missing = sorted(set(before) - set(after))
            wrong.append(f"{missing} could be read before the repair, {sorted(set(after) - set(before))} could not")
        truth = self._campaign.truths[name]
        gone = truth.live - set(after)
        self.lost += len(gone)
        torn = any("torn" in line for stream in report.streams for line in stream.said)
        if gone - lost and not torn and not found.sound:
            wrong.append(f"{sorted(gone - lost)} are lost, and the report does not name them")
        return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    repaired = lost = 0
    wrong: list[str] = []
    for stop in (True, False):
        with tempfile.TemporaryDirectory(dir=FAST if FAST.is_dir() else None, prefix="millpond-repair-") as folder:
            repairs = Repairs(Campaign(Path(folder), options.seed, stop))
            for number in range(options.cases // 2):
                repairs.run(number)
            repaired, lost, wrong = repaired + repairs.repaired, lost + repairs.lost, wrong + repairs.wrong
    print("\n".join(wrong[:SHOWN]))
    print(f"{repaired} repairs, {lost} messages lost and named, {len(wrong)} violations")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
