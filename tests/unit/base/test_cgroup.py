"""Finding and reading memory groups, in all layouts, from texts and trees written for these tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from millpond.base import cgroup

V1_MOUNTS = """\
23 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
V1_CGROUP = "9:name=systemd:/\n4:memory:/kubepods/burstable/pod7/c1\n1:cpu,cpuacct:/other\n0::/\n"
V2_MOUNTS = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"

V1_STAT = """\
cache 999
rss 1
hierarchical_memory_limit 536870912
total_cache 30000000
total_rss 20000000
total_shmem 4096
total_mapped_file 12288
total_dirty 8192
total_inactive_file 25000000
total_active_file 4995904
"""
V2_STAT = """\
anon 20000000
file 30000000
kernel 7000000
kernel_stack 400000
pagetables 300000
percpu 1000
sock 65536
shmem 4096
file_mapped 12288
file_dirty 8192
inactive_anon 0
active_file 4995904
inactive_file 25000000
slab_reclaimable 6000000
slab_unreclaimable 250000
slab 6250000
"""


def test_mounts_that_can_hold_the_memory_controller() -> None:
    assert cgroup.parse_mounts(V1_MOUNTS) == [
        cgroup.Mount(1, "/", "/sys/fs/cgroup/memory"),
        cgroup.Mount(2, "/", "/sys/fs/cgroup/unified"),
    ]
    blanks = "9 1 0:5 / /mnt/my\\040groups rw - cgroup2 none rw\nnot a mount line\n\n"
    assert cgroup.parse_mounts(blanks) == [cgroup.Mount(2, "/", "/mnt/my groups")]


def test_paths_of_a_process() -> None:
    assert cgroup.parse_paths(V1_CGROUP) == {1: "/kubepods/burstable/pod7/c1", 2: "/"}
    assert cgroup.parse_paths("0::/user.slice/a:b.scope\n") == {2: "/user.slice/a:b.scope"}
    assert cgroup.parse_paths("12:cpu,memory:/x\n") == {1: "/x"}
    assert cgroup.parse_paths("9:name=systemd:/\ngarbage\n") == {}


@pytest.mark.parametrize(
    ("root", "path", "expected"),
    [
        ("/", "/kubepods/pod7/c1", ["/sys/mem/kubepods/pod7/c1"]),
        ("/", "/", ["/sys/mem"]),
        ("/kubepods/pod7/c1", "/kubepods/pod7/c1", ["/sys/mem"]),
        ("/kubepods/pod7/c1", "/kubepods/pod7/c1/child", ["/sys/mem/child"]),
        ("/kubepods/pod7", "/kubepods/pod77", ["/sys/mem/kubepods/pod77"]),
        ("/", "/../../neighbour", ["/neighbour"]),
    ],
)
def test_where_a_group_is_seen(root: str, path: str, expected: list[str]) -> None:
    places = cgroup.directories(
        [cgroup.Mount(1, root, "/sys/mem"), cgroup.Mount(2, "/", "/sys/two")], 1, path
    )
    if ".." in path:
        assert not any(place.startswith("/sys/mem") for place in places)
    else:
        assert places == expected


def test_v1_counts_the_total_values_and_the_lowest_limit() -> None:
    memory = cgroup.memory_v1(
        cgroup.parse_stat(V1_STAT), usage=57_000_000, limit=9223372036854771712, kernel=7_000_000, tcp=65536
    )
    assert memory.limit == 536870912
    assert memory.working_set == 32_000_000
    assert (memory.anon, memory.shmem, memory.active_file, memory.kernel) == (
        20_000_000,
        4096,
        4_995_904,
        7_000_000,
    )
    assert memory.named == 20_000_000 + 4096 + 4_995_904 + 7_000_000, "sockets are apart in v1"
    assert cgroup.estimated_slab(memory, threads=10, page_tables=300_000) == 7_000_000 - 163_840 - 300_000
    assert cgroup.estimated_slab(memory, threads=10_000, page_tables=0) == 0


def test_v2_names_the_kernel_parts() -> None:
    memory = cgroup.memory_v2(cgroup.parse_stat(V2_STAT), usage=57_000_000, limit=0)
    assert memory.working_set == 32_000_000
    assert (memory.kernel, memory.slab, memory.slab_reclaimable) == (7_000_000, 6_250_000, 6_000_000)
    assert memory.named == 20_000_000 + 4096 + 4_995_904 + 7_000_000 + 65536
    assert cgroup.estimated_slab(memory, threads=1, page_tables=1) == 6_250_000


def test_v2_before_the_kernel_line_existed() -> None:
    old = "\n".join(line for line in V2_STAT.splitlines() if not line.startswith(("kernel ", "slab ")))
    memory = cgroup.memory_v2(cgroup.parse_stat(old), usage=1, limit=0)
    assert memory.slab == 6_250_000
    assert memory.kernel == 6_250_000 + 400_000 + 300_000 + 1000


def test_the_working_set_is_never_negative() -> None:
    memory = cgroup.memory_v2({"inactive_file": 10}, usage=3, limit=0)
    assert memory.working_set == 0


def make_proc(tmp_path: Path, pid: str, lines: str, mounts: str) -> Path:
    proc = tmp_path / "proc"
    for who in {pid, "self"}:
        (proc / who).mkdir(parents=True, exist_ok=True)
    (proc / pid / "cgroup").write_text(lines)
    (proc / "self" / "mountinfo").write_text(mounts)
    return proc


