"""Memory control groups: which one a process is in, and what the kernel charges to it.

A container's memory is not its processes' memory: the kernel charges a *group* with the anonymous pages
of its processes, with the file pages that they touched first, and with kernel objects made on their
behalf. This module finds the group and reads the charges. It writes nothing.

Three layouts are met in the wild, and all are read here:

    v1       a `memory` controller line in /proc/PID/cgroup; memory.usage_in_bytes, memory.stat (total_*)
    v2       one unified line `0::/path`; memory.current, memory.stat
    hybrid   both; the memory controller lives in one of them only, and a v1 line wins

A container sees the hierarchy through a mount whose root may be its own group (v1 without a cgroup
namespace: path `/kubepods/pod7/abc` under a mount with the root `/kubepods/pod7/abc`), or through a
namespace (path `/`). In v2 a group has memory files only where the parent enables the controller: the
nearest ancestor that has them is the group that is charged.

The working set is what cAdvisor computes and the kubelet evicts by: usage less inactive_file, not below 0.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from millpond.base.errors import MillpondError

PROC: Final = Path("/proc")
UNLIMITED_FROM: Final = 1 << 60
"""v1 writes "no limit" as the largest page-aligned number; no machine has an exbibyte."""
KERNEL_STACK_BYTES: Final = 16 * 1024
"""One kernel stack on x86-64 and arm64: what a thread costs its group besides its page tables."""


class CgroupError(MillpondError):
    """A memory control group that cannot be found or read; the text says why."""


class Mount(msgspec.Struct, frozen=True):
    """One cgroup file system: which part of the hierarchy (`root`) is seen at which directory."""

    version: int
    root: str
    directory: str


class MemoryGroup(msgspec.Struct, frozen=True):
    """A directory with memory files; not `exact`: that of an ancestor of the process' own group."""

    version: int
    directory: str
    exact: bool = True


class GroupMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What a group is charged with, in bytes. 0 where the kernel does not say."""

    version: int
    usage: int
    limit: int
    """The lowest limit on the way up that can be seen; 0: none."""
    anon: int
    """Anonymous pages of all processes in the group: heaps, stacks, and the like."""
    shmem: int
    """tmpfs and shared memory: counted like anonymous pages, though it looks like files."""
    active_file: int
    inactive_file: int
    mapped_file: int
    dirty_file: int
    kernel: int
    """All kernel memory: slab, stacks, page tables, per-CPU data."""
    slab: int
    """Kernel objects: dentries, inodes, ... v1 does not say (0), see `estimated_slab`."""
    slab_reclaimable: int
    sock: int
    """Socket buffers. Part of `usage` in v2, counted apart in v1."""

    @property
    def working_set(self) -> int:
        """What Kubernetes shows and evicts by."""
        return max(0, self.usage - self.inactive_file)

    @property
    def named(self) -> int:
        """The part of the working set that some other field explains."""
        sock = self.sock if self.version == 2 else 0
        return self.anon + self.shmem + self.active_file + self.kernel + sock


def parse_mounts(mountinfo: str) -> list[Mount]:
    """The mounts of /proc/PID/mountinfo that can hold a memory controller, in their order."""
    found = []
    for line in mountinfo.splitlines():
        left, dash, right = line.partition(" - ")
        fields, kinds = left.split(), right.split()
        if not dash or len(fields) < 5 or not kinds:
            continue
        if kinds[0] == "cgroup2":
            found.append(Mount(2, _unescaped(fields[3]), _unescaped(fields[4])))
        elif kinds[0] == "cgroup" and len(kinds) > 2 and "memory" in kinds[2].split(","):
            found.append(Mount(1, _unescaped(fields[3]), _unescaped(fields[4])))
    return found


def parse_paths(cgroup: str) -> dict[int, str]:
    """`{1: path, 2: path}` of the memory controller and of the unified hierarchy in /proc/PID/cgroup."""
    paths: dict[int, str] = {}
    for line in cgroup.splitlines():
        number, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if not colon:
            continue
        if "memory" in controllers.split(","):
            paths[1] = path
        elif number == "0" and controllers == "":
            paths[2] = path
    return paths


def parse_stat(text: str) -> dict[str, int]:
    """`memory.stat` as it is: one name and one number per line; other lines are not for us."""
    values = {}
    for line in text.splitlines():
        name, _, number = line.partition(" ")
        if number.isdigit():
            values[name] = int(number)
    return values


def directories(mounts: list[Mount], version: int, path: str) -> list[str]:
    """Where the group `path` can be seen, the most likely place first."""
    places = []
    for mount in mounts:
        if mount.version != version:
            continue
        root = mount.root.rstrip("/")
        if path == root or path.startswith(root + "/"):
            places.append(os.path.normpath(mount.directory + "/" + path[len(root) :]))
        elif root.startswith("/..") or path.startswith("/.."):
            continue  # outside of what this namespace may see
        else:
            # A mount made inside the namespace of the group shows it at its top.
            places.append(os.path.normpath(mount.directory + "/" + path))
    return places


def group_of(pid: int | None = None, proc: Path = PROC) -> MemoryGroup:
    """The memory group of a process (None: this one). Raises CgroupError, ProcessLookupError, OSError."""
    who = "self" if pid is None else str(pid)
    try:
        paths = parse_paths((proc / who / "cgroup").read_text())
        mounts = parse_mounts((proc / "self" / "mountinfo").read_text())
    except FileNotFoundError:
        if not (proc / "self").exists():
            raise CgroupError("control groups need Linux with /proc mounted") from None
        raise ProcessLookupError(f"there is no process {who}") from None
    for version in (1, 2):
        if version not in paths:
            continue
        for directory in directories(mounts, version, paths[version]):
            tops = [mount.directory for mount in mounts if mount.version == version]
            group = _with_memory_files(version, directory, tops)
            if group is not None:
                return group
    if not any(mount.version == 1 for mount in mounts) and 2 not in paths:
        raise CgroupError("no memory controller: neither cgroup v1 `memory` nor cgroup v2 is mounted")
    seen = ", ".join(sorted(set(paths.values()))) or "none"
    raise CgroupError(f"the memory group of process {who} ({seen}) cannot be seen from here")


def group_at(directory: str) -> MemoryGroup:
    """The group in that directory, as given by a user. Raises CgroupError."""
    place = Path(directory)
    if not place.is_dir():
        raise CgroupError(f"{directory} is not a directory")
    for version, name in ((1, "memory.usage_in_bytes"), (2, "memory.current")):
        if (place / name).exists():
            return MemoryGroup(version, str(place))
    if (place / "cgroup.procs").exists():
        raise CgroupError(f"{directory} is a control group without the memory controller")
    raise CgroupError(f"{directory} is not a control group (no memory.current, no memory.usage_in_bytes)")


def read(group: MemoryGroup) -> GroupMemory:
    """The charges of a group now. Raises CgroupError when it is gone or may not be read."""
    try:
        if group.version == 1:
            return _read_v1(Path(group.directory))
        return _read_v2(Path(group.directory))
    except FileNotFoundError as error:
        raise CgroupError(f"control group {group.directory} is gone") from error
    except PermissionError as error:
        raise CgroupError(f"no permission to read {error.filename}") from error


def pids(group: MemoryGroup) -> list[int]:
    """The processes in the group itself (not in its children). Raises OSError."""
    return [int(line) for line in Path(group.directory, "cgroup.procs").read_text().split()]


def estimated_slab(memory: GroupMemory, threads: int, page_tables: int) -> int:
    """Slab bytes: what v2 says; in v1 kernel memory less the stacks and page tables of `threads` threads."""
    if memory.version == 2:
        return memory.slab
    return max(0, memory.kernel - threads * KERNEL_STACK_BYTES - page_tables)


def memory_v1(stat: dict[str, int], usage: int, limit: int, kernel: int, tcp: int) -> GroupMemory:
    """v1 counts children only in the `total_` values; they are the ones that count."""
    bounds = [n for n in (limit, stat.get("hierarchical_memory_limit", 0)) if 0 < n < UNLIMITED_FROM]
    return GroupMemory(
        version=1,
        usage=usage,
        limit=min(bounds, default=0),
        anon=stat.get("total_rss", 0),
        shmem=stat.get("total_shmem", 0),
        active_file=stat.get("total_active_file", 0),
        inactive_file=stat.get("total_inactive_file", 0),
        mapped_file=stat.get("total_mapped_file", 0),
        dirty_file=stat.get("total_dirty", 0),
        kernel=kernel,
        slab=0,
        slab_reclaimable=0,
        sock=tcp,
    )


def memory_v2(stat: dict[str, int], usage: int, limit: int) -> GroupMemory:
    """`kernel` came with Linux 5.18; before it, the sum of its known parts stands for it."""
    slab = stat.get("slab", stat.get("slab_reclaimable", 0) + stat.get("slab_unreclaimable", 0))
    parts = slab + sum(stat.get(name, 0) for name in ("kernel_stack", "pagetables", "percpu", "vmalloc"))
    return GroupMemory(
        version=2,
        usage=usage,
        limit=limit,
        anon=stat.get("anon", 0),
        shmem=stat.get("shmem", 0),
        active_file=stat.get("active_file", 0),
        inactive_file=stat.get("inactive_file", 0),
        mapped_file=stat.get("file_mapped", 0),
        dirty_file=stat.get("file_dirty", 0),
        kernel=stat.get("kernel", parts),
        slab=slab,
        slab_reclaimable=stat.get("slab_reclaimable", 0),
        sock=stat.get("sock", 0),
    )


def _read_v1(place: Path) -> GroupMemory:
    return memory_v1(
        parse_stat((place / "memory.stat").read_text()),
        usage=int((place / "memory.usage_in_bytes").read_text()),
        limit=int((place / "memory.limit_in_bytes").read_text()),
        kernel=_number_or_zero(place / "memory.kmem.usage_in_bytes"),
        tcp=_number_or_zero(place / "memory.kmem.tcp.usage_in_bytes"),
    )


def _read_v2(place: Path) -> GroupMemory:
    stat = parse_stat((place / "memory.stat").read_text())
    usage = int((place / "memory.current").read_text())
    bounds = []
    for directory in (place, *place.parents):
        try:
            text = (directory / "memory.max").read_text().strip()
        except OSError:
            break  # the top of what can be seen
        if text != "max":
            bounds.append(int(text))
    return memory_v2(stat, usage, min(bounds, default=0))


def _with_memory_files(version: int, directory: str, tops: list[str]) -> MemoryGroup | None:
    """The group there, or (v2) the nearest one above it that has memory files and is still below a top."""
    name = "memory.usage_in_bytes" if version == 1 else "memory.current"
    place = directory
    while any(place == top or place.startswith(top.rstrip("/") + "/") for top in tops):
        if os.path.exists(os.path.join(place, name)):
            return MemoryGroup(version, place, exact=place == directory)
        if version == 1:
            return None
        place = os.path.dirname(place)
    return None


def _number_or_zero(path: Path) -> int:
    """Files that some kernels are built without."""
    try:
        return int(path.read_text())
    except FileNotFoundError:
        return 0


def _unescaped(field: str) -> str:
    r"""mountinfo writes blanks and the like as octal escapes (`\040`)."""
    if "\\" not in field:
        return field
    for octal, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(octal, char)
    return field
