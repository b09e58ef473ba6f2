"""The command as a whole: what happens around its subcommands."""

from __future__ import annotations

import gc

import pytest

from millpond.cli import main as command


def test_an_interrupt_while_it_loads_leaves_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "import_module", interrupted)
    for words in (["serve"], ["-p", "-1"], ["doctor", "memory"]):
        assert command.main(words) == 130


def test_the_collector_rests_while_a_server_loads_and_works_when_none_has_come_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worked = []

    class Refuses:
        @staticmethod
        def main(words: list[str], program: str) -> int:
            worked.append(gc.isenabled())
            return 1

    monkeypatch.setattr(command, "import_module", lambda name: Refuses)
    assert command.main(["serve"]) == 1
    assert worked == [False] and gc.isenabled()