def v2_tree(tmp_path: Path) -> Path:
    top = tmp_path / "cg"
    leaf = top / "kubepods" / "pod7" / "c1"
    leaf.mkdir(parents=True)
    for place, limit in ((leaf, "max"), (leaf.parent, "400000000"), (leaf.parent.parent, "800000000")):
        (place / "memory.max").write_text(limit + "\n")
        (place / "memory.current").write_text("57000000\n")
        (place / "memory.stat").write_text(V2_STAT)
        (place / "cgroup.procs").write_text("12\n13\n")
    return top


def test_a_v2_container_from_the_outside(tmp_path: Path) -> None:
    top = v2_tree(tmp_path)
    proc = make_proc(tmp_path, "12", "0::/kubepods/pod7/c1\n", f"30 23 0:26 / {top} rw - cgroup2 none rw\n")
    group = cgroup.group_of(12, proc)
    assert group == cgroup.MemoryGroup(2, str(top / "kubepods/pod7/c1"))
    memory = cgroup.read(group)
    assert (memory.usage, memory.limit) == (57_000_000, 400_000_000)
    assert cgroup.pids(group) == [12, 13]


def test_a_v2_group_without_memory_files_is_charged_above(tmp_path: Path) -> None:
    top = v2_tree(tmp_path)
    (top / "kubepods/pod7/c1/inner").mkdir()
    lines = "0::/kubepods/pod7/c1/inner\n"
    proc = make_proc(tmp_path, "12", lines, f"30 23 0:26 / {top} rw - cgroup2 none rw\n")
    assert cgroup.group_of(12, proc) == cgroup.MemoryGroup(2, str(top / "kubepods/pod7/c1"), exact=False)


def test_hybrid_uses_the_hierarchy_that_has_the_controller(tmp_path: Path) -> None:
    top = v2_tree(tmp_path)
    one = tmp_path / "one"
    (one / "svc").mkdir(parents=True)
    (one / "svc" / "memory.usage_in_bytes").write_text("1")
    mounts = f"30 23 0:26 / {top} rw - cgroup2 none rw\n31 23 0:27 / {one} rw - cgroup cgroup rw,memory\n"
    proc = make_proc(tmp_path, "12", "4:memory:/svc\n0::/kubepods/pod7/c1\n", mounts)
    assert cgroup.group_of(12, proc) == cgroup.MemoryGroup(1, str(one / "svc"))
    proc = make_proc(tmp_path, "13", "0::/kubepods/pod7/c1\n", mounts)
    assert cgroup.group_of(13, proc).version == 2


def test_v1_inside_a_container_without_a_namespace(tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.mkdir()
    for name, text in (
        ("memory.usage_in_bytes", "57000000\n"),
        ("memory.limit_in_bytes", "268435456\n"),
        ("memory.stat", V1_STAT),
    ):
        (one / name).write_text(text)
    mounts = f"31 23 0:27 /kubepods/pod7/c1 {one} ro - cgroup cgroup rw,memory\n"
    proc = make_proc(tmp_path, "1", "4:memory:/kubepods/pod7/c1\n", mounts)
    memory = cgroup.read(cgroup.group_of(1, proc))
    assert (memory.limit, memory.kernel, memory.sock) == (268_435_456, 0, 0), "kmem files may be missing"


def test_errors_say_what_is_wrong(tmp_path: Path) -> None:
    proc = make_proc(tmp_path, "12", "0::/gone\n", f"30 23 0:26 / {tmp_path}/none rw - cgroup2 none rw\n")
    with pytest.raises(cgroup.CgroupError, match="process 12 \\(/gone\\) cannot be seen from here"):
        cgroup.group_of(12, proc)
    with pytest.raises(ProcessLookupError, match="there is no process 99"):
        cgroup.group_of(99, proc)
    proc = make_proc(tmp_path, "14", "3:cpu:/x\n", "23 1 254:0 / / rw - ext4 /dev/vda rw\n")
    with pytest.raises(cgroup.CgroupError, match="neither cgroup v1"):
        cgroup.group_of(14, proc)
    with pytest.raises(cgroup.CgroupError, match="need Linux"):
        cgroup.group_of(14, tmp_path / "no-proc")
    with pytest.raises(cgroup.CgroupError, match="is not a directory"):
        cgroup.group_at(str(tmp_path / "nothing"))
    with pytest.raises(cgroup.CgroupError, match="is not a control group"):
        cgroup.group_at(str(tmp_path))
    (tmp_path / "cgroup.procs").write_text("")
    with pytest.raises(cgroup.CgroupError, match="without the memory controller"):
        cgroup.group_at(str(tmp_path))
    with pytest.raises(cgroup.CgroupError, match="is gone"):
        cgroup.read(cgroup.MemoryGroup(2, str(tmp_path / "nothing")))


@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
def test_own_group_on_this_machine() -> None:
    try:
        group = cgroup.group_of()
    except cgroup.CgroupError as error:
        pytest.skip(str(error))
    assert cgroup.group_of(os.getpid()) == group
    assert cgroup.group_at(group.directory).version == group.version
    assert cgroup.read(group).usage > 0
