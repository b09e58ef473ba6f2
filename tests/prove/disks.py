"""A disk whose power can be cut, for any program: a real ext4 in a file, and the ioctl that file system tests use.

EXT4_IOC_SHUTDOWN without a flush of the journal stops the file system at once: nothing that is in the kernel's memory
is written any more, every call fails. Mounted again it is what a power cut leaves: what was synced, and what the kernel
had written by itself by then. (A device that forgets or tears what it was given is not simulated here; the simulator
does that for Millpond.)
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Final

EXT4_IOC_SHUTDOWN: Final = 0x8004587D
NO_LOG_FLUSH: Final = 2
DISK_BYTES: Final = 256 << 20
TRIES: Final = 100
MEMORY: Final = Path("/dev/shm")


def why_not() -> str:
    """Why this machine cannot have such a disk; empty: it can."""
    if os.uname().sysname != "Linux" or os.geteuid() != 0:
        return "mounts a file system of its own, which takes root on Linux"
    try:
        with PowerDisk(MEMORY / f"millpond-probe-{os.getpid()}"):
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        said = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) and error.stderr else error
        return f"no loop device with ext4 here: {said}"


class PowerDisk:
    """`mounted` is where it is, while it has power."""

    def __init__(self, folder: Path) -> None:
        self.mounted, self._image = folder / "mnt", folder / "image"
        self._folder = folder

    def __enter__(self) -> PowerDisk:
        self.mounted.mkdir(parents=True)
        with self._image.open("wb") as file:
            file.truncate(DISK_BYTES)
        _run("mkfs.ext4", "-q", "-F", str(self._image))
        self._mount()
        return self

    def _mount(self) -> None:
        _run("mount", "-o", "loop", str(self._image), str(self.mounted))

    def settle(self) -> None:
        """All that was written so far is on the disk."""
        _run("sync", "-f", str(self.mounted))

    def cut(self) -> None:
        """The power is gone. Whoever has files open there must go before it comes back."""
        fd = os.open(self.mounted, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def power_on(self) -> None:
        self._unmount()
        self._mount()

    def _unmount(self) -> None:
        for _ in range(TRIES):
            if subprocess.run(["umount", str(self.mounted)], check=False, capture_output=True).returncode == 0:
                return
            time.sleep(0.05)                       # a process that was killed is on its way out
        _run("umount", str(self.mounted))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.mounted.is_mount():
            self._unmount()
        self._image.unlink(missing_ok=True)
        self.mounted.rmdir()
        self._folder.rmdir()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
