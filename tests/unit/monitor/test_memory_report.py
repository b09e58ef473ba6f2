"""The memory report adds up, and survives the way through /varz."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from millpond.base import cgroup
from millpond.base.budget import Budgets
from millpond.monitor import memory_report

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@linux
def test_report_on_this_process(tmp_path: Path) -> None:
    (tmp_path / "1.blk").write_bytes(b"x" * 65536)
    budgets = Budgets(64 << 20)
    budgets.named("read_cache", 4 << 20).charge(1000)
    seen = memory_report.report(data_dir=str(tmp_path), budgets=budgets)
    assert seen.pid == os.getpid()
    assert seen.rss >= seen.anon > 1 << 20
    assert seen.page_cache_own == 65536
    assert seen.budgets == {"read_cache": memory_report.BudgetUse(1000, 4 << 20)}
    assert seen.budgets_used == 1000
    if seen.group:
        assert seen.working_set == max(0, seen.cgroup_current - seen.inactive_file)
        parts = seen.anon + seen.shmem + seen.active_file + seen.kernel
        parts += seen.sock if seen.group_version == 2 else 0
        assert seen.unexplained == max(0, seen.working_set - parts)
        by_pid = memory_report.report(pid=os.getpid())
        assert by_pid.group == seen.group


@linux
def test_report_on_a_group() -> None:
    try:
        group = cgroup.group_of()
    except cgroup.CgroupError as error:
        pytest.skip(str(error))
    seen = memory_report.report(cgroup=group.directory)
    assert (seen.pid, seen.group) == (0, group.directory)
    assert seen.anon == seen.anon_group
    assert seen.rss > 0, "this process is in it"


@linux
def test_a_process_whose_group_cannot_be_read_still_has_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int | None) -> cgroup.MemoryGroup:
        raise cgroup.CgroupError("no memory controller here")

    monkeypatch.setattr(cgroup, "group_of", refuse)
    seen = memory_report.report()
    assert seen.note == "no memory controller here"
    assert seen.working_set == seen.rss > 0


def test_errors() -> None:
    with pytest.raises(ProcessLookupError):
        memory_report.report(pid=2**22 + 1)
    with pytest.raises(cgroup.CgroupError):
        memory_report.report(cgroup="/no/such/group")


@linux
def test_varz_object_is_plain_numbers_and_comes_back() -> None:
    budgets = Budgets(9999)
    budgets.named("read_cache", 4096).charge(10)
    budgets.named("subjects").charge(7)
    values = memory_report.varz_object(budgets)
    assert all(type(value) is int for value in values.values())
    assert (values["budget"], values["used"]) == (9999, 17)
    assert (values["used_by_read_cache"], values["budget_read_cache"]) == (10, 4096)
    back = memory_report.from_varz({**values, "something_newer": "text"})
    assert back.budgets == {
        "read_cache": memory_report.BudgetUse(10, 4096),
        "subjects": memory_report.BudgetUse(7, 0),
    }
    assert (back.rss, back.working_set, back.kernel) == (
        values["rss"],
        values["working_set"],
        values["kernel"],
    )


def test_slope_of_a_line_is_exact() -> None:
    slope, error = memory_report.slope_per_hour([(t, 5000.0 + 10 * t) for t in range(20)])
    assert slope == pytest.approx(36_000)
    assert error == pytest.approx(0, abs=1e-6)


def test_slope_of_noise_is_within_its_error() -> None:
    noise = [3.0, -1, 4, -1, 5, -9, 2, -6, 5, 3, -5, 8, -9, 7, -9, 3]
    slope, error = memory_report.slope_per_hour(list(enumerate(noise)))
    assert abs(slope) < 3 * error


def test_slope_of_too_little_is_unknown() -> None:
    assert memory_report.slope_per_hour([]) == (0.0, float("inf"))
    assert memory_report.slope_per_hour([(1, 5)]) == (0.0, float("inf"))
    assert memory_report.slope_per_hour([(1, 5), (1, 7)]) == (0.0, float("inf"))
    slope, error = memory_report.slope_per_hour([(0, 0), (1, 1)])
    assert (slope, error) == (3600, float("inf"))
