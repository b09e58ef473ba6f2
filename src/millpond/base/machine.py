"""What this machine, or the container in it, has to give: memory and disk."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from millpond.base import cgroup


def memory_bytes() -> int:
    """Physical memory, or the limit of our control group when that is lower."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = cgroup_limit()
    return min(physical, limit) if limit else physical


def cgroup_limit() -> int:
    """The memory limit of our control group; 0: none, or not to be seen."""
    try:
        return cgroup.read(cgroup.group_of()).limit
    except (cgroup.CgroupError, OSError):
        return 0


def disk_free_bytes(directory: str) -> int:
    """Bytes that an ordinary user may still write where `directory` is, or will be made."""
    place = Path(directory).absolute()
    while not place.exists():
        place = place.parent
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize


def disk_held_bytes(directory: str) -> int:
    """Bytes that the files below `directory` have on the disk; what leaves meanwhile does not count."""
    held, folders = 0, [directory]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as found:
            for each in found:
                if each.is_dir(follow_symlinks=False):
                    folders.append(each.path)
                else:
                    held += _blocks(each)
    return held


def _blocks(file: os.DirEntry[str]) -> int:
    try:
        return file.stat(follow_symlinks=False).st_blocks * 512
    except FileNotFoundError:
        return 0
