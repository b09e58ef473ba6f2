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
        assert command.main(words) == 130 and gc.isenabled()
