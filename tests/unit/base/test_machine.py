"""What the machine has to give."""

from __future__ import annotations

from pathlib import Path

from millpond.base import machine


def test_what_a_directory_holds_is_counted_in_blocks(tmp_path: Path) -> None:
    assert machine.disk_held_bytes(str(tmp_path / "missing")) == 0
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "one").write_bytes(bytes(10_000))
    (tmp_path / "two").write_bytes(b"x" * 5000)
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(1 << 30)
    held = machine.disk_held_bytes(str(tmp_path))
    assert 15_000 <= held < 1 << 20
    assert machine.disk_free_bytes(str(tmp_path / "missing" / "too")) > 0
